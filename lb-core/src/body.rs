//! A body that keeps something until it has ended.
//!
//! A request is over when its answer's body is, not when its head came: what
//! counts it (a lease, a permit, a gauge) must live that long. [`HeldBody`] keeps
//! such a guard until the body has ended, failed, or is dropped; a body that is
//! empty from the start keeps nothing.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use lb_core::body::HeldBody;
//! use std::sync::Arc;
//!
//! let guard = Arc::new(());
//! let body = HeldBody::new(Full::new(Bytes::from("a")), Arc::clone(&guard));
//! assert_eq!(Arc::strong_count(&guard), 2);
//! drop(body);
//! assert_eq!(Arc::strong_count(&guard), 1);
//! ```

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The inner body, unchanged, with a guard that is dropped when it has ended.
    #[derive(Debug)]
    pub struct HeldBody<B, G> {
        #[pin]
        inner: B,
        guard: Option<G>,
    }
}

impl<B: Body, G> HeldBody<B, G> {
    /// Keeps `guard` until `inner` has ended.
    pub fn new(inner: B, guard: G) -> Self {
        let guard = Some(guard).filter(|_| !inner.is_end_stream());
        Self { inner, guard }
    }
}

/// A body that holds nothing, for layers that answer by themselves.
impl<B: Body + From<Bytes>, G> From<Bytes> for HeldBody<B, G> {
    fn from(data: Bytes) -> Self {
        let inner = B::from(data);
        Self { inner, guard: None }
    }
}

impl<B: Body, G> Body for HeldBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            this.guard.take();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
