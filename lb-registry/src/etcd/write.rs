//! Making changes: a transaction for each, tried anew when another one came first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::client::Trouble;
use super::key::Key;
use super::state::Plan;
use super::wire::bytes;
use crate::catalog::Unit;
use crate::in_process::{Change, Journal, WriteError, Writing};
use crate::{clock, observe};

/// A change is tried for this long.
const PATIENCE: Duration = Duration::from_secs(5);
const BREATHER: Duration = Duration::from_millis(50);
/// How long to wait for a change that is stored to come back.
const ROUND_TRIP: Duration = Duration::from_secs(1);
/// More units than this are changed in several transactions. Only the removal of many keys has so many.
const MOST_UNITS: usize = 100;

impl Journal for Shared {
    fn write<'a>(&'a self, units: Vec<Unit>, change: Change<'a>) -> Writing<'a> {
        Box::pin(async move {
            if units.is_empty() {
                return self.change(&units, change).await;
            }
            for units in units.chunks(MOST_UNITS) {
                self.change(units, change).await?;
            }
            Ok(())
        })
    }

    fn is_ready(&self) -> bool {
        *self.applied.borrow() > 0
    }

    fn is_followed(&self) -> bool {
        // Relaxed: a fact by itself.
        self.followed.load(Ordering::Relaxed)
    }
}

impl Shared {
    async fn change(&self, units: &[Unit], change: Change<'_>) -> Result<(), WriteError> {
        let done = tokio::time::timeout(PATIENCE, self.change_for_ever(units, change)).await;
        let result = done.unwrap_or(Err(WriteError::NoLeader));
        observe::shared_write(result.is_ok());
        result
    }

    async fn change_for_ever(&self, units: &[Unit], change: Change<'_>) -> Result<(), WriteError> {
        let mut applied = self.applied.subscribe();
        let mut is_current = false;
        loop {
            // What is planned on nothing would overwrite what the others know.
            let _ = applied.wait_for(|revision| *revision > 0).await;
            let plan = match self.plan(units, change) {
                Ok(plan) if !plan.is_idle() => plan,
                // It may look so only because this replica has not heard the latest.
                Ok(_) | Err(WriteError::Refused(_)) if !is_current => {
                    is_current = self.catch_up(&mut applied).await;
                    continue;
                }
                done => return done.map(drop),
            };
            self.renewals.add(&plan.renewals);
            if plan.is_empty() {
                return Ok(());
            }
            match self.commit(&plan).await {
                Ok(Some(revision)) => {
                    let back = applied.wait_for(|applied| *applied >= revision);
                    // It is stored; whoever asks here a moment later may have to wait for it.
                    let _ = tokio::time::timeout(ROUND_TRIP, back).await;
                    return Ok(());
                }
                Ok(None) => drop(tokio::time::timeout(BREATHER, applied.changed()).await),
                Err(trouble) => not_yet(&trouble).await,
            }
        }
    }

    fn plan(&self, units: &[Unit], change: Change<'_>) -> Result<Plan, WriteError> {
        let store = self.store.upgrade().ok_or(WriteError::NoLeader)?;
        let state = self.state();
        Ok(store.read(|catalog| state.plan(catalog, units, change, clock::now()))?)
    }

    /// Waits until everything has come in that was stored before; `false` if that did not work.
    async fn catch_up(&self, applied: &mut watch::Receiver<u64>) -> bool {
        let key = bytes(Key::Barrier.text(&self.prefix));
        let barrier = json!({"success": [{"request_put": {"key": key}}]});
        match self.client.txn(&barrier).await {
            Ok(txn) => {
                let back = applied.wait_for(|applied| *applied >= txn.header.revision);
                matches!(tokio::time::timeout(ROUND_TRIP, back).await, Ok(Ok(_)))
            }
            Err(trouble) => {
                not_yet(&trouble).await;
                false
            }
        }
    }

    /// The revision that the plan led to; `None` if something has changed since it was made.
    pub(super) async fn commit(&self, plan: &Plan) -> Result<Option<u64>, Trouble> {
        let mut leases = Vec::new();
        for (check, ttl) in &plan.starts {
            let lease = self.client.grant(*ttl).await?;
            leases.push((Key::Alive(check.clone()), lease));
        }
        let txn = self.client.txn(&self.transaction(plan, &leases)).await?;
        Ok(txn.succeeded.then_some(txn.header.revision))
    }

    fn transaction(&self, plan: &Plan, leases: &[(Key, u64)]) -> Value {
        let key = |key: &Key| bytes(key.text(&self.prefix));
        let compare = plan.unchanged.iter().map(|(unit, revision)| {
            json!({"key": key(unit), "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string()})
        });
        let puts = plan
            .puts
            .iter()
            .map(|(unit, value)| json!({"request_put": {"key": key(unit), "value": bytes(value)}}));
        let deletes = plan
            .deletes
            .iter()
            .map(|gone| json!({"request_delete_range": {"key": key(gone)}}));
        let alive = leases.iter().map(|(check, lease)| {
            json!({"request_put": {"key": key(check), "lease": lease.to_string()}})
        });
        json!({
            "compare": compare.collect::<Vec<_>>(),
            "success": deletes.chain(puts).chain(alive).collect::<Vec<_>>(),
        })
    }

    /// Becomes the leader, unless there is one; `None` if there is.
    pub(super) async fn lead(self: &Arc<Self>, ttl: Duration) -> Result<Option<u64>, Trouble> {
        let lease = self.client.grant(ttl).await?;
        let key = bytes(Key::Leader.text(&self.prefix));
        let txn = json!({
            "compare": [{"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": "0"}],
            "success": [{"request_put": {"key": key, "value": bytes(&self.name), "lease": lease.to_string()}}],
        });
        Ok(self.client.txn(&txn).await?.succeeded.then_some(lease))
    }
}

async fn not_yet(trouble: &Trouble) {
    tracing::debug!(error = trouble as &dyn std::error::Error, "not stored yet");
    tokio::time::sleep(BREATHER).await;
}
