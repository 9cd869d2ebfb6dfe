//! What a tier is not trusted with, and how trust comes back.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::{CLEAR_DEADLINE, Level};
use crate::clock;
use crate::freshness::UnixMillis;
use crate::tier::When;

/// So many keys are remembered one by one.
const MOST_KEYS: usize = 10_000;
/// So many keys are repaired between two pauses.
const BATCH: usize = 128;
/// A clearing that is done again may take this long in the end: some hundred million keys of a Redis.
const LONGEST_CLEARING: Duration = Duration::from_secs(120);
/// How long the repair waits before each batch.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(super) struct Distrust {
    pub(super) keys: HashSet<Bytes>,
    /// Everything written up to then is distrusted.
    pub(super) before: Option<UnixMillis>,
    /// A clearing that has to be done again.
    clear: Option<Again>,
    repairing: bool,
}

/// A clearing, and how long it may take.
#[derive(Clone, Debug)]
struct Again {
    prefix: Bytes,
    within: Duration,
}

impl Distrust {
    pub(super) fn add(&mut self, key: Bytes, now: UnixMillis) {
        if self.keys.len() >= MOST_KEYS {
            self.distrust_all(now);
        }
        self.keys.insert(key);
    }

    /// Distrusts everything; single keys need not be remembered any more.
    pub(super) fn distrust_all(&mut self, now: UnixMillis) {
        self.keys.clear();
        self.distrust_until(now);
    }

    fn distrust_until(&mut self, now: UnixMillis) {
        self.before = self.before.max(Some(now));
    }

    pub(super) fn clear_later(&mut self, prefix: Bytes) {
        self.clear.get_or_insert(Again {
            prefix,
            within: CLEAR_DEADLINE,
        });
    }

    /// A clearing failed, and has to be done again.
    pub(super) fn awaits_clear(&self) -> bool {
        self.clear.is_some()
    }

    fn is_done(&self) -> bool {
        self.keys.is_empty() && self.clear.is_none()
    }
}

impl Level {
    /// Starts the repair, unless it runs. Its task ends when all is repaired or
    /// the cache is gone.
    pub(super) fn repair_in_background(self: &Arc<Self>) {
        let mut distrust = self.locked();
        if !distrust.repairing {
            distrust.repairing = true;
            tokio::spawn(repair(Repair(Arc::downgrade(self))));
        }
    }

    /// A tier that is walked through from the beginning each time would never get to its end in
    /// the same time, so one that runs out of it gets twice as much.
    async fn clear_again(self: &Arc<Self>, Again { prefix, within }: Again) {
        let begin = clock::now();
        let cleared = self
            .call(&prefix, within, |tier| tier.clear(prefix.clone()))
            .await;
        let (now, took) = (
            self.stamp.wall(),
            clock::now().saturating_duration_since(begin),
        );
        let mut distrust = self.locked();
        if cleared.is_ok() {
            // What began meanwhile may find the tier as empty as it was then, although
            // somebody else's tombstone has gone with the rest.
            distrust.distrust_until(now);
            distrust.clear = None;
        } else if took >= within
            && let Some(again) = &mut distrust.clear
        {
            again.within = within.saturating_mul(2).min(LONGEST_CLEARING);
        }
    }

    /// Repairs one batch; `true` when nothing is left.
    async fn repair_some(self: &Arc<Self>) -> bool {
        let again = self.locked().clear.clone();
        if let Some(again) = again {
            self.clear_again(again).await;
        }
        let keys: Vec<Bytes> = self.locked().keys.iter().take(BATCH).cloned().collect();
        for key in keys {
            let _turn = self.mending.lock().await;
            if !self.distrusts(&key) {
                // Written anew meanwhile.
                continue;
            }
            let (tombstone, ttl) = self.stamp.tombstone();
            if self
                .write(&key, tombstone, Some(ttl), When::Always)
                .await
                .is_ok()
            {
                self.trust(&key);
            }
        }
        self.locked().is_done()
    }
}

/// A running repair; when it ends, however it ends, another may start.
struct Repair(Weak<Level>);

impl Drop for Repair {
    fn drop(&mut self) {
        if let Some(level) = self.0.upgrade() {
            level.locked().repairing = false;
        }
    }
}

async fn repair(repair: Repair) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(level) = repair.0.upgrade() else {
            return;
        };
        if level.repair_some().await {
            let mut distrust = level.locked();
            // Checked again under the lock that a new distrust takes: none is overlooked.
            if distrust.is_done() {
                distrust.repairing = false;
                return;
            }
        }
    }
}
