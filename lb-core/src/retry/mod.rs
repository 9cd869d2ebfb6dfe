//! Trying again without making things worse.
//!
//! [`RetryOn`] names the answers after which another endpoint is asked.
//! A [`RetryBudget`] ties retries to requests: while everything fails, the load
//! grows by the budget's share and not by the number of tries.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_core::retry::RetryBudget;
//!
//! let now = Instant::now();
//! let mut budget = RetryBudget::new(0.1, Duration::from_secs(10), 0.0);
//! budget.deposit(100, now);
//! assert_eq!((0..50).filter(|_| budget.try_withdraw(now)).count(), 10);
//! ```

mod answers;
mod budget;

#[cfg(feature = "affinity")]
pub(crate) use self::answers::record_answer;
pub use self::{
    answers::{RetryOn, retry_after},
    budget::RetryBudget,
};
