//! Questions that wait for a change.

use http::StatusCode;

use super::query::Block;
use super::reply::{Failure, Reply};
use super::{Call, Shared};
use crate::backoff::jitter;
use crate::catalog::Catalog;
use crate::observe;

/// Consul adds up to this share of the wait, so that a fleet of watchers does not ask as one.
const SPREAD: f64 = 1.0 / 16.0;

/// Counts one waiting query for as long as it lives.
struct Blocked;

impl Drop for Blocked {
    fn drop(&mut self) {
        observe::blocked(-1.0);
    }
}

impl Call {
    /// Waits as long as the query asks for, or until the index that `of` picks has passed the query's.
    pub(super) async fn wait(&self, of: impl Fn(&Catalog) -> u64) -> Result<(), Failure> {
        match self.query.block()? {
            None => Ok(()),
            Some(block) => self.shared.wait_for(block, of).await,
        }
    }
}

impl Shared {
    async fn wait_for(&self, block: Block, of: impl Fn(&Catalog) -> u64) -> Result<(), Failure> {
        let current = || self.store.read(&of);
        let mut changed = self.store.changed();
        if current() > block.index {
            return Ok(());
        }
        let Ok(_place) = self.blocked.try_acquire() else {
            let text = "too many queries wait already";
            return Err(Failure(Reply::text(StatusCode::TOO_MANY_REQUESTS, text)));
        };
        observe::blocked(1.0);
        let _counted = Blocked;
        // `wait` to `wait` plus a sixteenth.
        let half = block.wait.mul_f64(SPREAD / 2.0);
        let patience = block.wait + jitter(half, 1.0, fastrand::u64(..));
        let passed = async {
            // The sender lives in the store, which this call holds.
            while current() <= block.index && changed.changed().await.is_ok() {}
        };
        // Running out of time is an answer too: the same one again.
        let _ = tokio::time::timeout(patience, passed).await;
        Ok(())
    }
}
