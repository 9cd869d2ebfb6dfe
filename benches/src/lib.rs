//! What several benches share: a clock that counts one thread's work, the smallest service,
//! the smallest balancer, pools and peers, and rows that take turns.
//!
//! - [`cpu`]: CPU time of a thread as criterion's measurement, and the quickest of many batches.
//! - [`echo`]: a service that answers at once, and one call of any service from beginning to end.
//! - [`pools`]: pools of any size, alone and around the echo.
//! - `peers` (with the feature): tower's balancers and pingora's.
//! - [`sketch`]: the least that balances over a shared snapshot, as a yardstick.
//! - [`turns`]: rows to be compared on a machine that changes its speed.
//!
//! ```
//! let spent = benches::cpu::quickest(1_000, || benches::echo::call(&mut benches::echo::Echo));
//! assert!(spent.as_secs() < 1);
//! ```

pub mod cpu;
pub mod echo;
#[cfg(feature = "peers")]
pub mod peers;
pub mod pools;
pub mod sketch;
pub mod turns;
