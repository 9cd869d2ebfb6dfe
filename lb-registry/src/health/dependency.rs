//! One thing that this process needs, asked at most once a second.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::clock;

const FRESH: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);

type Answer = Result<(), String>;
type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

pub(super) struct Dependency {
    name: String,
    check: Check,
    last: Mutex<Option<(Instant, Answer)>>,
}

impl Dependency {
    pub(super) fn new<F, Fut, E>(name: String, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let check: Check = Box::new(move || {
            let asked = check();
            Box::pin(async move { asked.await.map_err(|error| error.to_string()) })
        });
        Self {
            name,
            check,
            last: Mutex::new(None),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Many may ask at once: the lock lets one of them find out for all.
    pub(super) async fn check(&self) -> Answer {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && clock::now().saturating_duration_since(*at) < FRESH
        {
            return answer.clone();
        }
        let answer = tokio::time::timeout(PATIENCE, (self.check)())
            .await
            .unwrap_or_else(|_| Err("no answer within a second".to_owned()));
        *last = Some((clock::now(), answer.clone()));
        answer
    }
}
