//! The one place where this crate reads the clock.

use std::time::Instant;

/// Now, on tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    tokio::time::Instant::now().into_std()
}
