//! Atomics that loom can watch: `RUSTFLAGS="--cfg lb_loom"` swaps them.

#[cfg(lb_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(lb_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
