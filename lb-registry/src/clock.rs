//! The one place where this crate reads the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::snapshot::UnixMillis;

/// A hundred years. `Duration::MAX` is one way to say "never", and no moment has room for it.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// A span that can be added to any moment.
pub(crate) fn bounded(span: Duration) -> Duration {
    span.min(FOREVER)
}

/// Monotonic time, from tokio so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time, for what is shown, stored or sent.
pub(crate) fn wall() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    let now = SystemTime::now();
    let millis = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    UnixMillis(u64::try_from(millis).unwrap_or(u64::MAX))
}
