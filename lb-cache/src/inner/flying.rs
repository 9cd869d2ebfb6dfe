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
    /// A flight that the current task starts.
    pub(crate) fn begin(cache: usize, key: u64) -> Arc<Self> {
        Arc::new(Self {
            cache,
            key,
            parent: FLYING.try_with(Arc::clone).ok(),
        })
    }

    /// Runs a flight so that what it calls knows of it.
    pub(crate) async fn run<F: Future>(self: Arc<Self>, flight: F) -> F::Output {
        FLYING.scope(self, flight).await
    }
}

/// `true` inside the load of this very key.
pub(crate) fn is_flying(cache: usize, key: u64) -> bool {
    let above = |flying: &Arc<Flying>| {
        std::iter::successors(Some(flying), |flying| flying.parent.as_ref())
            .any(|flying| flying.cache == cache && flying.key == key)
    };
    FLYING.try_with(above).unwrap_or(false)
}
