//! One tenant: its clock and its queue.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::demand::{Demand, Ticket};

/// How much the latest holding time says about the next one.
const HOLDING_WEIGHT: f64 = 0.2;

/// A tenant's clock: seconds of dominant share received, divided by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct VirtualTime(pub(super) f64);

impl Eq for VirtualTime {}

impl PartialOrd for VirtualTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VirtualTime {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Place in a tenant's queue: priority first, then arrival.
pub(super) type Place = (Reverse<i32>, Ticket);

/// One request that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) demand: Demand,
    pub(super) since: Instant,
    /// Since when it was first in line and did not fit.
    pub(super) blocked_since: Option<Instant>,
}

/// One tenant.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: Arc<str>,
    pub(super) weight: f64,
    /// `true` if it came unannounced and may be forgotten.
    pub(super) stranger: bool,
    pub(super) clock: VirtualTime,
    /// When it joined the line: of equal clocks, the older goes first.
    pub(super) entered: u64,
    pub(super) queue: BTreeMap<Place, Waiting>,
    pub(super) running: usize,
    /// Dominant share held right now.
    pub(super) held: f64,
    holding_seconds: Option<f64>,
}

impl Tenant {
    pub(super) fn new(name: Arc<str>, weight: f64, stranger: bool, clock: VirtualTime) -> Self {
        Self {
            name,
            weight,
            stranger,
            clock,
            entered: 0,
            queue: BTreeMap::new(),
            running: 0,
            held: 0.0,
            holding_seconds: None,
        }
    }

    /// Whose turn it is among its own requests.
    pub(super) fn head(&self) -> Option<(Place, &Waiting)> {
        self.queue
            .first_key_value()
            .map(|(place, waiting)| (*place, waiting))
    }

    /// Moves the clock by this much work; negative gives back.
    pub(super) fn charge(&mut self, dominant_seconds: f64) {
        self.clock.0 += dominant_seconds / self.weight;
    }

    /// How long it will probably hold a permit.
    pub(super) fn expected(&self, otherwise: Duration) -> Duration {
        self.holding_seconds
            .map_or(otherwise, Duration::from_secs_f64)
    }

    pub(super) fn learn(&mut self, held: Duration) {
        let seconds = held.as_secs_f64();
        let average = self.holding_seconds.unwrap_or(seconds);
        self.holding_seconds = Some(average + HOLDING_WEIGHT * (seconds - average));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running == 0
    }
}
