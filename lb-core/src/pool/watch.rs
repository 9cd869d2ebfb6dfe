//! Following a stream of endpoint sets.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Weak,
};

use futures_core::Stream;
use tokio::task::JoinHandle;

use crate::{
    endpoint::{EndpointSpec, parse_uri},
    error::ConfigError,
    pool::Shared,
};

/// A stream of whole endpoint sets; the latest wins.
pub(crate) type Sets = Pin<Box<dyn Stream<Item = Vec<EndpointSpec>> + Send>>;

/// The task that follows the stream; dropping this ends it.
#[derive(Debug)]
pub(crate) struct Watcher(JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watcher {
    pub(crate) fn start(sets: Sets, pool: Weak<Shared>) -> Result<Self, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| ConfigError::NoRuntime { what: "discover" })?;
        Ok(Self(runtime.spawn(follow(sets, pool))))
    }
}

/// Takes each set until the stream or the pool ends. A set without a single
/// usable endpoint though it names some changes nothing; the end of the stream
/// keeps the last set.
async fn follow(sets: Sets, pool: Weak<Shared>) {
    let mut sets = pin!(sets);
    while let Some(specs) = poll_fn(|cx| sets.as_mut().poll_next(cx)).await {
        let Some(shared) = pool.upgrade() else { return };
        let named = specs.len();
        let usable: Vec<_> = specs
            .into_iter()
            .filter(|spec| is_usable(&shared, spec))
            .collect();
        if usable.is_empty() && named > 0 {
            continue;
        }
        if let Err(error) = shared.set_endpoints(usable) {
            tracing::warn!(pool = shared.name, %error, "endpoint set refused; the last one stays");
        }
    }
}

fn is_usable(shared: &Shared, spec: &EndpointSpec) -> bool {
    match parse_uri(spec) {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(pool = shared.name, %error, "endpoint left out");
            false
        }
    }
}
