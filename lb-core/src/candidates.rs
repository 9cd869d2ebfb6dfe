//! The endpoints a picker chooses from: what a policy of your own looks at.
//!
//! [`Candidates`] are one moment of a pool. Members have an index each; of those, the
//! [available](Candidates::available) ones are listed, and [`Candidates::admits`] says
//! whether one may take the request at hand: it has room, was not tried before, and is
//! not growing into its share just now. A picker that finds nobody so falls back to
//! [`Candidates::any`]. Facts are in [`Candidates::endpoint`] and
//! [`Candidates::weight`], counters and estimates in [`Candidates::stats`].
//!
//! A policy that prefers the endpoints whose metadata say `"disk": "ssd"`:
//!
//! ```
//! use std::sync::Arc;
//! use lb_core::{EndpointSpec, PickCx, Pool};
//! use lb_core::{candidates::Candidates, pick::Picker, policy::{Policy, PolicyConfig}};
//!
//! #[derive(Debug)]
//! struct PreferSsd;
//!
//! impl Policy for PreferSsd {
//!     fn name(&self) -> &str {
//!         "prefer_ssd"
//!     }
//!
//!     fn build(&self, _candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
//!         Arc::new(PreferSsd) // A picker may keep what it worked out of the members.
//!     }
//! }
//!
//! impl Picker for PreferSsd {
//!     fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
//!         let fast = |at: &usize| {
//!             let disk = candidates.endpoint(*at).metadata().get("disk");
//!             disk.is_some_and(|disk| disk == "ssd") && candidates.admits(*at, cx)
//!         };
//!         let all = candidates.available().iter().map(|index| *index as usize);
//!         let idlest = all.filter(fast).min_by_key(|at| candidates.stats(*at).in_flight());
//!         idlest.or_else(|| candidates.any(cx))
//!     }
//! }
//!
//! let pool = Pool::builder("files")
//!     .endpoints([
//!         EndpointSpec::new("a", "http://10.0.0.1:8000"),
//!         EndpointSpec::new("b", "http://10.0.0.2:8000").metadata("disk", "ssd"),
//!     ])
//!     .policy(PolicyConfig::Custom(Arc::new(PreferSsd)))
//!     .build()?;
//! # let now = std::time::Instant::now();
//! assert_eq!(pool.pick(&PickCx::new(now, 42))?.endpoint().id().as_str(), "b");
//! pool.set_draining(&"b".into(), true);
//! assert_eq!(pool.pick(&PickCx::new(now, 42))?.endpoint().id().as_str(), "a");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    endpoint::{Cause, Endpoint, Stats, stamped::Moment},
    error::ConfigError,
    pick::{PickCx, below, next_bits, step},
};

/// One endpoint as pickers see it: hot facts in line, the rest behind.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) weight: u32,
    pub(crate) room: u32,
}

impl Entry {
    /// A count relative to the weight.
    #[inline]
    pub(crate) fn by_weight(&self, count: u32) -> f64 {
        match self.weight {
            // No need to divide.
            1 => f64::from(count),
            weight => f64::from(count) / f64::from(weight),
        }
    }
}

/// How a group of endpoints behaves as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// Below this share of healthy endpoints their health is overlooked.
    pub(crate) panic_threshold: f64,
    /// A new endpoint grows into its share within this time.
    pub(crate) slow_start: Duration,
}

impl Rules {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&self.panic_threshold) {
            return Ok(());
        }
        Err(ConfigError::Range {
            what: "panic_threshold",
            must: "a share from 0 to 1",
        })
    }
}

/// The endpoints a picker chooses from: facts and counters by index, and the
/// list of those that are available.
#[derive(Clone, Debug)]
pub struct Candidates {
    pub(crate) entries: Arc<[Entry]>,
    pub(crate) available: Box<[u32]>,
    pub(crate) rules: Rules,
    /// One turn of those that are available.
    pub(crate) step: u64,
    mask: u32,
    warm_from: Option<Instant>,
}

impl Candidates {
    pub(crate) fn new(entries: Arc<[Entry]>, rules: Rules) -> Self {
        let mut candidates = Self {
            entries,
            available: Box::default(),
            rules,
            step: 0,
            mask: Cause::ANY,
            warm_from: None,
        };
        candidates.refresh();
        candidates
    }

    /// The same members with their availability as it is now.
    pub(crate) fn refreshed(&self) -> Self {
        Self::new(Arc::clone(&self.entries), self.rules)
    }

