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
