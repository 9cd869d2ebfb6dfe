//! What several benches share: a clock that counts one thread's work, the smallest service, and
//! the smallest balancer.
//!
//! - [`cpu`]: CPU time of a thread as criterion's measurement, and the quickest of many batches.
//! - [`echo`]: a service that answers at once, and one call of any service from beginning to end.
//! - [`sketch`]: the least that balances over a shared snapshot, as a yardstick.
//!
//! ```
//! let spent = benches::cpu::quickest(1_000, || benches::echo::call(&mut benches::echo::Echo));
//! assert!(spent.as_secs() < 1);
//! ```

pub mod cpu;
pub mod echo;
pub mod sketch;
