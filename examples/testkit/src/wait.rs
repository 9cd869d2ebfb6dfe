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

/// As [`until`] in async code: asks every 10 ms until `look` finds something, and panics with `what`
/// if it never did within `limit`.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut left = 3;
/// let found = testkit::wait::found("zero", std::time::Duration::from_secs(1), async || {
///     left -= 1;
///     (left == 0).then_some("zero")
/// });
/// assert_eq!(found.await, "zero");
/// # });
/// ```
///
/// # Panics
///
/// If nothing was found in time.
pub async fn found<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let found = tokio::time::timeout(limit, looking).await;
    found.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// The one place where this package reads the clock.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place; real servers live in real time"
    )]
    Instant::now()
}
