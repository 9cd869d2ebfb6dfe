//! One request: choose an endpoint, send, read the answer's head, and go to
//! another endpoint while that is safe.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use http_body::Body;
use tokio::time::Sleep;

use super::body::{ProxyBody, Stream};
use super::error::ProxyError;
use super::explain::Explanation;
use super::handover::Handover;
use super::route::RouteIndex;
use super::rules::head::{Client, write_head};
use super::rules::replay::{Progress, may_replay};
use super::rules::request::{BodyHint, Plan, plan};
use super::rules::response::{Answer, strip};
use super::rules::{host, path};
use super::service::Inner;
use super::timeouts::Timeouts;
use super::upstream::answer::{AnswerError, AnswerReader, Read};
use super::upstream::body::BodyReader;
use super::upstream::connection::Connection;
use super::upstream::upload::{Upload, UploadError};
use crate::affinity::{Asked, NoLease, Session};
use crate::clock;
use crate::endpoint::{Endpoint, EndpointId, Outcome};
use crate::pick::PickCx;
use crate::policy::Policy as _;
use crate::pool::Lease;
use crate::report::take_report;

/// What the exchange waits for; each has its own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The return of the endpoint that the session is bound to.
    Return,
    Connect,
    Expect,
    ClientBody,
    Answer,
}

/// The session of a request that was read before, and where it goes first.
pub(crate) type Choice = (Session, Option<Lease>);

/// How often a request that waits for its endpoint looks for it.
const LOOK: Duration = Duration::from_millis(50);

enum Link {
    None,
    /// Its endpoint is away; the next look, and how long it may wait in all.
    Waiting(Pin<Box<Sleep>>, Duration),
    Connecting(Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>),
    Open(Connection),
}

/// A request on its way to an answer.
pub(crate) struct Exchange<B: Body> {
    inner: Arc<Inner>,
    route: RouteIndex,
    method: Method,
    /// The request's fields; the answer's after it came.
    fields: HeaderMap,
    plan: Plan,
    upload: Upload<B>,
    handover: Option<Handover>,
    session: Session,
    lease: Option<Lease>,
    link: Link,
    reader: AnswerReader,
    tried: Vec<EndpointId>,
    explanation: Option<Box<Explanation>>,
    attempts: u8,
    /// The endpoint stopped reading; it may still answer.
    deaf: bool,
    /// Grows with everything that moves, so that a limit starts anew.
    pub(crate) progress: u32,
}

