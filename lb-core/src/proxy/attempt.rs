//! One attempt of a request at one endpoint: connect, send, read the answer's head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body::Body;
use tokio::time::Sleep;

use super::error::ProxyError;
use super::interim::Relay;
use super::rules::replay::Progress;
use super::rules::response::Answer;
use super::service::Inner;
use super::upstream::answer::{AnswerError, AnswerReader, Read};
use super::upstream::connection::Connection;
use super::upstream::http2::Unsent;
use super::upstream::upload::{Upload, UploadError};
use crate::breaker::Use;
use crate::clock;
use crate::deadline::DeadlineHeader;
use crate::endpoint::{EndpointId, Outcome};
use crate::pool::Lease;

/// A close that crosses a request on its way comes within this time; one that comes later
/// is an answer to it.
const CROSSES: Duration = Duration::from_secs(1);

/// How far the connection to an endpoint is.
pub(crate) enum Link {
    None,
    /// Its endpoint is away; the next look, and how long it may wait in all.
    Waiting(Pin<Box<Sleep>>, Duration),
    Connecting(Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>),
    Open(Box<Connection>),
}

/// What an attempt came to.
pub(crate) enum Step {
    /// It has no endpoint yet.
    Choose,
    /// The answer's head.
    Answered(Answer),
}

/// One attempt. Dropping it cancels it.
pub(crate) struct Attempt<B: Body> {
    pub(crate) lease: Option<Lease>,
    pub(crate) link: Link,
    pub(crate) upload: Upload<B>,
    /// The request's fields; the answer's after it came.
    pub(crate) fields: HeaderMap,
    reader: AnswerReader,
    /// The endpoint stopped reading; it may still answer.
    pub(crate) deaf: bool,
    /// It goes over a new connection: a kept one was closed before.
    pub(crate) fresh: bool,
    /// When it began.
    pub(crate) since: Instant,
}

