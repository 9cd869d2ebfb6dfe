//! Being registered for as long as one serves: in one line around an axum application.
//!
//! [`Membership::serve`] registers once the listener is open, keeps the registration alive with
//! heartbeats, and on SIGTERM or SIGINT leaves in the right order: readiness falls, the registry learns
//! that the instance drains, work is finished, the instance is deregistered, the process may end.
//! [`Membership::join`] does the same for programs that serve by themselves.
//!
//! # What is kept up
//!
//! * Registering goes on with a growing, jittered pause until it succeeds; the application serves meanwhile.
//! * A heartbeat goes out every third of the TTL, give or take ten per cent.
//! * If the registry has forgotten the instance (a restarted agent), it is registered again.
//! * A [`Member`] that is dropped without [`Member::leave`] deregisters as well as it can in the background.
//!
//! ```
//! use lb_registry::{Discovery, InProcess, Membership};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = InProcess::default();
//! let member = Membership::new("simulation", "10.0.0.7:8000").version("1.2.3").zone("a").join(&registry);
//! let mut watch = registry.watch("simulation");
//! watch.until(|set| set.instances.len() == 1).await;
//! member.leave().await;
//! assert!(watch.latest().instances.is_empty());
//! # Ok(())
//! # }
//! ```

mod address;
mod keeper;
mod member;
#[cfg(feature = "serve")]
mod serve;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::address::Address;
pub use self::member::{Member, Standing};
use crate::backoff::Backoff;
use crate::registry::HttpCheck;
use crate::{Instance, Registration, Registry, clock};

pub(crate) type Hook = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// How to be registered. See the [module documentation](self).
#[derive(Clone)]
#[must_use = "a membership does nothing until it is joined or served"]
pub struct Membership {
    address: Address,
    registration: Registration,
    id: Option<String>,
    propagation: Duration,
    drain_deadline: Duration,
    backoff: Backoff,
    on_drain: Option<Hook>,
    #[cfg(feature = "serve")]
    health: Option<crate::HealthRoutes>,
}

// === impl Membership ===

impl Membership {
    /// An instance of `service` that others reach at `address`, such as `"10.0.0.7:8000"`. A missing port
    /// is that of the listener. A listener on `0.0.0.0` does not know the address: everybody would look for
    /// the instance on their own machine.
    pub fn new(service: impl Into<String>, address: impl Into<Address>) -> Self {
        let instance = Instance::new(service, "", "", 0);
        Self {
            address: address.into(),
            registration: Registration {
                http_check: Some(HttpCheck::default()),
                ..Registration::new(instance)
            },
            id: None,
            propagation: Duration::from_secs(2),
            drain_deadline: Duration::from_secs(30),
            backoff: Backoff::default(),
            on_drain: None,
            #[cfg(feature = "serve")]
            health: Some(crate::HealthRoutes::default()),
        }
    }

    /// As [`new`](Self::new), with the address from the environment: host `POD_IP` or else `HOSTNAME` (default
    /// `127.0.0.1`), port `SERVICE_PORT` (default 8000).
    pub fn from_env(service: impl Into<String>) -> Self {
        Self::new(service, Address::from_env(|name| std::env::var(name).ok()))
    }

    /// The id. Default: service, host and port, such as `simulation-10.0.0.7-8000`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The software's version. Default: unknown.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.registration.instance.version = version.into();
        self
    }

    /// The failure domain. Default: unknown.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.registration.instance.zone = Some(zone.into());
        self
    }

    /// The share of new work. Default: 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.registration.instance.weight = weight;
        self
    }

    /// A label without a value.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.registration.instance.tags.push(tag.into());
        self
    }

    /// A label with a value. Consul takes letters, digits, `-` and `_` in keys, and at most 64 pairs.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.registration
            .instance
            .metadata
            .insert(key.into(), value.into());
        self
    }

    /// Longest silence before the registry calls it critical. Default: 15 seconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.registration.ttl = ttl;
        self
    }

    /// The question that the registry asks by itself. Default: `GET /health` every 10 s with 1 s to answer;
    /// `None`: heartbeats alone.
    pub fn http_check(mut self, check: Option<HttpCheck>) -> Self {
        self.registration.http_check = check;
        self
    }

    /// Removal after it was critical for this long. Default: 1 minute.
    pub fn deregister_after(mut self, after: Option<Duration>) -> Self {
        self.registration.deregister_after = after;
        self
    }

    /// How long to go on as before once the drain is announced, so that everybody hears of it. Default: 2 seconds.
    pub fn propagation(mut self, propagation: Duration) -> Self {
        self.propagation = propagation;
        self
    }

    /// How long the drain may take after that. Default: 30 seconds.
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = deadline;
        self
    }

    /// Pauses between attempts to register. Default: 200 ms doubling up to 30 s, with full jitter.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What is to be finished before leaving, such as running jobs; awaited up to the drain deadline.
    pub fn on_drain<F, Fut>(mut self, finish: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_drain = Some(Arc::new(move || Box::pin(finish())));
        self
    }

    /// The health routes to use, to add dependencies or to read them elsewhere. Default: fresh ones, served in
    /// front of the application.
    #[cfg(feature = "serve")]
    pub fn health(mut self, health: crate::HealthRoutes) -> Self {
        self.health = Some(health);
        self
    }

    /// Leaves `/health`, `/ready` and `/startup` to the application.
    #[cfg(feature = "serve")]
    pub fn without_health_routes(mut self) -> Self {
        self.health = None;
        self
    }

    /// Joins in the background and returns at once.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn join<R: Registry>(self, registry: &R) -> Member {
        let registration = self.registration(None);
        Member::start(registry.clone(), registration, &self)
    }

    /// What is registered, once the listener's port is known.
    fn registration(&self, listening: Option<u16>) -> Registration {
        let mut registration = self.registration.clone();
        let instance = &mut registration.instance;
        instance.address.clone_from(&self.address.host);
        instance.port = self.address.port.or(listening).unwrap_or(0);
        instance.id = self.id.clone().unwrap_or_else(|| {
            let host = instance.address.replace(':', "-");
            format!("{}-{host}-{}", instance.service, instance.port)
        });
        // Another start is another incarnation, whatever the id.
        instance.revision = clock::wall().0;
        registration
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("registration", &self.registration)
            .finish_non_exhaustive()
    }
}
