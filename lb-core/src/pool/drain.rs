//! Waiting until nothing is in flight.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::endpoint::Stats;

/// Ready when nothing is in flight at an endpoint. Made by
/// [`Pool::drain`](crate::Pool::drain).
#[must_use = "draining has begun, but only this future tells when it is done"]
pub struct Drained(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Drained {
    /// Waits for all lives of one name, one after the other: none takes new
    /// requests any more, so an idle one stays idle.
    pub(crate) fn new(lives: Vec<Arc<Stats>>) -> Self {
        Self(Box::pin(async move {
            for stats in lives {
                idle(&stats).await;
            }
        }))
    }
}

async fn idle(stats: &Stats) {
    loop {
        let mut notified = std::pin::pin!(stats.idle.notified());
        // Listen first, look second: a request that ends in between is heard.
        notified.as_mut().enable();
        if stats.is_idle() {
            return;
        }
        notified.await;
    }
}

impl Future for Drained {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Drained")
    }
}
