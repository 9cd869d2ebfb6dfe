//! What a cache does, as plain data: readable in one place, shown by the admin service.
//!
//! ```
//! use std::time::Duration;
//! use lb_cache::Policy;
//!
//! let policy = Policy::results();
//! assert_eq!(policy.shared_ttl, Duration::from_secs(3_600));
//! assert!(policy.validate("results").is_ok());
//! ```

use std::time::Duration;

use serde::Serialize;

use crate::error::ConfigError;
use crate::freshness::Terms;
use crate::local::Local;

/// The effective policy of one cache. Start from a preset or [`Policy::default`],
/// and change what differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Policy {
    /// What this process holds. Default: nothing.
    pub local: Local,
    /// Time to live in the shared tier. Default: 1 hour.
    pub shared_ttl: Duration,
    /// Time to live in the database tier; `None` lives until invalidated. Default: `None`.
    pub database_ttl: Option<Duration>,
    /// The largest share of a life that is cut off at random, so that entries
    /// written together do not end together. Default: 0.05.
    pub jitter: f64,
    /// Share of a life after which one reader renews the value in the background; after a
    /// failure nobody tries again for 1 s, or as [`Stale::throttle`] says. Default: none.
    pub refresh_at: Option<f64>,
    /// Serving values past their end. Default: never.
    pub stale: Option<Stale>,
    /// Remembering that there is no such value. Default: 5 s, 1,000 keys.
    pub negative: Option<Negative>,
    /// Limits on loads.
    pub load: LoadLimits,
    /// What an insert writes. Default: every tier.
    pub writes: WriteMode,
    /// The version of the value's type; others are misses. Default: 0.
    pub schema: u16,
    /// Larger encoded values are not written to lower tiers, nor read from them. Default: 8 MiB.
    pub max_value_bytes: usize,
    /// Encoded values above this size are compressed (feature `compress`). Default: never.
    pub compress_above: Option<usize>,
}

/// Serving values past their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stale {
    /// How long after its end a value may still be served.
    pub serve_for: Duration,
    /// After a failed load nobody tries again for so long.
    pub throttle: Duration,
}

/// Remembering that there is no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Negative {
    /// For how long.
    pub ttl: Duration,
    /// For how many keys; they have a space of their own and evict no value.
    pub capacity: u64,
}

/// Limits on loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LoadLimits {
    /// A reader who holds a stale value waits so long for a new one. Default: zero, it does not wait.
    pub soft: Duration,
    /// No load takes longer. Default: 30 s.
    pub hard: Duration,
    /// So many loads run at once; others wait, at most `hard`. Default: 64.
    pub concurrent: usize,
}

/// What an insert writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteMode {
    /// The database tier, then the shared one, then the local one.
    Through,
    /// Nothing: an insert only invalidates, and the next reader loads.
    Around,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            local: Local::none(),
            shared_ttl: Duration::from_secs(3_600),
            database_ttl: None,
            jitter: 0.05,
            refresh_at: None,
            stale: None,
            negative: Some(Negative {
                ttl: Duration::from_secs(5),
                capacity: 1_000,
            }),
            load: LoadLimits {
                soft: Duration::ZERO,
                hard: Duration::from_secs(30),
                concurrent: 64,
            },
            writes: WriteMode::Through,
            schema: 0,
            max_value_bytes: 8 << 20,
            compress_above: None,
        }
    }
}

impl Policy {
    /// Results: 1,000 entries for 5 minutes here, 1 hour in the shared tier,
    /// served up to 10 minutes past their end when nothing newer can be had.
    #[must_use]
    pub fn results() -> Self {
        Self {
            local: Local::ttl(1_000, Duration::from_secs(300)),
            refresh_at: Some(0.8),
            stale: Some(Stale {
                serve_for: Duration::from_secs(600),
                throttle: Duration::from_secs(5),
            }),
            ..Self::default()
        }
    }

    /// Large results: the 500 most recently used ones here, 1 hour in the shared tier.
    #[must_use]
    pub fn large_results() -> Self {
        Self {
            local: Local::lru(500),
            max_value_bytes: 16 << 20,
            ..Self::default()
        }
    }

    /// Progress: 2,000 entries for 1 minute, here and in the shared tier; never stale.
    #[must_use]
    pub fn progress() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            local: Local::ttl(2_000, minute),
            shared_ttl: minute,
            negative: Some(Negative {
                ttl: Duration::from_secs(1),
                capacity: 1_000,
            }),
            ..Self::default()
        }
    }

    /// Lifetimes in the local tier.
    pub(crate) fn local_terms(&self) -> Terms {
        self.terms(self.local.ttl)
    }

    /// Lifetimes for a tier with this time to live.
    pub(crate) fn terms(&self, ttl: Option<Duration>) -> Terms {
        Terms {
            ttl,
            refresh_at: self.refresh_at,
            stale_for: self.stale.map_or(Duration::ZERO, |stale| stale.serve_for),
            jitter: self.jitter,
        }
    }

    /// Checks the whole policy of the cache `namespace`.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be; see [`ConfigError`].
    pub fn validate(&self, namespace: &str) -> Result<(), ConfigError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if namespace.is_empty() || namespace.len() > 64 || !namespace.chars().all(allowed) {
            return Err(ConfigError::Namespace {
                name: namespace.to_owned(),
            });
        }
        self.local.validate()?;
        share("jitter", self.jitter)?;
        share("refresh_at", self.refresh_at.unwrap_or(1.0))?;
        not_zero("load.hard", self.load.hard.is_zero())?;
        not_zero("load.concurrent", self.load.concurrent == 0)?;
        not_zero("shared_ttl", self.shared_ttl.is_zero())?;
        not_zero("database_ttl", self.database_ttl == Some(Duration::ZERO))?;
        not_zero("max_value_bytes", self.max_value_bytes == 0)?;
        if let Some(negative) = self.negative {
            not_zero("negative.ttl", negative.ttl.is_zero())?;
            not_zero("negative.capacity", negative.capacity == 0)?;
        }
        Ok(())
    }
}

fn share(what: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::Share { what, value })
    }
}

pub(crate) fn not_zero(what: &'static str, zero: bool) -> Result<(), ConfigError> {
    if zero {
        Err(ConfigError::Zero { what })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for policy in [
            Policy::results(),
            Policy::large_results(),
            Policy::progress(),
            Policy::default(),
        ] {
            policy.validate("n").unwrap();
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let refused = |change: fn(&mut Policy)| {
            let mut policy = Policy::results();
            change(&mut policy);
            policy.validate("n").unwrap_err().to_string()
        };
        assert!(refused(|p| p.jitter = f64::NAN).contains("jitter"));
        assert!(refused(|p| p.refresh_at = Some(1.5)).contains("refresh_at"));
        assert!(refused(|p| p.load.concurrent = 0).contains("load.concurrent"));
        assert!(refused(|p| p.local = Local::ttl(0, Duration::from_secs(1))).contains("capacity"));
        assert!(refused(|p| p.local = Local::ttl(1, Duration::ZERO)).contains("local.ttl"));
        for name in ["", "a:b", "a b", "{x}"] {
            assert!(Policy::results().validate(name).is_err(), "{name:?}");
        }
    }
}
