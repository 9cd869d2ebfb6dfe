//! The one place where this crate reads the clock.

use std::time::SystemTime;

use crate::UnixMillis;

/// The wall clock, because schedules are about it and stored state outlives processes.
pub(crate) fn now() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    let now = SystemTime::now();
    let millis = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    UnixMillis::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}
