//! The one place where this crate reads the clock.

use std::time::Instant;

/// Now, by tokio's clock, so that tests can pause it. Works outside a runtime too.
#[cfg(not(lb_loom))]
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    tokio::time::Instant::now().into_std()
}

/// Time stands still in a model: what happens must depend on the schedule alone.
#[cfg(lb_loom)]
pub(crate) fn now() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    *START.get_or_init(Instant::now)
}
