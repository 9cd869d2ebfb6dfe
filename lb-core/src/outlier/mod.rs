//! Who behaves worse than the others?
//!
//! Passive health: nothing is probed, the requests themselves tell. This module
//! holds the pure judgements; setting [`Cause::Ejected`](crate::Cause::Ejected)
//! on the pool is what follows from them.
//!
//! ```
//! use lb_core::outlier::{Deviation, SuccessRate};
//!
//! let fleet = [SuccessRate { rate: 0.2, requests: 100 }; 3];
//! assert!(Deviation::default().outliers(&fleet).is_empty()); // too few to compare
//! ```

mod success_rate;

pub use self::success_rate::{Deviation, SuccessRate};
