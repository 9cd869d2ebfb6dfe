//! Several registries as one, the first ones first.
//!
//! An instance that several registries know, by the same id or at the same address and port, is taken from the first of
//! them; facts that it leaves out there (zone, version, tags, metadata) are filled in from the others, and the worst
//! status counts. So Kubernetes may say who is there while registrations say what they are and how. With
//! [`Merge::failover`] only the first registry that has anybody counts.
//!
//! ```
//! use lb_registry::{Discovery, Fixed, Instance, Merge};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let here = Fixed::new([Instance::new("web", "a", "10.0.0.1", 80)]);
//! let mut known = Instance::new("web", "a", "10.0.0.9", 80);
//! known.zone = Some("z1".into());
//! let merged = Merge::of([here.watch("web"), Fixed::new([known]).watch("web")]);
//! let mut watch = merged.watch();
//! let set = watch.until(|set| !set.is_pending()).await.expect("the watch is alive");
//! assert_eq!((set.instances[0].address.as_str(), set.instances[0].zone.as_deref()), ("10.0.0.1", Some("z1")));
//! # }
//! ```

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_core::Stream;
use tokio::sync::watch;

use crate::watch::AbortOnDrop;
use crate::{Instance, Origin, Snapshot, Watch};

/// Several watches as one. See the [module documentation](self).
#[derive(Debug)]
#[must_use = "a merge does nothing until it is watched"]
pub struct Merge {
    sources: Vec<Watch>,
    failover: bool,
}

// === impl Merge ===

impl Merge {
    /// These watches of one service, the first ones first.
    pub fn of(sources: impl IntoIterator<Item = Watch>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
            failover: false,
        }
    }

    /// Only the first registry that has anybody counts. Default: all count.
    pub fn failover(mut self) -> Self {
        self.failover = true;
        self
    }

    /// Follows all of them. Must be called inside a tokio runtime.
    #[must_use]
    pub fn watch(self) -> Watch {
        let service = self
            .sources
            .first()
            .map(|one| one.latest().service.clone())
            .unwrap_or_default();
        let (sender, latest) = watch::channel(Arc::new(Snapshot::pending(service)));
        let task = tokio::spawn(self.follow(sender));
        Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
    }

    async fn follow(mut self, sender: watch::Sender<Arc<Snapshot>>) {
        let mut revision = 0;
        while changed(&mut self.sources).await {
            let latest: Vec<Arc<Snapshot>> = self.sources.iter().map(Watch::latest).collect();
            revision += 1;
            let merged = merge(&latest, self.failover, revision);
            sender.send_if_modified(|last| {
                let changed = last.instances != merged.instances || last.origin != merged.origin;
                if changed {
                    *last = Arc::new(merged);
                }
                changed
            });
        }
        // Every source has ended; what they said last stays.
        std::future::pending::<()>().await;
    }
}

/// Waits until one of them changes; `false` when none ever will.
async fn changed(sources: &mut [Watch]) -> bool {
    let mut ended = vec![false; sources.len()];
    std::future::poll_fn(|cx| {
        let mut news = false;
        for (source, ended) in sources.iter_mut().zip(&mut ended) {
            loop {
                match Pin::new(&mut *source).poll_next(cx) {
                    Poll::Ready(Some(_)) => news = true,
                    Poll::Ready(None) => {
                        *ended = true;
                        break;
                    }
                    Poll::Pending => break,
                }
            }
        }
        match (news, ended.iter().all(|ended| *ended)) {
            (true, _) => Poll::Ready(true),
            (false, true) => Poll::Ready(false),
            (false, false) => Poll::Pending,
        }
    })
    .await
}

/// One set out of several, the first ones first.
fn merge(sources: &[Arc<Snapshot>], failover: bool, revision: u64) -> Snapshot {
    let service = sources
        .first()
        .map(|one| one.service.clone())
        .unwrap_or_default();
    let counting: Vec<&Arc<Snapshot>> = match failover {
        true => sources
            .iter()
            .find(|one| !one.instances.is_empty())
            .into_iter()
            .collect(),
        false => sources.iter().collect(),
    };
    let mut merged: BTreeMap<&str, Instance> = BTreeMap::new();
    // Who is where, according to the registries before the current one.
    let mut places: BTreeMap<(&str, u16), &str> = BTreeMap::new();
    for snapshot in counting {
        for instance in snapshot.instances.iter() {
            let place = places.get(&(instance.address.as_str(), instance.port));
            let id = match merged.contains_key(instance.id.as_str()) {
                true => instance.id.as_str(),
                false => place.copied().unwrap_or(&instance.id),
            };
            match merged.get_mut(id) {
                Some(known) => fill_in(known, instance),
                None => drop(merged.insert(id, Instance::clone(instance))),
            }
        }
        for instance in snapshot.instances.iter() {
            let place = (instance.address.as_str(), instance.port);
            places.entry(place).or_insert(&instance.id);
        }
    }
    Snapshot {
        origin: joined_origin(sources),
        ..Snapshot::live(service, revision, merged.into_values())
    }
}

