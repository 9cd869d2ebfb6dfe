//! The one place where the gateway reads the clock.

use std::time::Instant;

/// Now, for durations. Tokio's clock, so that tests can pause it.
#[must_use]
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    tokio::time::Instant::now().into_std()
}
