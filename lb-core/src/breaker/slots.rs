//! Places of an upstream and its endpoints, given back on drop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::limits::UpstreamLimits;
use crate::endpoint::Stats;

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Request,
    /// A request without a connection, or before a service that is not ready.
    Pending,
    Connection,
}

impl Use {
    /// The name in metrics.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Pending => "pending",
            Self::Connection => "connections",
        }
    }
}

/// Who takes places, by use. A pool has one for itself, and one for each endpoint.
#[derive(Debug, Default)]
pub(crate) struct Users([AtomicU32; 3]);

impl Users {
    pub(crate) fn count(&self, of: Use) -> u32 {
        // Relaxed: a statistic.
        self.0[of as usize].load(Ordering::Relaxed)
    }

    fn try_enter(&self, of: Use, most: u32) -> bool {
        let fits = |used: u32| (used < most).then(|| used + 1);
        // Relaxed: a count that guards no other memory; the step itself is exact.
        self.0[of as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn leave(&self, of: Use) {
        // Relaxed: as above.
        self.0[of as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places of one upstream and how many there may be.
#[derive(Debug)]
pub(crate) struct Gauges {
    pool: String,
    limits: ArcSwap<UpstreamLimits>,
    limits_requests: AtomicBool,
    users: Arc<Users>,
}

impl Gauges {
    pub(crate) fn new(pool: &str, limits: UpstreamLimits) -> Self {
        Self {
            pool: pool.to_owned(),
            limits: ArcSwap::from_pointee(limits),
            limits_requests: AtomicBool::new(limits.requests < u32::MAX),
            users: Arc::default(),
        }
    }

    pub(crate) fn limits(&self) -> UpstreamLimits {
        **self.limits.load()
    }

    pub(crate) fn set(&self, limits: UpstreamLimits) {
        self.limits.store(Arc::new(limits));
        let counts = limits.requests < u32::MAX;
        // Relaxed: as `counts_requests`.
        self.limits_requests.store(counts, Ordering::Relaxed);
    }

    /// The requests of the upstream have a limit.
    #[inline]
    pub(crate) fn counts_requests(&self) -> bool {
        // Relaxed: a request in motion may miss a change.
        self.limits_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// A place at this endpoint; `None` if the endpoint or the upstream has none left.
    pub(crate) fn take(&self, of: Use, endpoint: &Arc<Stats>) -> Option<Slot> {
        let limits = self.limits.load();
        let (all, one) = match of {
            // The endpoint's requests are counted by its lease.
            Use::Request => (limits.requests, u32::MAX),
            Use::Pending => (limits.pending, limits.pending_per_endpoint),
            Use::Connection => (limits.connections, limits.connections_per_endpoint),
        };
        if !self.users.try_enter(of, all) {
            super::observe::full(&self.pool, of, "upstream");
            return None;
        }
        if !endpoint.users.try_enter(of, one) {
            self.users.leave(of);
            super::observe::full(&self.pool, of, "endpoint");
            return None;
        }
        Some(Slot {
            of,
            upstream: Arc::clone(&self.users),
            endpoint: Arc::clone(endpoint),
        })
    }
}

/// A place in use.
pub(crate) struct Slot {
    of: Use,
    upstream: Arc<Users>,
    endpoint: Arc<Stats>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.upstream.leave(self.of);
        self.endpoint.users.leave(self.of);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.of).finish()
    }
}