    fn refresh(&mut self) {
        let healthy = self.list(Cause::ANY);
        let willing = self.list(!Cause::HEALTH);
        let panics = (healthy.len() as f64) < self.rules.panic_threshold * willing.len() as f64;
        (self.mask, self.available) = if panics {
            (!Cause::HEALTH, willing)
        } else {
            (Cause::ANY, healthy)
        };
        self.step = step(self.available.len());
        let slow = !self.rules.slow_start.is_zero();
        let growing = self.available.iter().filter(|_| slow);
        self.warm_from = growing
            .map(|index| {
                self.entries[*index as usize].stats.available_since() + self.rules.slow_start
            })
            .max();
    }

    fn list(&self, mask: u32) -> Box<[u32]> {
        let fits = |entry: &Entry| entry.weight > 0 && entry.stats.causes() & mask == 0;
        (0..self.entries.len() as u32)
            .filter(|index| fits(&self.entries[*index as usize]))
            .collect()
    }

    /// How many endpoints there are, available or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No endpoint at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Indices of the endpoints that no cause stands against, ascending. It may
    /// lag a little: ask [`admits`](Self::admits) before choosing one.
    #[must_use]
    pub fn available(&self) -> &[u32] {
        &self.available
    }

    /// The index of the one at that place of [`available`](Self::available). While all are,
    /// place and index are one, and nothing waits for the list.
    #[inline]
    pub(crate) fn nth(&self, place: usize) -> Option<usize> {
        if self.available.len() == self.entries.len() {
            (place < self.entries.len()).then_some(place)
        } else {
            self.available.get(place).map(|index| *index as usize)
        }
    }

    /// So few endpoints are healthy that health is overlooked.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        self.mask != Cause::ANY
    }

    /// How many are available if health counts.
    pub(crate) fn healthy(&self) -> usize {
        self.list(Cause::ANY).len()
    }

    /// Endpoints differ in priority.
    pub(crate) fn has_tiers(&self) -> bool {
        let mut priorities = self.entries.iter().map(|entry| entry.endpoint.priority());
        let first = priorities.next();
        priorities.any(|priority| Some(priority) != first)
    }

    /// Whether this cause keeps an endpoint from being picked here.
    pub(crate) fn counts(&self, cause: Cause) -> bool {
        self.mask & cause.bit() != 0
    }

    /// The time of a pick as these endpoints count it.
    #[inline]
    pub(crate) fn moment(&self, cx: &PickCx<'_>) -> Moment {
        match &*self.entries {
            [first, ..] => cx.moment(first.stats.fleet()),
            [] => Moment::at(Duration::ZERO),
        }
    }

    /// The endpoint at `index`.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.entries[index].endpoint
    }

    /// Counters and estimates of the endpoint at `index`.
    #[must_use]
    #[inline]
    pub fn stats(&self, index: usize) -> &Stats {
        &self.entries[index].stats
    }

    /// Weight of the endpoint at `index`.
    #[must_use]
    #[inline]
    pub fn weight(&self, index: usize) -> u32 {
        self.entries[index].weight
    }

    /// A count relative to the weight of the endpoint at `index`.
    #[inline]
    pub(crate) fn by_weight(&self, count: u32, index: usize) -> f64 {
        self.entries[index].by_weight(count)
    }

    /// All available endpoints have one weight.
    pub(crate) fn evenly_weighted(&self) -> bool {
        let mut weights = self
            .available
            .iter()
            .map(|index| self.entries[*index as usize].weight);
        let first = weights.next();
        weights.all(|weight| Some(weight) == first)
    }

    /// Whether the endpoint may take this request: no cause stands against it,
    /// it has weight and room, the request did not try it before, and its slow
    /// start lets this request through.
    #[must_use]
    #[inline]
    pub fn admits(&self, index: usize, cx: &PickCx<'_>) -> bool {
        self.admits_cold(index, cx) && self.warm_enough(index, cx, cx.random)
    }

    /// As [`admits`](Self::admits), but slow start draws lots by the request's
    /// key, so that a key moves to a new endpoint once and stays there.
    #[inline]
    pub(crate) fn admits_key(&self, index: usize, cx: &PickCx<'_>) -> bool {
        self.admits_cold(index, cx) && self.warm_enough(index, cx, cx.key())
    }

    /// As [`admits`](Self::admits) without slow start.
    #[inline]
    pub(crate) fn admits_cold(&self, index: usize, cx: &PickCx<'_>) -> bool {
        let entry = &self.entries[index];
        entry.weight > 0
            && entry.stats.room_left(self.mask, entry.room).is_some()
            && (cx.tried.is_empty() || !cx.tried.iter().any(|id| id.is(entry.endpoint.id())))
    }

    /// What the picks of this crate ask instead of [`admits`](Self::admits): the
    /// same answer for available endpoints, with what holds for all said once.
    #[inline]
    pub(crate) fn gate<'a>(&'a self, cx: &'a PickCx<'a>) -> Gate<'a> {
        Gate {
            candidates: self,
            cx,
            open: cx.tried.is_empty() && self.warm_from.is_none(),
        }
    }

    /// Whether nothing but an open circuit keeps the endpoint from this request.
    pub(crate) fn admits_trial(&self, index: usize, cx: &PickCx<'_>) -> bool {
        let entry = &self.entries[index];
        let has = |(key, value): &(&str, &str)| {
            entry.endpoint.metadata().get(*key).map(String::as_str) == Some(*value)
        };
        entry.stats.causes() & self.mask & !Cause::CircuitOpen.bit() == 0
            && entry.weight > 0
            && entry.stats.in_flight() < entry.room
            && cx.subset.iter().all(has)
            && !cx.tried.contains(entry.endpoint.id())
    }

    /// A new endpoint takes part in a growing share of all picks.
    #[inline]
    fn warm_enough(&self, index: usize, cx: &PickCx<'_>, lot: u64) -> bool {
        if self.warm_from.is_none_or(|warm| cx.now() >= warm) {
            return true;
        }
        self.warmth(index, cx.now()) * f64::from(u32::MAX) >= f64::from(draw_lot(lot, index))
    }

    /// Share of its traffic that a new endpoint is ready for: 0.1 to 1.
    pub(crate) fn warmth(&self, index: usize, now: Instant) -> f64 {
        if self.rules.slow_start.is_zero() {
            return 1.0;
        }
        let age = now.saturating_duration_since(self.entries[index].stats.available_since());
        (age.as_secs_f64() / self.rules.slow_start.as_secs_f64()).clamp(0.1, 1.0)
    }

    /// The available endpoints, one after the other from where `key` points.
    pub(crate) fn around(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let n = self.available.len();
        let start = below((key >> 32) as u32, n);
        (0..n).map(move |step| self.available[(start + step) % n] as usize)
    }

    /// Any endpoint that admits the request: a few random draws first, so that
    /// nobody's neighbour gets more than its share, then one after the other,
    /// at last without slow start.
    #[must_use]
    #[cold]
    pub fn any(&self, cx: &PickCx<'_>) -> Option<usize> {
        let n = self.available.len();
        if n == 0 {
            return None;
        }
        let mut state = cx.random;
        for _ in 0..4 {
            let index = self.available[below(next_bits(&mut state), n)] as usize;
            if self.admits(index, cx) {
                return Some(index);
            }
        }
        let start = below(next_bits(&mut state), n);
        let around = || (0..n).map(|step| self.available[(start + step) % n] as usize);
        around()
            .find(|index| self.admits(*index, cx))
            .or_else(|| around().find(|index| self.admits_cold(*index, cx)))
    }
}

