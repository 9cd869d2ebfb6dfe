//! From answers to published snapshots: the part that every backend with a registry outside shares.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::fail_static::{Answer, FailStatic, Settings, View};
use crate::{Instance, Origin, Snapshot, UnixMillis, clock, observe, persist};

/// A snapshot is written at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Takes in answers about one service and publishes what to believe.
pub(crate) struct Feed {
    service: String,
    guard: FailStatic,
    sender: watch::Sender<Arc<Snapshot>>,
    revision: u64,
    heard: bool,
    disk: Option<Disk>,
}

struct Disk {
    file: PathBuf,
    written: Option<Instant>,
    dirty: bool,
    assumed: Option<UnixMillis>,
}

/// A snapshot as it is written to disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    written: UnixMillis,
    instances: Vec<Instance>,
}

// === impl Feed ===

impl Feed {
    /// A feed and the receiving end of what it publishes. `folder` is where snapshots are kept.
    pub(crate) fn new(
        service: &str,
        settings: Settings,
        folder: Option<&PathBuf>,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let (sender, receiver) = watch::channel(Arc::new(Snapshot::pending(service)));
        let file = |folder: &PathBuf| folder.join(format!("{}.snapshot", file_name(service)));
        let disk = folder.map(file).map(|file| Disk {
            file,
            written: None,
            dirty: false,
            assumed: None,
        });
        let guard = FailStatic::new(settings);
        let feed = Self {
            service: service.to_owned(),
            guard,
            sender,
            revision: 0,
            heard: false,
            disk,
        };
        (feed, receiver)
    }

    /// Publishes what the disk remembers, if it does.
    pub(crate) async fn load(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let file = disk.file.clone();
        let read = tokio::task::spawn_blocking(move || persist::read::<Saved>(&file)).await;
        match read {
            Ok(Ok(saved)) => {
                disk.assumed = Some(saved.written);
                self.guard
                    .assume(saved.instances.into_iter().map(Arc::new), clock::now());
                self.heard = true;
                self.publish();
            }
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(
                    service = self.service,
                    error = &error as &dyn std::error::Error,
                    "no snapshot"
                );
            }
            _ => {}
        }
    }

    /// Takes in an answer and publishes what follows.
    pub(crate) async fn answer(&mut self, answer: Answer) {
        let kind = match &answer {
            Answer::Instances(list) if list.is_empty() => "empty",
            Answer::Instances(_) => "ok",
            Answer::Failed => "failed",
            Answer::Denied => "denied",
        };
        observe::answer(&self.service, kind);
        if matches!(answer, Answer::Instances(_)) {
            self.heard = true;
            if let Some(disk) = &mut self.disk {
                disk.assumed = None;
            }
        }
        self.guard.observe(answer, clock::now());
        self.publish();
        self.save().await;
    }

    /// The registry began anew; its members have yet to register again.
    #[cfg(feature = "consul")]
    pub(crate) fn lost_memory(&mut self) {
        tracing::warn!(service = self.service, "the registry has begun anew");
        self.guard.lost_memory(clock::now());
    }

    /// Lets time pass and publishes what follows.
    pub(crate) async fn tick(&mut self) {
        self.guard.tick(clock::now());
        self.publish();
        self.save().await;
    }

    /// Pauses, and meanwhile lets end what has to end.
    #[cfg(any(feature = "consul", feature = "kubernetes"))]
    pub(crate) async fn rest(&mut self, pause: Duration) {
        let until = clock::now() + pause;
        while clock::now() < until {
            let next = self.deadline().map_or(until, |at| at.min(until));
            sleep_until(Some(next)).await;
            // A confirmation waits for the pause to end; everything else can happen now.
            if self.wants_confirmation() {
                return sleep_until(Some(until)).await;
            }
            self.tick().await;
        }
    }

    /// When to call [`tick`](Self::tick), if nothing comes before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let write = self
            .disk
            .as_ref()
            .filter(|disk| disk.dirty)
            .and_then(|disk| disk.written);
        [self.guard.deadline(), write.map(|at| at + WRITE_EVERY)]
            .into_iter()
            .flatten()
            .min()
    }

    /// `true` if an empty answer waits to be confirmed and its time has come.
    pub(crate) fn wants_confirmation(&self) -> bool {
        self.guard.confirm_at().is_some_and(|at| at <= clock::now())
    }

    /// `true` if an empty answer would take somebody away.
    #[cfg(feature = "consul")]
    pub(crate) fn has_somebody(&self) -> bool {
        !self.sender.borrow().instances.is_empty()
    }

    /// Publishes the view, once anything at all has been heard.
    fn publish(&mut self) {
        let now = clock::now();
        let view = self.guard.view(now);
        let stale = view.doubted_since.is_some();
        observe::published(
            &self.service,
            view.instances.len(),
            stale,
            view.denied,
            view.held,
        );
        if !self.heard {
            return;
        }
        let origin = self.origin(&view, now);
        let last = Arc::clone(&self.sender.borrow());
        let changed = last.instances != view.instances;
        if !changed && same_kind(last.origin, origin) {
            return;
        }
        self.revision += 1;
        if let Some(disk) = self
            .disk
            .as_mut()
            .filter(|_| changed && origin == Origin::Live)
        {
            disk.dirty = true;
        }
        self.sender.send_replace(Arc::new(Snapshot {
            service: self.service.clone(),
            revision: self.revision,
            origin,
            instances: view.instances,
        }));
    }

    fn origin(&self, view: &View, now: Instant) -> Origin {
        if let Some(written) = self.disk.as_ref().and_then(|disk| disk.assumed) {
            return Origin::Disk { written };
        }
        match view.doubted_since {
            None => Origin::Live,
            Some(since) => {
                let ago = now.saturating_duration_since(since).as_millis();
                let since = clock::wall()
                    .0
                    .saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX));
                Origin::Stale {
                    since: UnixMillis(since),
                }
            }
        }
    }

    /// Writes the latest live set, unless one was written a moment ago.
    async fn save(&mut self) {
        let now = clock::now();
        let Some(disk) = &mut self.disk else { return };
        let recently = disk
            .written
            .is_some_and(|at| now.saturating_duration_since(at) < WRITE_EVERY);
        if !disk.dirty || recently {
            return;
        }
        disk.written = Some(now);
        disk.dirty = false;
        let (file, latest) = (disk.file.clone(), Arc::clone(&self.sender.borrow()));
        let instances = latest
            .instances
            .iter()
            .map(|one| Instance::clone(one))
            .collect();
        let saved = Saved {
            written: clock::wall(),
            instances,
        };
        let written = tokio::task::spawn_blocking(move || persist::write(&file, &saved)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(
                service = self.service,
                error = &error as &dyn std::error::Error,
                "no snapshot written"
            );
        }
    }
}

/// The moment does not matter: it is that of the first doubt, computed anew each time.
fn same_kind(a: Origin, b: Origin) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

/// A file name for any service name.
fn file_name(service: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    service
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect()
}

/// Sleeps until `deadline`, or for ever.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
