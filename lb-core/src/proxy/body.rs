//! The body of an answer on its way to the client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::service::Inner;
use super::upstream::body::{BodyReader, Part};
use super::upstream::connection::Connection;
use super::upstream::transport::Transport;
use super::upstream::upload::{Upload, UploadError};
use crate::clock;
use crate::pool::HeadLease;

/// Why an answer ended before its time. The client sees an aborted message,
/// never one that looks complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The endpoint's connection ended, or its coding broke.
    #[error("the endpoint's answer ended early")]
    Truncated,
    /// The endpoint sent nothing for too long.
    #[error("the endpoint's answer stalled")]
    TimedOut,
    /// The client's own body failed, or stopped, while the answer was already under way.
    #[error("the request body failed during the answer")]
    Request,
}

/// The body of a proxied answer, streamed as it comes.
///
/// It carries the lease: the request counts as in flight until the body
/// ends or is dropped.
pub struct ProxyBody(Kind);

enum Kind {
    Whole {
        data: Bytes,
        _lease: Option<HeadLease>,
    },
    Stream(Box<Stream>),
}

/// What an unfinished answer needs.
pub(crate) struct Stream {
    pub(crate) reader: BodyReader,
    pub(crate) connection: Box<Connection>,
    pub(crate) lease: HeadLease,
    /// The endpoint keeps the connection open after this answer.
    pub(crate) reusable: bool,
    /// The endpoint answers while the client still sends.
    pub(crate) upload: Option<Box<dyn Continued>>,
    pub(crate) inner: Arc<Inner>,
    pub(crate) stall_limit: Duration,
    pub(crate) stall: Option<Pin<Box<Sleep>>>,
}

impl ProxyBody {
    /// A body that is at hand.
    pub(crate) fn whole(data: Bytes, lease: Option<HeadLease>) -> Self {
        Self(Kind::Whole {
            data,
            _lease: lease,
        })
    }

    pub(crate) fn stream(stream: Stream) -> Self {
        Self(Kind::Stream(Box::new(stream)))
    }

    fn end(&mut self) {
        let ended = Kind::Whole {
            data: Bytes::new(),
            _lease: None,
        };
        if let Kind::Stream(stream) = std::mem::replace(&mut self.0, ended) {
            stream.finish();
        }
    }
}

/// A body of your own, for layers around the proxy that answer by themselves.
impl From<Bytes> for ProxyBody {
    fn from(data: Bytes) -> Self {
        Self::whole(data, None)
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = match &mut self.0 {
            Kind::Whole { data, .. } if data.is_empty() => return Poll::Ready(None),
            Kind::Whole { data, .. } => {
                let data = std::mem::take(data);
                self.end();
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            Kind::Stream(stream) => stream,
        };
        let part = ready!(stream.poll_part(cx));
        // A length that is reached ends the body with its last piece.
        let ended = stream.reader.remaining() == Some(0);
        let frame = match part {
            Ok(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Part::Trailers(fields)) => Some(Ok(Frame::trailers(fields))),
            Ok(Part::End) => None,
            Err(error) => {
                if error != BodyError::Request {
                    stream.lease.body_broke(clock::now());
                }
                self.0 = Kind::Whole {
                    data: Bytes::new(),
                    _lease: None,
                };
                return Poll::Ready(Some(Err(error)));
            }
        };
        if ended || frame.is_none() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole { data, .. } => data.is_empty(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { data, .. } => SizeHint::with_exact(data.len() as u64),
            Kind::Stream(stream) => stream
                .reader
                .remaining()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for ProxyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBody")
            .field("size", &self.size_hint().exact())
            .finish_non_exhaustive()
    }
}

impl Stream {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, BodyError>> {
        if let Some(upload) = &mut self.upload {
            let before = upload.position();
            let sent = upload.poll_continue(cx, &mut self.connection.stream);
            if upload.position() != before {
                self.stall = None;
            }
            match sent {
                Poll::Ready(Ok(())) => self.upload = None,
                Poll::Ready(Err(UploadError::Client(_))) => {
                    return Poll::Ready(Err(BodyError::Request));
                }
                Poll::Ready(Err(UploadError::Endpoint)) => {
                    // It may refuse the rest of the body and still answer.
                    self.upload = None;
                    self.reusable = false;
                }
                Poll::Pending => {}
            }
        }
        match self.reader.poll_next(cx, &mut self.connection.stream) {
            Poll::Ready(part) => {
                self.stall = None;
                Poll::Ready(part.map_err(|_| BodyError::Truncated))
            }
            Poll::Pending => self.poll_stall(cx).map(|()| Err(self.who_stalled())),
        }
    }

    /// Neither side sends: an endpoint that was not asked all yet owes nothing.
    fn who_stalled(&self) -> BodyError {
        match &self.upload {
            Some(upload) if upload.waits_for_client() => BodyError::Request,
            _ => BodyError::TimedOut,
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.stall_limit;
        let stall = self.stall.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep_until(Instant::from_std(
                clock::now() + limit,
            )))
        });
        stall.as_mut().poll(cx)
    }

    /// The answer is complete: the connection may serve another request.
    fn finish(mut self) {
        let now = clock::now();
        self.lease.body_ended(now);
        if self.reusable && self.upload.is_none() && self.reader.is_clean() {
            self.inner
                .keep(self.lease.get().endpoint(), self.connection, now);
        }
    }
}

/// A request body that goes on while the answer comes.
pub(crate) trait Continued: Send {
    fn poll_continue(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<Result<(), UploadError>>;

    /// Changes whenever something moves.
    fn position(&self) -> (u64, usize);

    /// The next piece is the client's to send.
    fn waits_for_client(&self) -> bool;
}

impl<B> Continued for Upload<B>
where
    B: Body<Data: Send> + Send + Unpin,
{
    fn poll_continue(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<Result<(), UploadError>> {
        self.poll_send(cx, stream)
    }

    fn position(&self) -> (u64, usize) {
        Upload::position(self)
    }

    fn waits_for_client(&self) -> bool {
        Upload::waits_for_client(self)
    }
}
