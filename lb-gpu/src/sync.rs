//! The lock of the crate, replaced by loom's in models.

#[cfg(lb_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;
#[cfg(not(lb_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
