//! Leaving out instances that come and go, until they have calmed down.
//!
//! Every return after a departure costs a penalty; penalties halve with time. From a threshold on the instance is
//! suppressed, until its penalty has fallen to a lower one. The scheme is that of route flap damping (RFC 2439).
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_registry::fail_static::flap::{FlapSettings, Flaps};
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example needs some moment")]
//! let now = Instant::now();
//! let mut flaps = Flaps::new(FlapSettings::default());
//! for _ in 0..3 {
//!     flaps.left("a", now);
//!     flaps.came("a", now);
//! }
//! assert!(flaps.is_suppressed("a", now));
//! flaps.tick(now + Duration::from_secs(121)); // two half-lives and a little
//! assert!(!flaps.is_suppressed("a", now + Duration::from_secs(121)));
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::clock;

/// Departures are remembered for this many instances.
const MOST: usize = 10_000;
/// Below this a penalty is forgotten.
const NOTHING: f64 = 1.0;

/// How strongly to damp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlapSettings {
    /// Cost of one return. Default: 1,000; zero damps nothing.
    pub penalty: f64,
    /// Suppressed from this penalty on. Default: 3,000.
    pub suppress: f64,
    /// Back in use at this penalty. Default: 750.
    pub reuse: f64,
    /// Penalties halve in this time. Default: 60 seconds.
    pub half_life: Duration,
}

/// The penalties. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Flaps {
    settings: FlapSettings,
    marks: BTreeMap<String, Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    penalty: f64,
    at: Instant,
    suppressed: bool,
    away: bool,
}

impl Default for FlapSettings {
    fn default() -> Self {
        Self {
            penalty: 1_000.0,
            suppress: 3_000.0,
            reuse: 750.0,
            half_life: Duration::from_secs(60),
        }
    }
}

// === impl Flaps ===

impl Flaps {
    /// Nobody has a penalty.
    #[must_use]
    pub fn new(settings: FlapSettings) -> Self {
        Self {
            settings,
            marks: BTreeMap::new(),
        }
    }

    /// The instance has left.
    pub fn left(&mut self, id: &str, now: Instant) {
        if self.settings.penalty <= 0.0 {
            return;
        }
        if let Some(mark) = self.marks.get_mut(id) {
            mark.away = true;
        } else if self.marks.len() < MOST {
            let mark = Mark {
                penalty: NOTHING * 2.0,
                at: now,
                suppressed: false,
                away: true,
            };
            self.marks.insert(id.to_owned(), mark);
        }
    }

    /// The instance is there again, or for the first time, which costs nothing.
    pub fn came(&mut self, id: &str, now: Instant) {
        let settings = self.settings;
        let Some(mark) = self.marks.get_mut(id).filter(|mark| mark.away) else {
            return;
        };
        let penalty = mark.decayed(now, settings.half_life) + settings.penalty;
        let suppressed = mark.suppressed || penalty >= settings.suppress;
        *mark = Mark {
            penalty,
            at: now,
            suppressed,
            away: false,
        };
    }

    /// Forgets what has calmed down.
    pub fn tick(&mut self, now: Instant) {
        let FlapSettings {
            reuse, half_life, ..
        } = self.settings;
        self.marks.retain(|_, mark| {
            let penalty = mark.decayed(now, half_life);
            mark.suppressed &= penalty > reuse;
            mark.suppressed || penalty > NOTHING
        });
    }

    /// `true` while the instance is to be left out.
    #[must_use]
    pub fn is_suppressed(&self, id: &str, now: Instant) -> bool {
        self.marks.get(id).is_some_and(|mark| {
            mark.suppressed && mark.decayed(now, self.settings.half_life) > self.settings.reuse
        })
    }

    /// When the first suppressed instance comes back into use.
    #[must_use]
    pub fn next_change(&self) -> Option<Instant> {
        let FlapSettings {
            reuse, half_life, ..
        } = self.settings;
        let suppressed = self.marks.values().filter(|mark| mark.suppressed);
        // A millisecond later the penalty is surely at or below the threshold, whatever the rounding.
        let slack = Duration::from_millis(1);
        let calm = |mark: &Mark| {
            let half_lives = (mark.penalty / reuse).log2().max(0.0);
            // With a threshold of zero nobody ever comes back.
            let span = Duration::try_from_secs_f64(half_life.as_secs_f64() * half_lives);
            mark.at + clock::bounded(span.unwrap_or(Duration::MAX)) + slack
        };
        suppressed.map(calm).min()
    }
}

impl Mark {
    fn decayed(&self, now: Instant, half_life: Duration) -> f64 {
        let age = now.saturating_duration_since(self.at).as_secs_f64();
        self.penalty * (-age / half_life.as_secs_f64().max(f64::MIN_POSITIVE)).exp2()
    }
}
