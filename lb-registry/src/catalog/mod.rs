//! Who is registered, how are they, and which index says so? The state of a Consul agent, as a value.
//!
//! A [`Catalog`] holds services, their checks, keys and sessions. Everything that happens to it is a
//! method that takes `now`; it reads no clock, opens no socket and takes no lock. The in-process registry
//! puts a lock around it, and the embedded server puts HTTP in front of that.
//!
//! # Index rules
//!
//! Every change gets the next index. A service has its own index, which moves when one of its instances
//! or checks changes and stays when another service does; so a blocked reader is woken by what it reads.
//! A service that does not exist answers with the index of the last disappearance. A new text without a
//! new status moves nothing: heartbeats wake nobody. The rules are those of Consul
//! (`agent/consul/state/catalog.go`), measured on 1.8.7.
//!
//! # Time
//!
//! [`Catalog::tick`] lets time pass: it turns checks critical whose TTL ran out, removes services that
//! were critical for too long, ends sessions, and says which probes are due and when to come back.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_registry::catalog::{Catalog, CheckDefinition, CheckKind, CheckStatus, ServiceDefinition};
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example needs some moment")]
//! let start = Instant::now();
//! let mut catalog = Catalog::default();
//! let ttl = CheckDefinition::new(CheckKind::Ttl { ttl: Duration::from_secs(15) }).status(CheckStatus::Passing);
//! catalog.register(ServiceDefinition::new("simulation", "sim-1"), vec![ttl], false, start)?;
//!
//! catalog.tick(start + Duration::from_secs(16));
//! let health = catalog.health("simulation").next().expect("it is registered");
//! assert_eq!(health.status(), CheckStatus::Critical);
//! # Ok::<(), lb_registry::catalog::CatalogError>(())
//! ```

mod alias;
mod check;
mod definition;
mod index;
mod instances;
mod kv;
pub(crate) mod maintenance;
mod probe;
mod read;
mod saved;
mod session;
#[cfg(feature = "etcd")]
pub(crate) mod shared;
mod tick;
mod unit;
mod write;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::check::{Check, CheckStatus};
pub use self::definition::{CheckDefinition, CheckKind, ServiceDefinition, TaggedAddress, Weights};
pub use self::index::Indexes;
pub use self::kv::{Entry, KvWrite};
pub use self::probe::{Outcome, Probe};
pub use self::read::Health;
pub use self::saved::Saved;
pub use self::session::{Behavior, Session};
pub use self::tick::Tick;
pub(crate) use self::unit::Unit;

/// A registered service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What was registered.
    pub definition: ServiceDefinition,
    /// The index at which the id appeared.
    pub create_index: u64,
    /// The index of the last change.
    pub modify_index: u64,
    checks: BTreeSet<String>,
}

/// How much a catalog may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services. Default: 10,000.
    pub services: usize,
    /// Checks, over all services. Default: 40,000.
    pub checks: usize,
    /// Keys. Default: 10,000.
    pub keys: usize,
    /// Bytes of one value. Default: 512 KiB, as in Consul.
    pub value_bytes: usize,
    /// Bytes of all keys and values together. Default: 64 MiB.
    pub kv_bytes: usize,
    /// Sessions. Default: 10,000.
    pub sessions: usize,
    /// Bytes kept of a check's output. Default: 4,096, as in Consul.
    pub output_bytes: usize,
    /// The shortest time after which a critical service is removed. Default: 1 minute, as in Consul.
    pub deregister_after: Duration,
}

/// The catalog said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// No service with this id.
    #[error("unknown service ID {0:?}")]
    UnknownService(String),
    /// No check with this id.
    #[error("unknown check ID {0:?}")]
    UnknownCheck(String),
    /// The check exists, but is not one that a client may report.
    #[error("check {0:?} has no TTL")]
    NoTtl(String),
    /// A limit is reached.
    #[error("no more than {limit} {what} are kept")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// No session with this id.
    #[error("unknown session ID {0:?}")]
    UnknownSession(String),
}

/// Services, checks, keys and sessions of one agent. See the [module documentation](self).
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    limits: Limits,
    services: BTreeMap<String, Service>,
    by_name: BTreeMap<String, BTreeSet<String>>,
    checks: BTreeMap<String, Check>,
    agent_checks: BTreeSet<String>,
    indexes: Indexes,
    keys: BTreeMap<String, Entry>,
    key_bytes: usize,
    sessions: BTreeMap<String, Session>,
    touched: BTreeSet<String>,
    generations: u64,
    /// The index that changes get, if it is not simply the next one.
    pinned: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 10_000,
            checks: 40_000,
            keys: 10_000,
            value_bytes: 512 * 1024,
            kv_bytes: 64 * 1024 * 1024,
            sessions: 10_000,
            output_bytes: 4_096,
            deregister_after: Duration::from_secs(60),
        }
    }
}

// === impl Catalog ===

impl Catalog {
    /// An empty catalog with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The names of the services that changed since this was last asked, and forgets them.
    pub fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }
}
