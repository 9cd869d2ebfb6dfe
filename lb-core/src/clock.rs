//! The one place where this crate reads the clock.

use std::time::{Duration, Instant};

/// A hundred years. `Duration::MAX` is one way to say "never", and no moment has room for it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// A span that can be added to any moment.
pub(crate) fn bounded(span: Duration) -> Duration {
    span.min(FOREVER)
}

/// Now, by tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970 by the last tick of the system's clock, a few milliseconds ago: for
/// what counts minutes. A quarter of the price of the exact time. Zero before that.
#[cfg(all(feature = "affinity", target_os = "linux"))]
#[inline]
pub(crate) fn unix_seconds() -> u64 {
    use rustix::time::{ClockId, clock_gettime};

    u64::try_from(clock_gettime(ClockId::RealtimeCoarse).tv_sec).unwrap_or(0)
}

/// Seconds since 1970. Zero before that.
#[cfg(all(feature = "affinity", not(target_os = "linux")))]
pub(crate) fn unix_seconds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