impl<B> Exchange<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    /// Judges the request. Nothing is sent yet.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        request: Request<B>,
        peer: Option<IpAddr>,
        choice: Option<Choice>,
        now: Instant,
    ) -> Result<Self, ProxyError> {
        let config = &inner.config;
        let (mut head, body) = request.into_parts();
        let explanation = Explanation::asked(config.explain_key.as_deref(), &mut head.headers);
        let hint = BodyHint {
            ended: body.is_end_stream(),
            exact: body.size_hint().exact(),
        };
        let extended = Handover::is_extended_connect(&head);
        let route = config.routes.find(head.uri.path());
        let policy = config.routes.get(route);
        let plan = plan(&head, hint, extended, &policy.limits)?;
        if config.normal_paths && !path::is_normal_path(head.uri.path()) {
            return Err(ProxyError::AmbiguousPath);
        }
        let handover = plan
            .tunnel
            .then(|| Handover::prepare(&mut head, extended))
            .transpose()?;
        let authority = host::authority(&head.uri, &head.headers)?;
        let client = Client {
            peer,
            trusted: peer.is_some_and(|peer| config.trusted.contains(peer)),
            tls: config.tls,
        };
        let (session, given) = choice.unwrap_or_else(|| (read_session(inner, &head, peer), None));
        let mut upload = Upload::new(
            body,
            plan.framing,
            policy.limits.body_bytes,
            plan.expects_continue,
        );
        write_head(upload.head(), &head, &plan, authority, client);
        let request::Parts {
            method, headers, ..
        } = head;
        let mut exchange = Self {
            inner: Arc::clone(inner),
            route,
            method: if plan.tunnel { Method::GET } else { method },
            fields: headers,
            plan,
            upload,
            handover,
            session,
            lease: None,
            link: Link::None,
            reader: AnswerReader::default(),
            tried: Vec::new(),
            explanation,
            attempts: policy.attempts,
            deaf: false,
            progress: 0,
        };
        inner.budget.deposit(now);
        match given {
            Some(lease) => exchange.connect(lease, now),
            None => exchange.choose(now)?,
        }
        Ok(exchange)
    }

    /// Counts a request that ends without an endpoint's answer.
    pub(crate) fn refused(&self, reason: ProxyError) {
        self.inner.metrics.refused(reason);
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Ready with the answer, or with the reason why there is none.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ProxyBody>, ProxyError>> {
        loop {
            match &mut self.link {
                Link::None => self.choose(clock::now())?,
                Link::Waiting(next, _) => {
                    ready!(next.as_mut().poll(cx));
                    self.choose(clock::now())?;
                }
                Link::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                    Ok(connection) => self.open(connection),
                    Err(_) => self.fail(ProxyError::Unreachable)?,
                },
                Link::Open(_) => match ready!(self.poll_open(cx)) {
                    Ok(Read::Continue) => self.upload.release(),
                    Ok(Read::Final(answer, rest)) => {
                        return Poll::Ready(self.finish(&answer, rest));
                    }
                    Err(error) => self.fail(error)?,
                },
            }
        }
    }

    /// Sends what can be sent and reads what has come.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, ProxyError>> {
        let Link::Open(connection) = &mut self.link else {
            return Poll::Pending;
        };
        if !self.deaf && !self.upload.is_finished() {
            match self.upload.poll_send(cx, &mut connection.stream) {
                Poll::Ready(Err(UploadError::Client(fault))) => return Poll::Ready(Err(fault)),
                Poll::Ready(Err(UploadError::Endpoint)) => self.deaf = true,
                Poll::Ready(Ok(())) => self.progress += 1,
                Poll::Pending => {}
            }
        }
        let read =
            self.reader
                .poll_read(cx, &mut connection.stream, &self.method, &mut self.fields);
        read.map_err(|error| match error {
            AnswerError::Closed | AnswerError::Truncated => ProxyError::UpstreamClosed,
            AnswerError::Invalid => ProxyError::InvalidResponse,
        })
    }

    fn timeouts(&self) -> &Timeouts {
        &self.inner.config.routes.get(self.route).timeouts
    }

    /// What a pending exchange waits for, and how long it may.
    pub(crate) fn phase(&self) -> (Phase, Duration) {
        let limits = self.timeouts();
        match self.link {
            Link::Waiting(_, longest) => (Phase::Return, longest),
            Link::None | Link::Connecting(_) => (Phase::Connect, limits.connect),
            Link::Open(_) if self.upload.is_held() => (Phase::Expect, limits.expect),
            Link::Open(_) if self.upload.waits_for_client() && !self.deaf => {
                (Phase::ClientBody, limits.body)
            }
            Link::Open(_) => (Phase::Answer, limits.response),
        }
    }

    /// A limit has passed.
    pub(crate) fn expire(&mut self, phase: Phase) -> Result<(), ProxyError> {
        self.progress += 1;
        match phase {
            Phase::Return => Err(ProxyError::SessionEndpointDown),
            Phase::Connect => self.fail(ProxyError::ConnectTimeout),
            Phase::Expect => {
                self.upload.release();
                Ok(())
            }
            Phase::ClientBody => Err(ProxyError::BodyTimeout),
            Phase::Answer => self.fail(ProxyError::ResponseTimeout),
        }
    }

    /// Picks an endpoint and a connection to it.
    fn choose(&mut self, now: Instant) -> Result<(), ProxyError> {
        let cx = PickCx::new(now, fastrand::u64(..)).tried(&self.tried);
        let affinity = self.inner.affinity();
        match self.session.pick(affinity, &self.inner.pool, &cx) {
            Ok(lease) => self.connect(lease, now),
            Err(NoLease::Nobody(_)) => return Err(ProxyError::NoEndpoint),
            Err(NoLease::Down) => return Err(ProxyError::SessionEndpointDown),
            Err(NoLease::Wait(longest)) => {
                let next = tokio::time::sleep_until((now + LOOK).into());
                self.link = Link::Waiting(Box::pin(next), longest);
            }
        }
        Ok(())
    }

    fn connect(&mut self, lease: Lease, now: Instant) {
        let uri = lease.endpoint().uri();
        let idle = self.inner.config.idle;
        self.link = match self.inner.idle.take(uri, idle, now) {
            Some(connection) => Link::Open(connection),
            None => Link::Connecting(Box::pin(Connection::open(uri.clone(), now))),
        };
        self.lease = Some(lease);
    }

    fn open(&mut self, connection: Connection) {
        self.inner.metrics.connected();
        self.progress += 1;
        self.link = Link::Open(connection);
    }

    /// An attempt failed. `Ok`: another one may start.
    fn fail(&mut self, error: ProxyError) -> Result<(), ProxyError> {
        self.progress += 1;
        if error.is_client_fault() {
            return Err(error);
        }
        let progress = match &self.link {
            Link::Open(_) if self.reader.has_begun() => Progress::Answered,
            Link::Open(_) if self.upload.is_sent() => Progress::Sent,
            _ => Progress::NotSent,
        };
        let reused = matches!(&self.link, Link::Open(connection) if connection.reused);
        self.link = Link::None;
        self.deaf = false;
        let replay = may_replay(&self.method, self.upload.is_rewindable(), progress);
        let mut lease = self.lease.take();
        // A kept connection that the endpoint closed in the meantime says
        // nothing about the endpoint: ask it again.
        let stale = reused && error == ProxyError::UpstreamClosed && progress != Progress::Answered;
        if stale && replay {
            self.restart(error)?;
            self.inner.metrics.retried();
            return Ok(());
        }
        if let Some(lease) = &mut lease {
            lease.record(Outcome::Failure, clock::now());
            let id = lease.endpoint().id();
            if let Some(explanation) = &mut self.explanation {
                explanation.failed(id, error);
            }
            self.tried.push(id.clone());
            self.inner.idle.close(lease.endpoint().uri());
        }
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts == 0 || !replay {
            return Err(error);
        }
        drop(lease);
        self.restart(error)?;
        // Nobody else is left: what happened here says more than "none".
        if self.choose(clock::now()).is_err() {
            self.inner.budget.give_back(clock::now());
            return Err(error);
        }
        self.inner.metrics.retried();
        Ok(())
    }

    /// Prepares another attempt, if the budget has one left.
    fn restart(&mut self, error: ProxyError) -> Result<(), ProxyError> {
        if !self.inner.budget.try_withdraw(clock::now()) {
            self.inner.metrics.retry_refused();
            return Err(error);
        }
        self.upload.rewind();
        self.reader = AnswerReader::default();
        Ok(())
    }

    /// The answer has come: hand it to the client.
    fn finish(&mut self, answer: &Answer, rest: Bytes) -> Result<Response<ProxyBody>, ProxyError> {
        let now = clock::now();
        let link = std::mem::replace(&mut self.link, Link::None);
        let (Link::Open(connection), Some(mut lease)) = (link, self.lease.take()) else {
            return Err(ProxyError::UpstreamClosed);
        };
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.hand_over(connection, lease, rest, now);
        }
        lease.record(Outcome::from_status(answer.status), now);
        let after = now.saturating_duration_since(lease.started());
        self.inner.metrics.answered(answer.status, after);
        let mut fields = std::mem::take(&mut self.fields);
        strip(&mut fields, answer, self.plan.te_trailers);
        take_report(&lease, &mut fields, now);
        self.bind(lease.endpoint(), &mut fields);
        let body = self.body(answer, rest, connection, lease, now);
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = fields;
        Ok(response)
    }

    fn bind(&self, endpoint: &Endpoint, fields: &mut HeaderMap) {
        let tls = self.inner.config.tls;
        self.session
            .write(self.inner.affinity(), endpoint, tls, fields);
        if let Some(explanation) = &self.explanation {
            let policy = self.inner.pool.policy();
            let by = self.session.holds(endpoint).then_some("session");
            explanation.tell(endpoint.id(), by.unwrap_or(policy.name()), fields);
        }
    }

    fn body(
        &mut self,
        answer: &Answer,
        rest: Bytes,
        connection: Connection,
        lease: Lease,
        now: Instant,
    ) -> ProxyBody {
        let mut reader = BodyReader::new(answer.framing, rest);
        let reusable = answer.reusable && !self.deaf;
        if let Some(data) = reader.take_whole() {
            if reusable && self.upload.is_finished() && reader.is_clean() {
                self.inner.keep(lease.endpoint(), connection, now);
            }
            return ProxyBody::whole(data, Some(lease));
        }
        let upload = (!self.deaf && !self.upload.is_finished()).then(|| self.upload.split());
        ProxyBody::stream(Stream {
            reader,
            connection,
            lease,
            reusable,
            upload: upload.map(|upload| Box::new(upload) as _),
            inner: Arc::clone(&self.inner),
            stall_limit: self.timeouts().body,
            stall: None,
        })
    }

    /// The endpoint speaks another protocol now: raw bytes from here on.
    fn hand_over(
        &mut self,
        connection: Connection,
        mut lease: Lease,
        early: Bytes,
        now: Instant,
    ) -> Result<Response<ProxyBody>, ProxyError> {
        let valid = |handover: &Handover| handover.is_completed_by(&self.fields);
        let Some(handover) = self.handover.take().filter(valid) else {
            lease.record(Outcome::Failure, now);
            return Err(ProxyError::InvalidResponse);
        };
        lease.record(Outcome::Success, now);
        let after = now.saturating_duration_since(lease.started());
        self.inner
            .metrics
            .answered(StatusCode::SWITCHING_PROTOCOLS, after);
        let mut response = Response::new(ProxyBody::whole(Bytes::new(), None));
        let mut fields = std::mem::take(&mut self.fields);
        take_report(&lease, &mut fields, now);
        self.bind(lease.endpoint(), &mut fields);
        *response.headers_mut() = fields;
        *response.status_mut() = handover.answer(response.headers_mut());
        let idle = self.timeouts().tunnel;
        self.inner.tunnels.spawn(handover.run(
            connection.stream,
            early,
            lease,
            idle,
            self.inner.metrics.tunnel(),
        ));
        Ok(response)
    }
}

impl<B: Body> Drop for Exchange<B> {
    fn drop(&mut self) {
        // The client left, or its own body failed: the endpoint is not judged.
        if let Some(lease) = &mut self.lease {
            lease.record(Outcome::Cancelled, clock::now());
        }
    }
}

fn read_session(inner: &Inner, head: &request::Parts, peer: Option<IpAddr>) -> Session {
    let asked = Asked {
        uri: &head.uri,
        headers: &head.headers,
        peer,
    };
    Session::read(inner.affinity(), &asked)
}
