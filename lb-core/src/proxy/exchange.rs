//! One request: choose an endpoint, send, read the answer's head, and go to
//! another endpoint while that is safe.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode, header, request};
use http_body::Body;

use super::attempt::{Attempt, Link, Step};
use super::body::ProxyBody;
use super::error::ProxyError;
use super::future::refuse;
use super::handover::Handover;
use super::interim::Relay;
use super::reused::Reused;
use super::route::{RouteIndex, RoutePolicy};
use super::rules::head::{Client, write_head};
use super::rules::request::{BodyHint, Plan, plan};
use super::rules::response::Answer;
use super::rules::{hops, host, path};
use super::service::Inner;
use super::timeouts::Timeouts;
use super::total::{Total, take_deadline};
use super::upstream::scratch;
use super::upstream::upload::Upload;
use crate::affinity::{Asked, NoLease, Session};
use crate::clock;
use crate::endpoint::EndpointId;
use crate::error::PickError;
use crate::explain::Explanation;
use crate::pick::PickCx;
use crate::pool::Lease;
use crate::retry::record_answer;

/// The session of a request that was read before, and where it goes first.
pub(crate) type Choice = (Session, Option<Lease>);

/// How often a request that waits for its endpoint looks for it ...
const LOOK: Duration = Duration::from_millis(50);
/// ... and how often it asks one again that was not there.
const KNOCK: Duration = Duration::from_millis(250);

/// A request on its way to an answer.
pub(crate) struct Exchange<B: Body> {
    pub(super) inner: Arc<Inner>,
    route: RouteIndex,
    pub(super) method: Method,
    pub(super) plan: Plan,
    pub(super) handover: Option<Handover>,
    pub(super) session: Session,
    pub(super) attempt: Attempt<B>,
    /// A second attempt beside the first.
    pub(super) hedge: Option<Box<Attempt<B>>>,
    pub(super) hedge_at: Option<Instant>,
    /// When the attempt began that was hedged.
    pub(super) hedged_since: Option<Instant>,
    pub(super) total: Total,
    /// What endpoints say before they answer.
    pub(super) relay: Relay,
    pub(super) tried: Vec<EndpointId>,
    /// How long it waits for the endpoint of its session at most.
    pub(super) waits_until: Option<Instant>,
    pub(super) explanation: Option<Box<Explanation>>,
    pub(super) attempts: u8,
    /// Grows with everything that moves, so that a limit starts anew.
    pub(crate) progress: u32,
}

