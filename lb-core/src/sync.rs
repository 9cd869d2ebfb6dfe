//! What loom can watch: `RUSTFLAGS="--cfg lb_loom"` swaps it.

#[cfg(lb_loom)]
use loom::sync;
#[cfg(not(lb_loom))]
use std::sync;

pub(crate) use sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "rate-limit")]
pub(crate) use sync::{Mutex, MutexGuard, atomic::AtomicUsize};
