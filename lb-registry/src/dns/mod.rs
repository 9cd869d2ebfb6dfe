//! Names as registries: the services or the addresses that a name server knows under a name.
//!
//! | made by                        | asks for                          | instances have                        |
//! |--------------------------------|-----------------------------------|---------------------------------------|
//! | [`Dns::services`]              | SRV records and their addresses   | port and weight from the record       |
//! | [`Dns::port`]                  | addresses                         | this port, weight 1                   |
//!
//! Of SRV records the lowest priority counts (RFC 2782). They are asked of the name servers in `/etc/resolv.conf` or of
//! [`server`](Dns::server), by UDP and where the answer is too large by TCP, and again when they are not good for any
//! longer: after 1 to 30 seconds. Addresses come from the system's resolver, hosts file included, every 5 seconds,
//! because that does not tell how long its answer is good for; with [`server`](Dns::server) they are asked for there.
//!
//! A name that is gone counts as an empty answer, a server that does not answer as a failure; the system's resolver does
//! not tell one from the other, so with it both are failures. What follows is what
//! [`fail_static`](mod@crate::fail_static) says.
//!
//! # What it does not do
//!
//! No search domains: write names in full. No DNSSEC, no DNS over TLS. The codec is this crate's own, because a
//! library for all of DNS would be most of the crate's dependencies.
//!
//! ```
//! use lb_registry::{Discovery, Dns};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mut watch = Dns::port(8000).watch("localhost");
//! let set = watch.until(|set| !set.instances.is_empty()).await.expect("the watch is alive");
//! assert!(set.instances.iter().any(|one| one.uri() == "http://127.0.0.1:8000"));
//!
//! let consul = Dns::services().server(([127, 0, 0, 1], 8600));
//! let watch = consul.watch("simulation.service.consul");
//! # }
//! ```

mod ask;
mod message;
mod records;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use self::ask::{AskError, ask, system_servers};
use self::message::{Kind, Record, Records, Reply, Service};
use crate::fail_static::{Answer, Settings};
use crate::feed::{Feed, sleep_until};
use crate::watch::AbortOnDrop;
use crate::{Discovery, Instance, Watch, clock};

const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// Targets whose addresses did not come along are asked for apart, and no more than these.
const MOST_TARGETS: usize = 64;
/// So many of them at once.
const AT_ONCE: usize = 8;

/// Names as registries. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Dns {
    /// `None` asks for services, which bring their ports.
    port: Option<u16>,
    servers: Vec<SocketAddr>,
    settings: Settings,
    snapshots: Option<PathBuf>,
}

impl Dns {
    /// Every address that a name resolves to is an instance that listens on this port.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self {
            port: Some(port),
            servers: Vec::new(),
            settings: Settings::default(),
            snapshots: None,
        }
    }

    /// Every service (SRV record) of a name is an instance, or several if its target has several addresses.
    #[must_use]
    pub fn services() -> Self {
        Self {
            port: None,
            ..Self::port(0)
        }
    }

    /// Asks this name server; called again, also the next one if this one does not answer. Default: as the system.
    #[must_use]
    pub fn server(mut self, address: impl Into<SocketAddr>) -> Self {
        self.servers.push(address.into());
        self
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
        let task = tokio::spawn(follow(service.to_owned(), self.clone(), feed));
        Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
    }
}

async fn follow(name: String, dns: Dns, mut feed: Feed) {
    feed.load().await;
    loop {
        let (answer, good_for) = match dns.look_up(&name).await {
            Ok((instances, good_for)) => (Answer::Instances(instances), good_for),
            Err(error) => {
                tracing::warn!(
                    name,
                    error = &error as &dyn std::error::Error,
                    "the name does not resolve"
                );
                (Answer::Failed, EVERY)
            }
        };
        feed.answer(answer).await;
        let next = clock::now() + good_for;
        while clock::now() < next {
            sleep_until(feed.deadline().map(|at| at.min(next)).or(Some(next))).await;
            if feed.wants_confirmation() {
                break;
            }
            feed.tick().await;
        }
    }
}

impl Dns {
    /// The instances, and how long that is good for.
    async fn look_up(&self, name: &str) -> Result<(Vec<Instance>, Duration), AskError> {
        match self.port {
            None => self.look_up_services(name).await,
            Some(port) if self.servers.is_empty() => {
                let resolved = tokio::net::lookup_host((name, port));
                let found = tokio::time::timeout(PATIENCE, resolved).await??;
                let found = found.map(|address| (address, None));
                Ok((records::instances(name, found), EVERY))
            }
            Some(port) => {
                let found = addresses_of(&self.servers, name).await?;
                let all = records::addresses(&found, None).into_iter();
                let all = all.map(|address| (SocketAddr::new(address, port), None));
                Ok((records::instances(name, all), records::good_for(&found)))
            }
        }
    }

    async fn look_up_services(&self, name: &str) -> Result<(Vec<Instance>, Duration), AskError> {
        let servers = match self.servers.is_empty() {
            true => system_servers().await,
            false => self.servers.clone(),
        };
        let Records { answers, along } = records_of(ask(&servers, name, Kind::Service).await?);
        let services = records::services(&answers);
        let targets: BTreeSet<&str> = services.iter().map(|one| one.target.as_str()).collect();
        let mut known: Vec<Record> = records::about(&targets, along.iter().chain(&answers));
        let apart = targets
            .into_iter()
            .filter(|target| records::addresses(&known, Some(target)).is_empty());
        let apart = apart.take(MOST_TARGETS).map(Into::into).collect();
        known.extend(addresses_apart(&servers, apart).await?);
        let mut found: Vec<(SocketAddr, Option<&Service>)> = Vec::new();
        for service in services {
            let addresses = records::addresses(&known, Some(&service.target)).into_iter();
            found.extend(addresses.map(|ip| (SocketAddr::new(ip, service.port), Some(service))));
        }
        let good_for = records::good_for(answers.iter().chain(&known));
        Ok((records::instances(name, found), good_for))
    }
}

/// The addresses of each of these names, a few asked for at once. Those of an alias are listed under the name
/// that was asked for.
async fn addresses_apart(
    servers: &[SocketAddr],
    names: Vec<String>,
) -> Result<Vec<Record>, AskError> {
    let asked = stream::iter(names).map(|name| {
        let servers = servers.to_vec();
        async move {
            let mut records = addresses_of(&servers, &name).await?;
            for record in &mut records {
                record.name.clone_from(&name);
            }
            Ok::<_, AskError>(records)
        }
    });
    let found: Vec<Vec<Record>> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.concat())
}

/// Half an answer is one only if it names somebody, or says that there is no such name.
async fn addresses_of(servers: &[SocketAddr], name: &str) -> Result<Vec<Record>, AskError> {
    let (four, six) = tokio::join!(ask(servers, name, Kind::V4), ask(servers, name, Kind::V6));
    let answers = |reply| records_of(reply).answers;
    match (four, six) {
        (Ok(four), Ok(six)) => Ok([answers(four), answers(six)].concat()),
        (Ok(Reply::NoSuchName), Err(_)) | (Err(_), Ok(Reply::NoSuchName)) => Ok(Vec::new()),
        (Ok(half), Err(error)) | (Err(error), Ok(half)) => {
            let half = answers(half);
            match records::addresses(&half, None).is_empty() {
                true => Err(error),
                false => Ok(half),
            }
        }
        (Err(error), Err(_)) => Err(error),
    }
}

/// A name that does not exist has no records.
fn records_of(reply: Reply) -> Records {
    match reply {
        Reply::Records(records) => records,
        Reply::NoSuchName | Reply::Truncated => Records::default(),
    }
}
