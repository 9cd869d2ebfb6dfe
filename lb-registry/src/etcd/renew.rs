//! Passing heartbeats on to etcd: many at once, none lost while etcd is away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Shared;

/// So many leases are renewed at the same time.
const AT_ONCE: usize = 16;
/// Before etcd is asked again after it did not answer.
const BREATHER: Duration = Duration::from_millis(200);

/// Leases that wait to be renewed, each once. As many as there are TTL checks at most.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    waiting: Mutex<BTreeSet<u64>>,
    more: Notify,
}

impl Renewals {
    pub(super) fn add(&self, leases: &[u64]) {
        if leases.is_empty() {
            return;
        }
        self.waiting().extend(leases);
        self.more.notify_one();
    }

    fn take(&self) -> Vec<u64> {
        let mut waiting = self.waiting();
        let some = waiting.iter().take(AT_ONCE).copied().collect::<Vec<_>>();
        for lease in &some {
            waiting.remove(lease);
        }
        some
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renews until it is aborted.
pub(super) async fn run(shared: Arc<Shared>) {
    loop {
        let leases = shared.renewals.take();
        if leases.is_empty() {
            shared.renewals.more.notified().await;
            continue;
        }
        let mut asked = JoinSet::new();
        for lease in leases {
            let client = shared.client.clone();
            asked.spawn(async move { (lease, client.renew(lease).await.is_ok()) });
        }
        let answers = asked.join_all().await;
        let missed: Vec<u64> = answers
            .into_iter()
            .filter_map(|(lease, done)| (!done).then_some(lease))
            .collect();
        if !missed.is_empty() {
            shared.renewals.add(&missed);
            tokio::time::sleep(BREATHER).await;
        }
    }
}
