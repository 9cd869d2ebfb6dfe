//! The one place where this crate reads the clock.

use std::time::Instant;

/// Now, by tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970, for what is signed and leaves the process. Zero before that.
#[cfg(feature = "affinity")]
pub(crate) fn unix_seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
