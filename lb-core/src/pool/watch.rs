//! Following a stream of endpoint sets.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
};

use futures_core::Stream;
use tokio::task::JoinHandle;

use crate::{
    endpoint::{EndpointSpec, parse_uri},
    error::ConfigError,
    observe::guarded,
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

/// A stream that panics so often in a row has ended: some panic whenever they are asked.
const PANICS_IN_A_ROW: u32 = 16;

/// What a stream said when it was asked.
enum Said {
    Set(Vec<EndpointSpec>),
    /// What the application maps its sets with may panic: this one is lost.
    Panicked,
    Ended,
}

/// Takes each set until the stream or the pool ends; the end of the stream keeps the last set.
async fn follow(mut sets: Sets, pool: Weak<Shared>) {
    let mut panics = 0;
    while panics < PANICS_IN_A_ROW {
        let said = poll_fn(|cx| ask(&mut sets, cx)).await;
        let Some(shared) = pool.upgrade() else { return };
        match said {
            Said::Set(specs) => {
                panics = 0;
                guarded("discovery", || take(&shared, specs));
            }
            Said::Panicked => panics += 1,
            Said::Ended => break,
        }
    }
    if let Some(shared) = pool.upgrade() {
        tracing::warn!(
            pool = shared.name,
            "no more endpoint sets will come; the last one stays"
        );
    }
}

fn ask(sets: &mut Sets, cx: &mut Context<'_>) -> Poll<Said> {
    let mut said = Poll::Ready(Said::Panicked);
    guarded("discovery", || {
        let next = sets.as_mut().poll_next(cx);
        said = next.map(|next| next.map_or(Said::Ended, Said::Set));
    });
    said
}

/// A set without a single usable endpoint though it names some changes nothing.
fn take(shared: &Shared, specs: Vec<EndpointSpec>) {
    let named = specs.len();
    let usable: Vec<_> = specs
        .into_iter()
        .filter(|spec| is_usable(shared, spec))
        .collect();
    if usable.is_empty() && named > 0 {
        return;
    }
    if let Err(error) = shared.set_endpoints(usable) {
        tracing::warn!(pool = shared.name, %error, "endpoint set refused; the last one stays");
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
