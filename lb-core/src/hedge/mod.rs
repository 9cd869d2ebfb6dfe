//! Hedging: ask a second endpoint when the first takes longer than most.
//!
//! A few requests are slow for no reason of their own: a pause, a full queue, a lost
//! packet. Sending the same request to another endpoint once it is later than, say,
//! 95 of 100 others cuts the tail for 5 % more load. The first answer wins; the other
//! request is cancelled before the winner's answer goes on.
//!
//! The reverse proxy hedges what it may send twice: idempotent requests of which every
//! byte is at hand, once per request, to an endpoint that was not asked yet, and only
//! while the [retry budget](crate::retry) has something left: a hedge and a retry cost
//! the same. A slow upstream therefore gets at most the budget's share on top.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_core::hedge::Hedge;
//!
//! let hedge = Hedge::at_quantile(0.95);
//! let now = Instant::now();
//! assert_eq!(hedge.delay(now), None, "nothing is known yet");
//! for millis in 1..=100 {
//!     hedge.learn(Duration::from_millis(millis), now);
//! }
//! let delay = hedge.delay(now).expect("100 answers are enough");
//! assert!((90..=110).contains(&delay.as_millis()));
//! ```

mod quantile;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::quantile::Latencies;
use crate::clock::bounded;
use crate::error::ConfigError;

/// When a request is hedged; see the [module](self). Clones learn together.
#[derive(Clone)]
pub struct Hedge {
    delay: Delay,
    least: Duration,
}

#[derive(Clone)]
enum Delay {
    Fixed(Duration),
    Quantile(f64, Arc<Mutex<Latencies>>),
}

impl Hedge {
    /// After this time.
    #[must_use]
    pub fn after(delay: Duration) -> Self {
        Self {
            delay: Delay::Fixed(bounded(delay)),
            least: Duration::ZERO,
        }
    }

    /// When it is later than this share of the answers of the last minute, to within a
    /// tenth. Nothing is hedged before 20 answers are known, and never at what is no share,
    /// see [`check`](Self::check).
    #[must_use]
    pub fn at_quantile(share: f64) -> Self {
        Self {
            delay: Delay::Quantile(share, Arc::default()),
            least: Duration::from_millis(5),
        }
    }

    /// Never earlier than this. Default: 5 ms under a quantile, zero else.
    #[must_use]
    pub fn at_least(mut self, delay: Duration) -> Self {
        self.least = bounded(delay);
        self
    }

    /// How long to wait for the first endpoint; `None` while that is unknown.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        let delay = match &self.delay {
            Delay::Fixed(delay) => Some(*delay),
            Delay::Quantile(share, known) if is_share(*share) => lock(known).quantile(*share, now),
            Delay::Quantile(..) => None,
        };
        delay.map(|delay| delay.max(self.least))
    }

    /// An answer began after this time, counted from when the first endpoint was asked.
    /// Cancelled requests teach nothing.
    pub fn learn(&self, latency: Duration, now: Instant) {
        if let Delay::Quantile(_, known) = &self.delay {
            lock(known).add(latency, now);
        }
    }

    /// # Errors
    ///
    /// [`ConfigError::Range`] if the quantile is no share.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.delay {
            Delay::Quantile(share, _) if !is_share(share) => Err(ConfigError::Range {
                what: "hedge at_quantile",
                must: "between 0 and 1",
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Hedge");
        match &self.delay {
            Delay::Fixed(delay) => text.field("after", delay),
            Delay::Quantile(share, _) => text.field("at_quantile", share),
        };
        text.field("at_least", &self.least).finish()
    }
}

fn is_share(share: f64) -> bool {
    share > 0.0 && share < 1.0
}

/// A panic while it was held leaves counts that are off by one at worst.
fn lock(known: &Mutex<Latencies>) -> std::sync::MutexGuard<'_, Latencies> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_share_hedges_nothing() {
        let now = crate::clock::now();
        for share in [0.0, -0.5, 1.0, 95.0, f64::NAN] {
            let hedge = Hedge::at_quantile(share);
            (0..100).for_each(|_| hedge.learn(Duration::from_millis(20), now));
            assert_eq!(hedge.delay(now), None, "{share}");
            assert!(hedge.check().is_err(), "{share}");
        }
    }
}
