//! How much to protect, and for how long.

use std::time::Duration;

use super::flap::FlapSettings;

/// How much to protect, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// An empty list after a full one is believed when it is repeated this much later. Default: 10 seconds; zero
    /// believes it at once.
    pub empty_grace: Duration,
    /// Losing more than this share at once is suspicious. Default: 0.5.
    pub max_drop: f64,
    /// Losing fewer than this many is never suspicious. Default: 3; `usize::MAX` turns the guard off.
    pub min_drop: usize,
    /// How long suspiciously lost instances stay as warning. Default: 30 seconds.
    pub drop_grace: Duration,
    /// How long a set is kept without believable answers. Default: 24 hours; zero keeps nothing.
    pub stale_max: Duration,
    /// Damping of instances that come and go.
    pub flap: FlapSettings,
    /// Damping never leaves fewer than this many. Default: 1.
    pub min_instances: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            empty_grace: Duration::from_secs(10),
            max_drop: 0.5,
            min_drop: 3,
            drop_grace: Duration::from_secs(30),
            stale_max: Duration::from_secs(24 * 3_600),
            flap: FlapSettings::default(),
            min_instances: 1,
        }
    }
}

impl Settings {
    /// Believes everything at once, failures included: for comparisons, and for registries inside the process.
    #[must_use]
    pub fn off() -> Self {
        Self {
            empty_grace: Duration::ZERO,
            min_drop: usize::MAX,
            drop_grace: Duration::ZERO,
            stale_max: Duration::ZERO,
            flap: FlapSettings {
                penalty: 0.0,
                ..FlapSettings::default()
            },
            ..Self::default()
        }
    }
}