impl<B> Attempt<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    pub(crate) fn new(upload: Upload<B>, fields: HeaderMap, now: Instant) -> Self {
        Self {
            lease: None,
            link: Link::None,
            upload,
            fields,
            reader: AnswerReader::default(),
            deaf: false,
            fresh: false,
            since: now,
        }
    }

    /// The same request for a second endpoint, if all of it is at hand.
    pub(crate) fn twin(&self, now: Instant) -> Option<Self> {
        let upload = self.upload.twin()?;
        Some(Self::new(upload, HeaderMap::new(), now))
    }

    /// Writes how much time is left into the head, where there is room for it.
    pub(crate) fn write_deadline(&mut self, left: Option<(usize, Duration)>) {
        if let Some((at, left)) = left {
            self.upload.patch(at, &DeadlineHeader::digits(left));
        }
    }

    /// Goes to the endpoint of `lease`, over a kept connection or a new one. A full
    /// endpoint is handed back. A `tunnel` needs a connection that can carry one.
    pub(crate) fn connect(
        &mut self,
        inner: &Inner,
        lease: Lease,
        tunnel: bool,
        now: Instant,
    ) -> Result<(), EndpointId> {
        let uri = lease.endpoint().uri();
        let take = || inner.idle.take(uri, tunnel, inner.config.idle, now);
        let kept = if self.fresh { None } else { take() };
        self.link = match kept {
            Some(connection) => Link::Open(connection),
            None => {
                let slot = |of| {
                    let slot = inner.pool.take_slot(of, lease.endpoint());
                    slot.ok_or_else(|| lease.endpoint().id().clone())
                };
                let (connection, pending) = (slot(Use::Connection)?, slot(Use::Pending)?);
                let tls = inner.config.tls_connector.clone();
                let opening = Connection::open(uri.clone(), tls, tunnel, now);
                Link::Connecting(Box::pin(async move {
                    let opened = opening.await?;
                    drop(pending);
                    Ok(opened.counted(connection))
                }))
            }
        };
        self.since = now;
        self.lease = Some(lease);
        Ok(())
    }

    /// Ready with what the attempt came to. `moved` grows with everything that moves;
    /// what the endpoint says in passing goes to `relay`.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        inner: &Inner,
        method: &Method,
        moved: &mut u32,
        relay: &mut Relay,
    ) -> Poll<Result<Step, ProxyError>> {
        loop {
            match &mut self.link {
                Link::None => return Poll::Ready(Ok(Step::Choose)),
                Link::Waiting(next, _) => {
                    ready!(next.as_mut().poll(cx));
                    return Poll::Ready(Ok(Step::Choose));
                }
                Link::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(connection) => {
                        inner.metrics.connected();
                        *moved += 1;
                        share(inner, self.lease.as_ref(), &connection);
                        self.link = Link::Open(Box::new(connection));
                    }
                    Err(_) => return Poll::Ready(Err(ProxyError::Unreachable)),
                },
                Link::Open(_) => match ready!(self.poll_open(cx, method, moved, relay)) {
                    Ok(Read::Continue) => self.upload.release(),
                    Ok(Read::Interim(answer)) => {
                        *moved += 1;
                        relay.hand_on(&answer, &self.fields);
                    }
                    Ok(Read::Final(answer)) => return Poll::Ready(Ok(Step::Answered(answer))),
                    Err(error) => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    /// Sends what can be sent and reads what has come.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        moved: &mut u32,
        relay: &Relay,
    ) -> Poll<Result<Read, ProxyError>> {
        let Link::Open(connection) = &mut self.link else {
            return Poll::Pending;
        };
        if !self.deaf && !self.upload.is_finished() {
            match self.upload.poll_send(cx, &mut connection.stream) {
                Poll::Ready(Err(UploadError::Client(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(Err(UploadError::Endpoint)) => self.deaf = true,
                Poll::Ready(Ok(())) => *moved += 1,
                Poll::Pending => {}
            }
        }
        if relay.is_waiting() {
            return Poll::Pending;
        }
        let read = self
            .reader
            .poll_read(cx, &mut connection.stream, method, &mut self.fields);
        read.map_err(|error| match error {
            AnswerError::Closed | AnswerError::Truncated => ProxyError::UpstreamClosed,
            AnswerError::Invalid => ProxyError::InvalidResponse,
        })
    }

    /// What was read beyond the answer's head.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.reader.take_rest()
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Progress {
        match &self.link {
            Link::Open(connection) if connection.unsent().is_some() => Progress::NotSent,
            Link::Open(_) if self.reader.has_begun() => Progress::Answered,
            Link::Open(_) if self.upload.is_sent() => Progress::Sent,
            _ => Progress::NotSent,
        }
    }

    /// A kept connection that the endpoint closed in the meantime says nothing about
    /// the endpoint.
    pub(crate) fn is_stale(&self, error: ProxyError) -> bool {
        // A refusal of one request is the endpoint's own word, and no matter of age.
        let old = |connection: &Connection| {
            connection.reused && connection.unsent() != Some(Unsent::Refused)
        };
        let reused = matches!(&self.link, Link::Open(connection) if old(connection));
        reused && error == ProxyError::UpstreamClosed && self.progress() != Progress::Answered
    }

    /// The endpoint closed so soon that it may not have seen the request.
    pub(crate) fn may_have_crossed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < CROSSES
    }

    /// It failed, and this is who is to blame: the connection is gone.
    pub(crate) fn fail(&mut self, inner: &Inner) -> Option<Lease> {
        self.link = Link::None;
        let mut lease = self.lease.take()?;
        lease.record(Outcome::Failure, clock::now());
        inner.idle.close(lease.endpoint().uri());
        Some(lease)
    }

    /// Prepares to send the request from its first byte on.
    pub(crate) fn restart(&mut self) {
        self.link = Link::None;
        self.deaf = false;
        self.upload.rewind();
        self.reader = AnswerReader::default();
    }
}

/// Lets other requests use the connection at the same time, if it can carry them.
fn share(inner: &Inner, lease: Option<&Lease>, connection: &Connection) {
    if let (Some(session), Some(lease)) = (connection.session(), lease) {
        let (endpoint, limit) = (lease.endpoint(), inner.config.idle);
        inner.idle.share(endpoint, session, limit, connection.since);
    }
}

impl<B: Body> Drop for Attempt<B> {
    fn drop(&mut self) {
        // The client left, its own body failed, or another attempt was quicker: the
        // endpoint is not judged.
        if let Some(lease) = &mut self.lease {
            lease.record(Outcome::Cancelled, clock::now());
        }
    }
}
