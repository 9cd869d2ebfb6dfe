//! Jobs -> cache: every new result is kept, under the specification it answers.

use std::sync::Arc;

use futures_util::FutureExt as _;
use lb_cache::TieredCache;

use crate::jobs::OnResult;
use crate::ledger::{JobSpec, Outcome};

/// Keeps results in `cache`. One that could not be kept is computed again when it is wanted again.
#[must_use]
pub fn keeper(cache: TieredCache<JobSpec, Outcome>) -> OnResult {
    Arc::new(move |spec, outcome| {
        let cache = cache.clone();
        async move {
            if let Err(error) = cache.insert(spec, outcome).await {
                tracing::warn!(%error, "a result could not be kept");
            }
        }
        .boxed()
    })
}

#[cfg(test)]
mod tests {
    use lb_cache::Policy;

    use super::*;

    #[tokio::test]
    async fn a_new_result_is_at_hand_afterwards() {
        let cache = TieredCache::builder("results")
            .policy(Policy::results())
            .build()
            .unwrap();
        let outcome: Outcome = serde_json::value::to_raw_value(&1).unwrap().into();
        keeper(cache.clone())("{}".into(), outcome.clone()).await;
        assert_eq!(cache.get_if_local(&"{}".into()).as_deref(), Some(&outcome));
    }
}
