//! Copies of requests to a shadow service, fire and forget.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Request, request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower_layer::Layer;
use tower_service::Service;

use super::observe;

/// Tells the shadow that nobody waits for its answer.
const MIRRORED: HeaderName = HeaderName::from_static("x-lb-mirror");

/// Copies requests to a shadow service; its answers are dropped.
///
/// A copy leaves when the request's body has been read by the service itself, so
/// mirroring delays nothing. Copies are bounded three ways: their number in
/// flight, the size of their bodies, and their time; what is over is not copied,
/// and counted. Dropping the layer and all its services ends the copies.
pub struct MirrorLayer<T> {
    shadow: Shadow<T>,
}

/// A service whose requests are also sent to a shadow; made by [`MirrorLayer`].
pub struct Mirror<S, T> {
    inner: S,
    shadow: Shadow<T>,
}

/// Sends copies.
struct Shadow<T> {
    service: T,
    share: f64,
    max_body_bytes: usize,
    timeout: Duration,
    room: Arc<Semaphore>,
    copies: Arc<Mutex<JoinSet<()>>>,
}

// === impl MirrorLayer ===

impl<T> MirrorLayer<T> {
    /// Copies every request to `shadow`, up to 32 at a time.
    #[must_use]
    pub fn new(shadow: T) -> Self {
        Self {
            shadow: Shadow {
                service: shadow,
                share: 1.0,
                max_body_bytes: 64 * 1024,
                timeout: Duration::from_secs(10),
                room: Arc::new(Semaphore::new(32)),
                copies: Arc::default(),
            },
        }
    }

    /// The share of requests that are copied, from 0 to 1; what is not a number counts
    /// as 0. Default: 1.
    #[must_use]
    pub fn share(mut self, share: f64) -> Self {
        self.shadow.share = if share.is_nan() { 0.0 } else { share };
        self
    }

    /// Copies in flight at most. Default: 32.
    #[must_use]
    pub fn max_in_flight(mut self, copies: usize) -> Self {
        self.shadow.room = Arc::new(Semaphore::new(copies.min(Semaphore::MAX_PERMITS)));
        self
    }

    /// Requests with longer bodies are not copied. Default: 64 KiB.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.shadow.max_body_bytes = bytes;
        self
    }

    /// A copy is given up after this time. Default: 10 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.shadow.timeout = timeout;
        self
    }
}

impl<S, T: Clone> Layer<S> for MirrorLayer<T> {
    type Service = Mirror<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        Mirror {
            inner,
            shadow: self.shadow.clone(),
        }
    }
}

// === impl Mirror ===

impl<S, T, B> Service<Request<B>> for Mirror<S, T>
where
    S: Service<Request<TeeBody<B>>>,
    T: Service<Request<CopiedBody>, Future: Send> + Clone + Send + 'static,
    B: Body<Data = Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let copy = self.shadow.begin(&head, body.size_hint().lower());
        let mut body = TeeBody { inner: body, copy };
        if body.inner.is_end_stream() {
            body.copy.take().into_iter().for_each(Copying::send);
        }
        self.inner.call(Request::from_parts(head, body))
    }
}

impl<T> Shadow<T>
where
    T: Service<Request<CopiedBody>, Future: Send> + Clone + Send + 'static,
{
    /// Room for a copy of this request, if it is to be copied.
    fn begin(&self, head: &request::Parts, body_bytes: u64) -> Option<Copying> {
        if fastrand::f64() >= self.share {
            return None;
        }
        if body_bytes > self.max_body_bytes as u64 {
            observe::mirrored("too_large");
            return None;
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            observe::mirrored("no_room");
            return None;
        };
        let mut copy = Request::new(());
        *copy.method_mut() = head.method.clone();
        *copy.uri_mut() = head.uri.clone();
        *copy.headers_mut() = head.headers.clone();
        let mark = HeaderValue::from_static("1");
        copy.headers_mut().insert(MIRRORED, mark);
        let shadow = self.clone();
        Some(Copying {
            read: BytesMut::new(),
            max_body_bytes: self.max_body_bytes,
            send: Box::new(move |body| shadow.send(copy.map(|()| CopiedBody(Some(body))), permit)),
        })
    }

    fn send(self, request: Request<CopiedBody>, permit: OwnedSemaphorePermit) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let Self {
            mut service,
            timeout,
            copies,
            ..
        } = self;
        let copy = async move {
            let asking = async {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await.map(drop)
            };
            let end = match tokio::time::timeout(timeout, asking).await {
                Ok(Ok(())) => "answered",
                Ok(Err(_)) => "failed",
                Err(_) => "timed_out",
            };
            observe::mirrored(end);
            drop(permit);
        };
        let mut copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
        while copies.try_join_next().is_some() {}
        copies.spawn_on(copy, &runtime);
    }
}

// === the request's body ===

/// A copy whose body is still being read.
struct Copying {
    read: BytesMut,
    max_body_bytes: usize,
    send: Box<dyn FnOnce(Bytes) + Send>,
}

impl Copying {
    fn send(self) {
        (self.send)(self.read.freeze());
    }
}

pin_project! {
    /// A request's body, copied as it is read. A body that is not read to its
    /// end is not mirrored.
    pub struct TeeBody<B> {
        #[pin]
        inner: B,
        copy: Option<Copying>,
    }
}

impl<B: Body<Data = Bytes>> Body for TeeBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        let Some(copy) = this.copy else {
            return Poll::Ready(frame);
        };
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref(),
            Some(Err(_)) => {
                *this.copy = None;
                return Poll::Ready(frame);
            }
            None => None,
        };
        if let Some(data) = data {
            if copy.read.len() + data.len() > copy.max_body_bytes {
                observe::mirrored("too_large");
                *this.copy = None;
                return Poll::Ready(frame);
            }
            copy.read.extend_from_slice(data);
        }
        if frame.is_none() || this.inner.is_end_stream() {
            this.copy.take().into_iter().for_each(Copying::send);
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

/// The copied body of a mirrored request, whole.
#[derive(Debug)]
pub struct CopiedBody(Option<Bytes>);

impl Body for CopiedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let data = self.0.take().filter(|data| !data.is_empty());
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
    }
}

// === clones and names ===

impl<T: Clone> Clone for Shadow<T> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            share: self.share,
            max_body_bytes: self.max_body_bytes,
            timeout: self.timeout,
            room: Arc::clone(&self.room),
            copies: Arc::clone(&self.copies),
        }
    }
}

impl<T: Clone> Clone for MirrorLayer<T> {
    fn clone(&self) -> Self {
        Self {
            shadow: self.shadow.clone(),
        }
    }
}

impl<S: Clone, T: Clone> Clone for Mirror<S, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shadow: self.shadow.clone(),
        }
    }
}

impl<T> fmt::Debug for MirrorLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorLayer")
            .field("share", &self.shadow.share)
            .finish_non_exhaustive()
    }
}

impl<S, T> fmt::Debug for Mirror<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("share", &self.shadow.share)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for TeeBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TeeBody")
            .field("copied", &self.copy.is_some())
            .finish_non_exhaustive()
    }
}