/// An endpoint that may take the request, as one look saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) index: usize,
    pub(crate) entry: &'a Entry,
    pub(crate) in_flight: u32,
}

/// Who may take one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    candidates: &'a Candidates,
    cx: &'a PickCx<'a>,
    /// Nothing was tried before and nobody starts slowly: only room and causes matter.
    open: bool,
}

impl<'a> Gate<'a> {
    /// The available endpoint at `index`, if it may take the request.
    #[inline]
    pub(crate) fn see(&self, index: usize) -> Option<Seen<'a>> {
        let seen = self.with_room(index)?;
        (self.open || self.look(index)).then_some(seen)
    }

    /// Whether the available endpoint at `index` may take the request.
    #[inline]
    pub(crate) fn admits(&self, index: usize) -> bool {
        self.see(index).is_some()
    }

    /// The same, as far as one look at its counters tells: `false` may be wrong.
    #[inline]
    pub(crate) fn passes(&self, index: usize) -> bool {
        self.open && self.with_room(index).is_some()
    }

    /// The endpoint at `index`, if it has room and no cause stands against it.
    #[inline]
    fn with_room(&self, index: usize) -> Option<Seen<'a>> {
        let entry = self.candidates.entries.get(index)?;
        let in_flight = entry.stats.room_left(self.candidates.mask, entry.room)?;
        Some(Seen {
            index,
            entry,
            in_flight,
        })
    }

    /// Something may stand against this one request.
    #[cold]
    #[inline(never)]
    fn look(&self, index: usize) -> bool {
        self.candidates.admits(index, self.cx)
    }
}

/// 32 bits that differ for each endpoint and request, and have nothing to do
/// with the sequence that pickers draw from the same random bits (splitmix64's
/// finalizer).
fn draw_lot(lot: u64, index: usize) -> u32 {
    let mut z = lot ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32
}
