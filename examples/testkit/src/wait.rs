//! Waiting for a condition, with a deadline.
//!
//! ```
//! use std::time::Duration;
//!
//! assert!(testkit::wait::until(Duration::from_secs(1), || true));
//! assert!(!testkit::wait::until(Duration::from_millis(30), || false));
//! ```

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Asks every 10 ms until `condition` holds; `false` if it never did within `limit`.
#[must_use]
pub fn until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = now() + limit;
    loop {
        if condition() {
            return true;
        }
        if now() >= deadline {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// The one place where this package reads the clock.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place; real servers live in real time"
    )]
    Instant::now()
}