/// A doubted source makes the whole doubted; one that has not answered yet does not hold the others up.
fn joined_origin(sources: &[Arc<Snapshot>]) -> Origin {
    let known = sources
        .iter()
        .map(|one| one.origin)
        .filter(|origin| *origin != Origin::Pending);
    let doubted = known.clone().find(|origin| *origin != Origin::Live);
    doubted
        .or(known.into_iter().next())
        .unwrap_or(Origin::Pending)
}

fn fill_in(known: &mut Instance, other: &Instance) {
    known.status = known.status.max(other.status);
    known.zone = known.zone.take().or_else(|| other.zone.clone());
    if known.version.is_empty() {
        known.version.clone_from(&other.version);
    }
    for tag in &other.tags {
        if !known.tags.contains(tag) {
            known.tags.push(tag.clone());
        }
    }
    for (key, value) in &other.metadata {
        known
            .metadata
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    fn snapshot(ids: &[&str]) -> Arc<Snapshot> {
        let instances = ids.iter().map(|id| Instance::new("web", *id, *id, 80));
        Arc::new(Snapshot::live("web", 1, instances))
    }

    fn ids(snapshot: &Snapshot) -> Vec<&str> {
        snapshot
            .instances
            .iter()
            .map(|one| one.id.as_str())
            .collect()
    }

    #[test]
    fn with_failover_the_first_that_has_anybody_counts() {
        let sources = [snapshot(&[]), snapshot(&["b"]), snapshot(&["c"])];
        assert_eq!(ids(&merge(&sources, true, 1)), ["b"]);
        assert_eq!(ids(&merge(&sources, false, 1)), ["b", "c"]);
    }

    #[test]
    fn pods_are_enriched_with_what_they_have_registered_under_other_ids() {
        let pod = Instance::new("web", "web-7d4b9-x2x", "10.0.0.7", 8000);
        let mut registered = Instance::new("web", "web-10.0.0.7-8000", "10.0.0.7", 8000);
        registered.version = "1.2.3".into();
        registered.metadata.insert("gpu".into(), "t4".into());
        registered.status = Status::Warning;
        // Another process at an address of its own stays another one.
        let elsewhere = Instance::new("web", "web-10.0.0.8-8000", "10.0.0.8", 8000);
        let pods = Arc::new(Snapshot::live("web", 1, [pod]));
        let known = Arc::new(Snapshot::live("web", 1, [registered, elsewhere]));
        let set = merge(&[pods, known], false, 1);
        assert_eq!(ids(&set), ["web-10.0.0.8-8000", "web-7d4b9-x2x"]);
        let pod = &set.instances[1];
        assert_eq!(
            (pod.version.as_str(), pod.status),
            ("1.2.3", Status::Warning)
        );
        assert_eq!(pod.metadata["gpu"], "t4");
    }

    #[test]
    fn the_worst_status_counts() {
        let mut sick = Instance::new("web", "a", "10.0.0.1", 80);
        sick.status = Status::Critical;
        let sources = [snapshot(&["a"]), Arc::new(Snapshot::live("web", 1, [sick]))];
        assert_eq!(
            merge(&sources, false, 1).instances[0].status,
            Status::Critical
        );
    }

    #[test]
    fn a_source_that_has_not_answered_does_not_hold_the_others_up() {
        let pending = Arc::new(Snapshot::pending("web"));
        assert_eq!(
            merge(&[Arc::clone(&pending), snapshot(&["a"])], false, 1).origin,
            Origin::Live
        );
        assert_eq!(merge(&[pending], false, 1).origin, Origin::Pending);
    }

    #[test]
    fn one_doubted_source_makes_the_whole_doubted() {
        let stale = Origin::Stale {
            since: crate::UnixMillis(7),
        };
        let doubted = Arc::new(Snapshot {
            origin: stale,
            ..Snapshot::clone(&snapshot(&["b"]))
        });
        assert_eq!(merge(&[snapshot(&["a"]), doubted], false, 1).origin, stale);
    }
}
