//! Cache in front of results. The engine answers equal specifications (the seed is part of one)
//! equally, so a result is kept under its specification and serves every job that asks the same.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lb_cache::{ConfigError, Policy, TieredCache};
use std::sync::Arc;

use crate::http::Results;
use crate::ledger::{JobId, JobSpec, Ledger, LedgerError, Outcome};

/// The ledger's results behind a cache.
#[derive(Clone, Debug)]
pub struct CachedResults {
    /// The cache, for statistics and for the demonstration.
    pub cache: TieredCache<JobSpec, Outcome>,
    ledger: Arc<dyn Ledger>,
}

impl CachedResults {
    /// A thousand results for five minutes, in this process.
    ///
    /// # Errors
    ///
    /// Never with this policy; the cache checks every policy.
    pub fn new(ledger: Arc<dyn Ledger>) -> Result<Self, ConfigError> {
        let cache = TieredCache::builder("results")
            .policy(Policy::results())
            .build()?;
        Ok(Self { cache, ledger })
    }
}

impl Results for CachedResults {
    fn known(&self, spec: &JobSpec) -> Option<Outcome> {
        self.cache
            .get_if_local(spec)
            .map(|outcome| Outcome::clone(&outcome))
    }

    fn read<'a>(&'a self, id: &'a JobId) -> BoxFuture<'a, Result<Option<Outcome>, LedgerError>> {
        async {
            let view = self.ledger.view(id).await.ok_or(LedgerError::Unknown)?;
            let Some(result) = view.latest.result else {
                return Ok(None);
            };
            let load = || async { Ok::<_, LedgerError>(result) };
            let outcome = self.cache.get_or_load(&view.spec, load).await;
            Ok(outcome.ok().map(|outcome| Outcome::clone(&outcome)))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Event, MemoryLedger};

    #[tokio::test]
    async fn a_result_is_read_from_the_ledger_once_and_then_serves_every_equal_specification() {
        let ledger = Arc::new(MemoryLedger::default());
        let results = CachedResults::new(ledger.clone()).unwrap();
        let (id, spec): (JobId, JobSpec) = ("a".parse().unwrap(), "{}".into());
        ledger.submit(id.clone(), spec.clone()).await.unwrap();
        assert_eq!(results.read(&id).await, Ok(None), "not finished yet");
        assert_eq!(results.known(&spec), None);
        let result: Outcome = serde_json::value::to_raw_value(&42).unwrap().into();
        ledger
            .record(
                &id,
                1,
                Event::Finished {
                    result: result.clone(),
                },
            )
            .await
            .unwrap();
        assert_eq!(results.read(&id).await, Ok(Some(result.clone())));
        assert_eq!(results.known(&spec), Some(result));
        assert_eq!(results.cache.stats().loads.started, 1);
    }

    #[tokio::test]
    async fn an_unknown_job_is_said_to_be_unknown() {
        let results = CachedResults::new(Arc::new(MemoryLedger::default())).unwrap();
        assert_eq!(
            results.read(&"a".parse().unwrap()).await,
            Err(LedgerError::Unknown)
        );
    }
}
