//! Endpoint sets from single changes.

use std::{
    collections::HashMap,
    hash::Hash,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tower::discover::{Change, Discover};

use crate::endpoint::EndpointSpec;

pin_project_lite::pin_project! {
    /// Whole sets, collected from a [`Discover`]: changes that are ready together
    /// become one set. Ends with the changes or their first error.
    pub(crate) struct Collect<D: Discover> {
        #[pin]
        changes: D,
        known: HashMap<D::Key, EndpointSpec>,
    }
}

impl<D> Collect<D>
where
    D: Discover,
    D::Key: Hash + Eq,
{
    pub(crate) fn new(changes: D) -> Self {
        Self {
            changes,
            known: HashMap::new(),
        }
    }
}

impl<D> Stream for Collect<D>
where
    D: Discover,
    D::Key: Hash + Eq,
    D::Service: Into<EndpointSpec>,
{
    type Item = Vec<EndpointSpec>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        let mut changed = false;
        loop {
            let ended = match this.changes.as_mut().poll_discover(cx) {
                Poll::Ready(Some(Ok(Change::Insert(key, service)))) => {
                    this.known.insert(key, service.into());
                    changed = true;
                    continue;
                }
                Poll::Ready(Some(Ok(Change::Remove(key)))) => {
                    changed |= this.known.remove(&key).is_some();
                    continue;
                }
                Poll::Ready(None | Some(Err(_))) => true,
                Poll::Pending => false,
            };
            return match (changed, ended) {
                (true, _) => Poll::Ready(Some(this.known.values().cloned().collect())),
                (false, true) => Poll::Ready(None),
                (false, false) => Poll::Pending,
            };
        }
    }
}
