//! One request and its answer on a shared connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outgoing::Outgoing;
use super::session::{Session, to_io};
use crate::proxy::rules::http2::{complete_handshake, translate};
use crate::proxy::rules::names::is_forbidden_trailer;
use crate::proxy::rules::response::{Answer, judge};
use crate::proxy::upstream::answer::{AnswerError, Read, in_passing};

/// Takes a request in the form of HTTP/1.1 and sends it as HTTP/2.
pub(crate) struct Http2Stream {
    requests: SendRequest<Bytes>,
    scheme: Scheme,
    outgoing: Outgoing,
    incoming: Incoming,
    /// The handshake's key, if this is to become a tunnel.
    key: Option<HeaderValue>,
    unsent: Option<Unsent>,
    /// Dropped last: the connection lives as long as its streams.
    session: Arc<Session>,
}

/// Why the endpoint has provably not looked at the request (RFC 9113, 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The connection was being closed.
    Closing,
    /// The endpoint refused this one request.
    Refused,
}

enum Incoming {
    Nothing,
    Head(ResponseFuture),
    Body {
        receive: RecvStream,
        /// Data that did not fit a reader's buffer.
        left: Bytes,
        trailers: Option<HeaderMap>,
    },
}

impl Http2Stream {
    pub(super) fn new(session: Arc<Session>, requests: SendRequest<Bytes>, scheme: Scheme) -> Self {
        Self {
            requests,
            scheme,
            outgoing: Outgoing::Head,
            incoming: Incoming::Nothing,
            key: None,
            unsent: None,
            session,
        }
    }

    /// The connection below.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Set once the endpoint has said that it did not look at the request.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        self.unsent
    }

    /// The next head of an answer; its fields replace those in `fields`.
    /// `interim` counts those before the final one.
    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        fields: &mut HeaderMap,
        interim: &mut u8,
    ) -> Poll<Result<Read, AnswerError>> {
        // What it says of the request's rest, the answer says too.
        let _ = self.outgoing.poll_pump(cx);
        let Incoming::Head(head) = &mut self.incoming else {
            return Poll::Pending;
        };
        if let Poll::Ready(Some(Ok(head))) = head.poll_informational(cx) {
            let status = head.status();
            *fields = head.into_parts().0.headers;
            let answer = judge(status, fields, method, true).map_err(|_| AnswerError::Invalid)?;
            return Poll::Ready(in_passing(answer, interim));
        }
        let answer = ready!(Pin::new(head).poll(cx));
        Poll::Ready(match answer {
            Ok(answer) => self.take_answer(answer, method, fields),
            Err(error) => Err(self.fails(&error)),
        })
    }

    fn take_answer(
        &mut self,
        answer: Response<RecvStream>,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Result<Read, AnswerError> {
        let (head, receive) = answer.into_parts();
        *fields = head.headers;
        let ended = receive.is_end_stream();
        self.incoming = Incoming::Body {
            receive,
            left: Bytes::new(),
            trailers: None,
        };
        let invalid = |_| AnswerError::Invalid;
        let mut answer = judge(head.status, fields, method, ended).map_err(invalid)?;
        match self.key.take() {
            Some(key) if head.status.is_success() => {
                answer = Answer {
                    status: complete_handshake(&key, fields),
                    ..answer
                };
            }
            // No tunnel: nothing more is sent.
            Some(_) => self.outgoing = Outgoing::Ended,
            None => {}
        }
        Ok(Read::Final(answer))
    }

    fn fails(&mut self, error: &h2::Error) -> AnswerError {
        if error.is_remote() && error.is_go_away() {
            self.unsent = Some(Unsent::Closing);
        } else if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            self.unsent = Some(Unsent::Refused);
        }
        AnswerError::Closed
    }

    /// The next bytes of the answer; empty at its end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let _ = self.outgoing.poll_pump(cx);
        let Incoming::Body {
            receive,
            left,
            trailers,
        } = &mut self.incoming
        else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        if left.has_remaining() {
            return Poll::Ready(Ok(std::mem::take(left)));
        }
        while let Some(data) = ready!(receive.poll_data(cx)) {
            let data = data.map_err(to_io)?;
            // Who reads has room: the endpoint may send as much again.
            let released = receive.flow_control().release_capacity(data.len());
            released.map_err(to_io)?;
            if data.has_remaining() {
                return Poll::Ready(Ok(data));
            }
        }
        *trailers = ready!(receive.poll_trailers(cx)).map_err(to_io)?;
        Poll::Ready(Ok(Bytes::new()))
    }

    /// The trailers that may be forwarded, after the end.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        let Incoming::Body { trailers, .. } = &mut self.incoming else {
            return None;
        };
        let fields = trailers.take()?;
        let allowed: HeaderMap = fields
            .iter()
            .filter(|(name, _)| !is_forbidden_trailer(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        (!allowed.is_empty()).then_some(allowed)
    }

    /// Sends a head, which comes in one piece. Says how long it was.
    fn poll_head(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = ready!(self.requests.poll_ready(cx)) {
            self.fails(&error);
            return Poll::Ready(Err(to_io(error)));
        }
        let head = translate(bytes, &self.scheme);
        let head = head.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let sent = self
            .requests
            .send_request(head.request, head.form.is_empty());
        let (answer, send) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.fails(&error);
                return Poll::Ready(Err(to_io(error)));
            }
        };
        self.incoming = Incoming::Head(answer);
        self.key = head.key;
        self.outgoing = Outgoing::after_head(send, head.form);
        Poll::Ready(Ok(head.length))
    }
}

/// The bytes of a tunnel.
impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut data = ready!(self.poll_data(cx))?;
        let fits = data.len().min(buffer.remaining());
        buffer.put_slice(&data.split_to(fits));
        if let Incoming::Body { left, .. } = &mut self.incoming {
            *left = data;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.outgoing, Outgoing::Head) {
            return self.poll_head(cx, bytes);
        }
        self.outgoing.poll_take(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_pump(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_end(cx)
    }
}

impl fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream")
            .field("unsent", &self.unsent)
            .finish_non_exhaustive()
    }
}