impl<B> Exchange<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    /// Judges the request. Nothing is sent yet.
    pub(crate) fn new(
        inner: Arc<Inner>,
        (mut head, body): (request::Parts, B),
        peer: Option<IpAddr>,
        choice: Option<Choice>,
        relay: Relay,
        now: Instant,
    ) -> Result<Reused<Self>, ProxyError> {
        let config = &inner.config;
        let explanation = Explanation::asked(config.explain_key.as_deref(), &mut head.headers);
        let extended = Handover::is_extended_connect(&head);
        let route = config.routes.find(head.uri.path());
        let policy = config.routes.get(route);
        let plan = plan(&head, hint(&body), extended, &policy.limits)?;
        if config.normal_paths && !path::is_normal_path(head.uri.path()) {
            return Err(ProxyError::AmbiguousPath);
        }
        hops::count(&mut head)?;
        if let Some(via) = &config.via {
            via.sign(&mut head)?;
        }
        let handover = prepare(&mut head, &plan, extended)?;
        let client = Client {
            peer,
            trusted: peer.is_some_and(|peer| config.trusted.contains(peer)),
            tls: config.tls,
        };
        let deadline = config.deadline.as_ref();
        let given = deadline.and_then(|it| take_deadline(it, &mut head.headers, client.trusted));
        let authority = host::authority(&head.uri, &head.headers)?;
        let (session, first) = choice.unwrap_or_else(|| read_session(&inner, &head, peer));
        let mut out = scratch::take();
        write_head(&mut out, &head, &plan, authority, client);
        // Nothing of the request is needed any more: when its values are gone, the
        // server in front uses its read buffer again instead of allocating the next.
        head.headers.clear();
        let mut total = Total::new(policy.timeouts.total, given, now);
        total.make_room(&mut out, deadline);
        let (limit, held) = (policy.limits.body_bytes, plan.expects_continue);
        let upload = Upload::new(out, body, plan.framing, limit, held);
        let attempts = policy.attempts;
        // Boxed: it is handed on several times, and an idle connection has none.
        let mut exchange = Reused::new(|| Self {
            inner,
            route,
            method: if plan.tunnel {
                Method::GET
            } else {
                head.method
            },
            plan,
            handover,
            session,
            attempt: Attempt::new(upload, head.headers, now),
            hedge: None,
            hedge_at: None,
            hedged_since: None,
            total,
            relay,
            tried: Vec::new(),
            waits_until: None,
            explanation,
            attempts,
            progress: 0,
        });
        exchange.inner.budget.deposit(now);
        exchange.plan_hedge(now);
        if !first.is_some_and(|lease| exchange.go(lease, now)) {
            exchange.choose(now)?;
        }
        Ok(exchange)
    }

    /// The proxy's own answer to a request that ends without an endpoint's.
    #[cold]
    pub(crate) fn refuse(&self, reason: ProxyError) -> Response<ProxyBody> {
        self.inner.metrics.refused(reason);
        refuse(reason, &self.method)
    }

    pub(super) fn route_policy(&self) -> &RoutePolicy {
        self.inner.config.routes.get(self.route)
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.route_policy().timeouts
    }

    /// Ready with the answer, or with the reason why there is none.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ProxyBody>, ProxyError>> {
        loop {
            let step = self.attempt.poll(
                cx,
                &self.inner,
                &self.method,
                &mut self.progress,
                &mut self.relay,
            );
            match step {
                Poll::Ready(Ok(Step::Choose)) => {
                    if matches!(self.attempt.link, Link::Waiting(..)) {
                        // It waits for one endpoint, which may be back.
                        self.tried.clear();
                    }
                    self.choose(clock::now())?;
                }
                Poll::Ready(Ok(Step::Answered(answer))) => {
                    if self.hedge_goes_on(answer.status) || self.moves_on(answer.status) {
                        continue;
                    }
                    return Poll::Ready(self.win(&answer));
                }
                Poll::Ready(Err(error)) => self.fail(error)?,
                Poll::Pending => {
                    return self.poll_hedge(cx).map(|answer| self.win(&answer));
                }
            }
        }
    }

    /// This answer goes to the client; what else is under way ends before.
    fn win(&mut self, answer: &Answer) -> Result<Response<ProxyBody>, ProxyError> {
        self.hedge = None;
        self.finish(answer)
    }

    /// The first attempt's answer is a failure, or worth another endpoint, and the hedge
    /// may still do better.
    fn hedge_goes_on(&mut self, status: StatusCode) -> bool {
        if !self.may_be_bettered(status) {
            return false;
        }
        let Some(hedge) = self.hedge.take() else {
            return false;
        };
        if let Some(mut lease) = self.attempt.lease.take() {
            record_answer(&mut lease, status, &self.attempt.fields, clock::now());
            self.explain_failure(lease.endpoint().id(), ProxyError::Refused);
            self.tried.push(lease.endpoint().id().clone());
        }
        self.progress += 1;
        self.attempt = *hedge;
        true
    }

    /// Picks an endpoint and a connection to it.
    pub(super) fn choose(&mut self, now: Instant) -> Result<(), ProxyError> {
        let mut full = false;
        loop {
            match self.pick(now) {
                Ok(lease) => {
                    if self.go(lease, now) {
                        return Ok(());
                    }
                    full = true;
                }
                Err(NoLease::Nobody(PickError::Full)) => return Err(ProxyError::Overloaded),
                Err(NoLease::Nobody(_)) if full => return Err(ProxyError::Overloaded),
                Err(NoLease::Nobody(_)) => return Err(ProxyError::NoEndpoint),
                Err(NoLease::Down) => return Err(ProxyError::SessionEndpointDown),
                Err(NoLease::Panicked) => return Err(ProxyError::Internal),
                Err(NoLease::Wait(longest)) => {
                    self.wait(longest, now);
                    return Ok(());
                }
            }
        }
    }

    /// Looks for the endpoint of its session in a while.
    #[cold]
    fn wait(&mut self, longest: Duration, now: Instant) {
        let until = *self.waits_until.get_or_insert(now + longest);
        let pause = if self.tried.is_empty() { LOOK } else { KNOCK };
        let next = tokio::time::sleep_until((now + pause).into());
        let left = until.saturating_duration_since(now);
        self.attempt.link = Link::Waiting(Box::pin(next), left);
    }

    pub(super) fn pick(&mut self, now: Instant) -> Result<Lease, NoLease> {
        let cx = PickCx::new(now, fastrand::u64(..)).tried(&self.tried);
        let inner = &self.inner;
        self.session
            .pick_guarded(inner.affinity(), &inner.pool, &cx)
    }

    /// Starts the attempt there; `false` if the endpoint is full, which is nobody's
    /// failure.
    pub(super) fn go(&mut self, lease: Lease, now: Instant) -> bool {
        self.attempt.write_deadline(self.total.left(now));
        match self
            .attempt
            .connect(&self.inner, lease, self.plan.tunnel, now)
        {
            Ok(()) => true,
            Err(full) => {
                self.tried.push(full);
                false
            }
        }
    }

    pub(super) fn explain_failure(&mut self, id: &EndpointId, why: ProxyError) {
        if let Some(explanation) = &mut self.explanation {
            explanation.failed(id, why.code());
        }
    }
}

/// Takes out of the head what is not for the endpoint.
#[inline]
fn prepare(
    head: &mut request::Parts,
    plan: &Plan,
    extended: bool,
) -> Result<Option<Handover>, ProxyError> {
    if plan.expects_in_vain {
        head.headers.remove(header::EXPECT);
    }
    plan.tunnel
        .then(|| Handover::prepare(head, extended))
        .transpose()
}

fn hint(body: &impl Body) -> BodyHint {
    BodyHint {
        ended: body.is_end_stream(),
        exact: body.size_hint().exact(),
    }
}

fn read_session(inner: &Inner, head: &request::Parts, peer: Option<IpAddr>) -> Choice {
    let asked = Asked {
        uri: &head.uri,
        headers: &head.headers,
        peer,
    };
    let session = Session::read(inner.affinity(), &asked, clock::unix_seconds);
    (session, None)
}
