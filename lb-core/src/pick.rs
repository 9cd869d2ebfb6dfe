//! One pick: what the caller brings, and what a picker is.
//!
//! A [`Policy`](crate::policy::Policy) builds on the slow path, when members or
//! weights change; the [`Picker`] it built chooses on the hot path. A picker
//! takes no lock, reads no clock, and allocates nothing: time and randomness
//! come in with [`PickCx`].
//!
//! ```
//! use lb_core::{PickCx, Pool};
//!
//! # let now = std::time::Instant::now();
//! let pool = Pool::builder("simulation").endpoints(["http://10.0.0.1:8000"]).build()?;
//! let lease = pool.pick(&PickCx::new(now, 42))?;
//! // A second try goes elsewhere, and here there is no elsewhere.
//! let tried = [lease.endpoint().id().clone()];
//! assert!(pool.pick(&PickCx::new(now, 43).tried(&tried)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, sync::Arc, time::Instant};

use crate::{
    candidates::Candidates,
    endpoint::{EndpointId, Fleet, stamped::Moment},
};

/// What one pick depends on besides the endpoints.
#[derive(Clone, Copy, Debug)]
pub struct PickCx<'a> {
    pub(crate) time: Time,
    pub(crate) random: u64,
    key: u64,
    pub(crate) tried: &'a [EndpointId],
    pub(crate) subset: &'a [(&'a str, &'a str)],
    pub(crate) peeking: bool,
}

/// When the pick is. A lease keeps it as it is: copied as a whole it is written as it is read,
/// however it is moved later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    At(Instant),
    /// The same as the pool counts it, which takes a subtraction to know.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    Exact(Instant, Moment),
    /// Whoever needs to know asks this clock. Most picks do not.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    By(fn() -> Instant),
}

impl<'a> PickCx<'a> {
    /// A pick at `now`, with 64 random bits.
    #[must_use]
    #[inline]
    pub fn new(now: Instant, random: u64) -> Self {
        Self::with_time(Time::At(now), random)
    }

    /// A pick at `now`, which the pool counts as `moment`.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    #[inline]
    pub(crate) fn exact(now: Instant, moment: Moment, random: u64) -> Self {
        Self::with_time(Time::Exact(now, moment), random)
    }

    /// A pick that is not timed unless somebody asks for the time.
    #[cfg_attr(not(feature = "affinity"), allow(dead_code, reason = "for `Balance`"))]
    #[inline]
    pub(crate) fn untimed(clock: fn() -> Instant, random: u64) -> Self {
        Self::with_time(Time::By(clock), random)
    }

    #[inline]
    fn with_time(time: Time, random: u64) -> Self {
        Self {
            time,
            random,
            key: random,
            tried: &[],
            subset: &[],
            peeking: false,
        }
    }

    /// The request's key for hashing policies, already hashed, see
    /// [`hash_key`](crate::policy::hash_key). Without it they hash the random bits.
    #[must_use]
    pub fn hash(mut self, hash: u64) -> Self {
        self.key = hash;
        self
    }

    /// Endpoints that this request tried before and must not get again.
    #[must_use]
    pub fn tried(mut self, tried: &'a [EndpointId]) -> Self {
        self.tried = tried;
        self
    }

    /// Facts the endpoint must have, for policies with subsets.
    #[must_use]
    pub fn subset(mut self, subset: &'a [(&'a str, &'a str)]) -> Self {
        self.subset = subset;
        self
    }

    /// The time of the pick.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        match self.time {
            Time::At(now) | Time::Exact(now, _) => now,
            Time::By(clock) => clock(),
        }
    }

    /// The time of the pick as the pool counts it.
    #[inline]
    pub(crate) fn moment(&self, fleet: &Fleet) -> Moment {
        match self.time {
            Time::Exact(_, moment) => moment,
            _ => fleet.moment(self.now()),
        }
    }

    /// The time of the pick, if it was read for this pick by the pool itself.
    #[inline]
    pub(crate) fn own_moment(&self) -> Option<Moment> {
        match self.time {
            Time::Exact(_, moment) => Some(moment),
            Time::At(_) | Time::By(_) => None,
        }
    }

    /// The random bits of the pick.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.random
    }

    /// The key to place this request by.
    #[must_use]
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Drawn to be timed: if the pool read the clock for it, or one in eight of those whose
    /// time came from outside.
    #[inline]
    pub(crate) fn is_sampled(&self) -> bool {
        match self.time {
            Time::Exact(..) => true,
            Time::At(_) => self.random & 7 == 0,
            Time::By(_) => false,
        }
    }

    /// Asks what would be picked without moving any counter.
    #[must_use]
    pub fn peek(mut self) -> Self {
        self.peeking = true;
        self
    }

    /// Whether counters must stay where they are.
    #[must_use]
    pub fn is_peek(&self) -> bool {
        self.peeking
    }
}

/// Chooses one endpoint. Called once per request, from many threads at once.
pub trait Picker: fmt::Debug + Send + Sync + 'static {
    /// Index of an endpoint that [`Candidates::admits`]; `None` if there is none.
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize>;

    /// What this picker thinks of one endpoint, for explanations: lower is
    /// better. `None` if it does not compare.
    fn score(&self, _candidates: &Candidates, _cx: &PickCx<'_>, _index: usize) -> Option<f64> {
        None
    }

    /// Whether this picker looks at how long requests wait
    /// ([`Stats::silence_seconds`](crate::endpoint::Stats::silence_seconds)).
    fn times_requests(&self) -> bool {
        false
    }

    /// A picker for the same members after their availability changed; `None`
    /// if this one looks at availability itself, pick by pick.
    fn refresh(&self, _candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        None
    }
}

/// Spreads 32 random bits evenly over `0..n`.
#[inline]
pub(crate) fn below(bits: u32, n: usize) -> usize {
    ((u64::from(bits) * n as u64) >> 32) as usize
}

/// The next random bits of a short sequence (a 64-bit linear congruence, read
/// from the high half).
#[inline]
pub(crate) fn next_bits(state: &mut u64) -> u32 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 32) as u32
}

/// One of `n` turns; also for none.
pub(crate) fn step(n: usize) -> u64 {
    (u64::MAX / (n as u64).max(1)).wrapping_add(1)
}

/// Which of `n` has the turn at this fraction of the round.
#[inline]
pub(crate) fn place(fraction: u64, n: usize) -> usize {
    ((u128::from(fraction) * n as u128) >> 64) as usize
}
