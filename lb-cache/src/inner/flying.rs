//! Which keys is this task loading? A loader that asks for its own key would wait for itself for ever.

use std::sync::Arc;

tokio::task_local! {
    static FLYING: Arc<Flying>;
}

/// One key under way, and the load that asked for it.
#[derive(Debug)]
pub(crate) struct Flying {
    cache: usize,
    key: u64,
    parent: Option<Arc<Self>>,
}

impl Flying {
    /// The load that runs in the current task.
    pub(crate) fn current() -> Option<Arc<Self>> {
        FLYING.try_with(Arc::clone).ok()
    }

    /// A load that `parent` asked for.
    pub(crate) fn begin(parent: Option<Arc<Self>>, cache: usize, key: u64) -> Arc<Self> {
        Arc::new(Self { cache, key, parent })
    }

    /// Runs a flight so that what it calls knows of it.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, flight: F) -> F::Output {
        FLYING.scope(self, flight).await
    }
}

/// `true` inside the load of this very key.
pub(crate) fn is_flying(cache: usize, key: impl FnOnce() -> u64) -> bool {
    let above = |flying: &Arc<Flying>| {
        let key = key();
        std::iter::successors(Some(flying), |flying| flying.parent.as_ref())
            .any(|flying| flying.cache == cache && flying.key == key)
    };
    FLYING.try_with(above).unwrap_or(false)
}
