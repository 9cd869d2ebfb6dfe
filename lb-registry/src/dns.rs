//! A name as the registry: every address that it resolves to is an instance.
//!
//! The name is resolved anew every five seconds with the system's resolver. That resolver does not tell how long its
//! answer is good for, so the interval is fixed. A name that does not resolve leaves the set as it is, as
//! [`fail_static`](mod@crate::fail_static) says.
//!
//! # What it does not do
//!
//! SRV records, and with them weights and ports of their own, are not read.
//!
//! ```
//! use lb_registry::{Discovery, Dns};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mut watch = Dns::port(8000).watch("localhost");
//! let set = watch.until(|set| !set.instances.is_empty()).await.expect("the watch is alive");
//! assert!(set.instances.iter().any(|one| one.uri() == "http://127.0.0.1:8000"));
//! # }
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::fail_static::{Answer, Settings};
use crate::feed::{Feed, sleep_until};
use crate::watch::AbortOnDrop;
use crate::{Discovery, Instance, Watch, clock};

const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Names as services, with one port for all of their addresses. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Dns {
    port: u16,
    settings: Settings,
    snapshots: Option<PathBuf>,
}

impl Dns {
    /// Instances listen on this port.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self {
            port,
            settings: Settings::default(),
            snapshots: None,
        }
    }

    /// How much to protect the set. Default: [`Settings::default`].
    #[must_use]
    pub fn fail_static(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Keeps the latest set of each followed name in this folder, and starts with it until the name resolves.
    /// Default: nothing is kept.
    #[must_use]
    pub fn snapshots(mut self, folder: impl Into<PathBuf>) -> Self {
        self.snapshots = Some(folder.into());
        self
    }
}

impl Discovery for Dns {
    fn watch(&self, service: &str) -> Watch {
        let (feed, latest) = Feed::new(service, self.settings, self.snapshots.as_ref());
        let task = tokio::spawn(follow(service.to_owned(), self.port, feed));
        Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
    }
}

async fn follow(name: String, port: u16, mut feed: Feed) {
    feed.load().await;
    loop {
        let answer =
            match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), port)))
                .await
            {
                Ok(Ok(found)) => Answer::Instances(instances(&name, found)),
                Ok(Err(error)) => {
                    tracing::warn!(
                        name,
                        error = &error as &dyn std::error::Error,
                        "the name does not resolve"
                    );
                    Answer::Failed
                }
                Err(_) => Answer::Failed,
            };
        feed.answer(answer).await;
        let next = clock::now() + EVERY;
        while clock::now() < next {
            sleep_until(feed.deadline().map(|at| at.min(next)).or(Some(next))).await;
            if feed.wants_confirmation() {
                break;
            }
            feed.tick().await;
        }
    }
}

/// One instance per address, named by it.
fn instances(name: &str, found: impl Iterator<Item = SocketAddr>) -> Vec<Instance> {
    let addresses: BTreeSet<SocketAddr> = found.collect();
    let instance = |address: SocketAddr| {
        Instance::new(
            name,
            address.to_string(),
            address.ip().to_string(),
            address.port(),
        )
    };
    addresses.into_iter().map(instance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_named_twice_is_one_instance() {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let found = instances("web", [address, address].into_iter());
        assert_eq!(found, [Instance::new("web", "10.0.0.1:80", "10.0.0.1", 80)]);
    }
}
