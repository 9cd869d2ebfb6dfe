//! How long may an entry be used, and how?
//!
//! An entry passes through four ages. It is *fresh* and served as it is; near
//! the end of its life it is fresh but *ageing*: served, and one reader renews
//! it in the background; then it is *stale*: served only while a load runs or
//! when a load fails; at last it is *dead*. Jitter only ever shortens a life, so
//! the stated time to live stays an upper bound, and entries that were written
//! together do not all end together.
//!
//! ```
//! use std::time::Duration;
//! use lb_cache::freshness::{Age, Moment, Terms};
//!
//! let terms = Terms {
//!     ttl: Some(Duration::from_secs(100)),
//!     refresh_at: Some(0.8),
//!     stale_for: Duration::from_secs(50),
//!     jitter: 0.0,
//! };
//! let life = terms.life(Moment(1_000), None, 0);
//! assert_eq!(life.age(Moment(80_999)), Age::Fresh);
//! assert_eq!(life.age(Moment(81_000)), Age::Ageing);
//! assert_eq!(life.age(Moment(101_000)), Age::Stale);
//! assert_eq!(life.age(Moment(151_000)), Age::Dead);
//! ```

use std::time::Duration;

pub use crate::clock::{Moment, UnixMillis};

/// The age of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Age {
    /// Serve it.
    Fresh,
    /// Serve it, and let one reader renew it in the background.
    Ageing,
    /// Serve it only while a load runs, or when a load failed.
    Stale,
    /// Do not serve it.
    Dead,
}

/// What a policy says about lifetimes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Time to live; `None` lives until it is evicted or invalidated.
    pub ttl: Option<Duration>,
    /// Share of the life after which a reader renews the entry.
    pub refresh_at: Option<f64>,
    /// How long an entry may be served after its time to live.
    pub stale_for: Duration,
    /// The largest share of a life that is cut off at random.
    pub jitter: f64,
}

/// The moments at which one entry changes its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From here on the entry is ageing.
    pub ageing_from: Moment,
    /// From here on the entry is stale.
    pub stale_from: Moment,
    /// From here on the entry is dead.
    pub dead_from: Moment,
}

impl Terms {
    /// The life of an entry that is born `now`.
    ///
    /// `cap` bounds the time to live further (what a lower tier has left, or
    /// what a loader asked for). `random` is any 64 random bits.
    #[must_use]
    pub fn life(&self, now: Moment, cap: Option<Duration>, random: u64) -> Life {
        let Some(ttl) = self.span(cap, random) else {
            return Life {
                ageing_from: Moment::NEVER,
                stale_from: Moment::NEVER,
                dead_from: Moment::NEVER,
            };
        };
        let stale_from = now.after(ttl);
        Life {
            ageing_from: self.refresh_at.map_or(stale_from, |share| {
                now.after(shorten(ttl, 1.0 - share, u64::MAX))
            }),
            stale_from,
            dead_from: stale_from.after(self.stale_for),
        }
    }

    /// How long an entry stays fresh: the shortest of what is stated, less the
    /// jitter. `None`: without end.
    #[must_use]
    pub fn span(&self, cap: Option<Duration>, random: u64) -> Option<Duration> {
        let ttl = match (self.ttl, cap) {
            (Some(ttl), Some(cap)) => ttl.min(cap),
            (Some(ttl), None) | (None, Some(ttl)) => ttl,
            (None, None) => return None,
        };
        Some(shorten(ttl, self.jitter, random))
    }
}

impl Life {
    /// The age at `now`.
    #[must_use]
    pub fn age(&self, now: Moment) -> Age {
        if now < self.ageing_from {
            Age::Fresh
        } else if now < self.stale_from {
            Age::Ageing
        } else if now < self.dead_from {
            Age::Stale
        } else {
            Age::Dead
        }
    }

    /// The same entry after a failed renewal: nobody tries again before
    /// `throttle` is over, and its end does not move.
    #[must_use]
    pub fn throttled(self, now: Moment, throttle: Duration) -> Self {
        let next = now.after(throttle).min(self.dead_from);
        Self {
            ageing_from: self.ageing_from.max(next),
            stale_from: self.stale_from.max(next),
            ..self
        }
    }
}

/// Longer lives than this are cut: floating point could not hold them.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// `duration` less a share of at most `most`, chosen by `random`.
fn shorten(duration: Duration, most: f64, random: u64) -> Duration {
    let duration = duration.min(CENTURY);
    let share = most.clamp(0.0, 1.0) * (random as f64 / u64::MAX as f64);
    duration - duration.mul_f64(share).min(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms() -> impl Strategy<Value = Terms> {
        (
            proptest::option::of(0u64..1_000_000_000),
            proptest::option::of(0.0..=1.0f64),
            0u64..1_000_000,
            0.0..=1.0f64,
        )
            .prop_map(|(ttl, refresh_at, stale, jitter)| Terms {
                ttl: ttl.map(Duration::from_millis),
                refresh_at,
                stale_for: Duration::from_millis(stale),
                jitter,
            })
    }

    proptest! {
        /// Neither jitter nor a cap ever makes a life longer than stated.
        #[test]
        fn no_life_is_longer_than_stated(terms in terms(), cap in proptest::option::of(0u64..1_000_000), random: u64, now in 1u64..1_000_000) {
            let now = Moment(now);
            let cap = cap.map(Duration::from_millis);
            let life = terms.life(now, cap, random);
            for bound in [terms.ttl, cap].into_iter().flatten() {
                prop_assert!(now.until(life.stale_from) <= bound);
            }
        }

        /// The ages follow each other in order and never go back.
        #[test]
        fn an_entry_only_gets_older(terms in terms(), random: u64, a: u64, b: u64) {
            let life = terms.life(Moment(1), None, random);
            let rank = |age| match age { Age::Fresh => 0, Age::Ageing => 1, Age::Stale => 2, Age::Dead => 3 };
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(rank(life.age(Moment(early))) <= rank(life.age(Moment(late))));
        }

        /// A failed renewal never moves the end of an entry.
        #[test]
        fn a_failed_renewal_never_moves_the_end(terms in terms(), random: u64, now: u64, throttle in 0u64..1_000_000) {
            let life = terms.life(Moment(1), None, random);
            let later = life.throttled(Moment(now), Duration::from_millis(throttle));
            prop_assert_eq!(later.dead_from, life.dead_from);
            prop_assert!(later.stale_from >= life.stale_from);
            prop_assert!(later.stale_from <= later.dead_from);
        }
    }

    #[test]
    fn an_entry_without_a_time_to_live_stays_fresh() {
        let terms = Terms {
            ttl: None,
            refresh_at: Some(0.5),
            stale_for: Duration::ZERO,
            jitter: 0.5,
        };
        assert_eq!(
            terms.life(Moment(1), None, 7).age(Moment(u64::MAX - 1)),
            Age::Fresh
        );
    }

    #[test]
    fn a_life_of_zero_is_never_fresh() {
        let terms = Terms {
            ttl: Some(Duration::ZERO),
            refresh_at: None,
            stale_for: Duration::ZERO,
            jitter: 0.0,
        };
        assert_eq!(terms.life(Moment(9), None, 0).age(Moment(9)), Age::Dead);
    }
}
