//! The one place where this crate reads the clock.

use std::time::Instant;
#[cfg(feature = "affinity")]
use std::{cell::Cell, time::Duration};

/// Now, by tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    tokio::time::Instant::now().into_std()
}

/// Seconds since 1970 at `now`, a moment of just now: asks for the time of day once
/// per second and thread, so a change of that is noticed within a second.
#[cfg(feature = "affinity")]
pub(crate) fn unix_seconds_at(now: Instant) -> u64 {
    thread_local! {
        static KNOWN: Cell<Option<(Instant, Instant, u64)>> = const { Cell::new(None) };
    }
    if let Some((from, until, seconds)) = KNOWN.get()
        && (from..until).contains(&now)
    {
        return seconds;
    }
    let since = since_1970();
    let left = Duration::from_nanos(1_000_000_000 - u64::from(since.subsec_nanos()));
    KNOWN.set(Some((now, now + left, since.as_secs())));
    since.as_secs()
}

/// Seconds since 1970, for what is signed and leaves the process. Zero before that.
#[cfg(feature = "affinity")]
pub(crate) fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

#[cfg(feature = "affinity")]
fn since_1970() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
