//! The search for an endpoint whose service is ready.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request};
use tokio::time::Sleep;
use tower_service::Service;

use super::BalanceError;
use super::service::Shared;
use crate::affinity::{NoLease, Session};
use crate::breaker::{Slot, Use};
use crate::clock;
use crate::endpoint::{Endpoint, EndpointId, Outcome};
use crate::explain::Explanation;
use crate::pool::Lease;

/// How often a request that waits for its endpoint looks for it.
const LOOK: Duration = Duration::from_millis(50);

/// Where the request goes, as far as that is settled.
pub(super) struct Search<S> {
    pub(super) shared: Arc<Shared<S>>,
    /// `None` if the pool binds nobody.
    session: Option<Session>,
    /// The chosen endpoint, until its service was called.
    pub(super) lease: Unanswered,
    /// Of that endpoint, until it was called.
    pub(super) service: Option<S>,
    rare: Option<Box<Rare>>,
}

/// What requests need whose first endpoint is not ready at once, or that are explained.
#[derive(Default)]
pub(super) struct Rare {
    explanation: Option<Box<Explanation>>,
    tried: Vec<EndpointId>,
    /// Its place among those that wait for a service to be ready.
    pending: Option<Slot>,
    /// Until when the endpoint must be ready, or when to look again for it.
    limit: Option<Pin<Box<Sleep>>>,
    /// End of the wait for the endpoint of the session.
    waits_until: Option<Instant>,
}

/// What the search needs next.
pub(super) enum Next {
    /// To call the service.
    Call,
    /// Another endpoint.
    Again,
    /// To wait, at most so long.
    Wait(Duration),
}

impl<S> Search<S> {
    #[cold]
    pub(super) fn new(shared: &Arc<Shared<S>>, session: Option<Session>) -> Box<Self> {
        Box::new(Self {
            shared: Arc::clone(shared),
            session,
            lease: Unanswered(None),
            service: None,
            rare: None,
        })
    }

    /// The endpoint that answered: binds the client, and explains, if that was asked for.
    pub(super) fn tell(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let pool = &self.shared.pool;
        if let Some(session) = &self.session {
            let seconds = clock::unix_seconds;
            let affinity = self.shared.affinity.as_deref();
            session.write(affinity, endpoint, false, headers, seconds);
        }
        let rare = self.rare.as_ref();
        if let Some(explanation) = rare.and_then(|rare| rare.explanation.as_ref()) {
            explanation.tell(endpoint, self.session.as_ref(), pool, headers);
        }
    }

    /// The answer will tell how it came about.
    #[cold]
    pub(super) fn explain(&mut self, explanation: Box<Explanation>) {
        self.rare().explanation = Some(explanation);
    }

    /// One step: an endpoint, and whether it is ready.
    #[inline]
    pub(super) fn step<B>(&mut self, cx: &mut Context<'_>) -> Result<Next, BalanceError>
    where
        S: Service<Request<B>> + Clone,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if self.lease.0.is_none()
            && let Some(next) = self.choose()?
        {
            return Ok(next);
        }
        let service = self.service.as_mut();
        let service = service.expect("invariant: it came with the lease");
        let ready = service.poll_ready(cx);
        self.asked(ready)
    }

    /// The service of the chosen endpoint was asked whether it is ready.
    #[inline]
    pub(super) fn asked<E>(&mut self, ready: Poll<Result<(), E>>) -> Result<Next, BalanceError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        match ready {
            Poll::Ready(Ok(())) => {
                if let Some(rare) = &mut self.rare {
                    (rare.pending, rare.limit) = (None, None);
                }
                Ok(Next::Call)
            }
            Poll::Ready(Err(error)) => {
                let error = BalanceError::Endpoint(Arc::from(error.into()));
                self.leave(Outcome::Failure, error)?;
                Ok(Next::Again)
            }
            Poll::Pending => self.not_ready(),
        }
    }

    /// Picks an endpoint that has a service; `Some` if there is something to do first.
    #[inline]
    fn choose(&mut self) -> Result<Option<Next>, BalanceError>
    where
        S: Clone,
    {
        let pool = &self.shared.pool;
        let tried = self.rare.as_ref().map_or(&[][..], |rare| &rare.tried);
        let cx = pool.cx_now().tried(tried);
        let lease = match self.shared.pick(self.session.as_mut(), &cx) {
            Ok(lease) => lease,
            Err(why) => {
                let now = cx.now();
                return self.nobody(why, now).map(Some);
            }
        };
        match self.shared.services.get_shared(lease.counted(), pool) {
            Some(service) => self.chosen(lease, service),
            None => return Ok(Some(self.without_service(&lease))),
        }
        Ok(None)
    }

    /// This endpoint it is, if that service is ready.
    #[inline]
    pub(super) fn chosen(&mut self, lease: Lease, service: S) {
        (self.lease.0, self.service) = (Some(lease), Some(service));
    }

    /// A member without a service is as good as none.
    #[cold]
    pub(super) fn without_service(&mut self, lease: &Lease) -> Next {
        let id = lease.endpoint().id().clone();
        self.rare().tried.push(id);
        Next::Again
    }

    /// No endpoint takes the request.
    #[cold]
    pub(super) fn nobody(&mut self, why: NoLease, now: Instant) -> Result<Next, BalanceError> {
        let rare = self.rare();
        match why {
            NoLease::Wait(longest) if now < *rare.waits_until.get_or_insert(now + longest) => {
                Ok(Next::Wait(LOOK))
            }
            _ if !rare.tried.is_empty() => Err(BalanceError::NotReady),
            why => Err(why.into()),
        }
    }

    /// The service is not ready: may the request wait for it?
    #[cold]
    fn not_ready(&mut self) -> Result<Next, BalanceError> {
        let shared = Arc::clone(&self.shared);
        let endpoint = self.lease.0.as_ref().map(Lease::endpoint);
        let take = || shared.pool.take_slot(Use::Pending, endpoint?);
        let waits = self
            .rare
            .as_ref()
            .is_some_and(|rare| rare.pending.is_some());
        if waits {
            return Ok(Next::Wait(shared.ready_within));
        }
        let place = take();
        if place.is_none() {
            // As many wait as may: nobody's failure.
            self.leave(Outcome::Cancelled, BalanceError::Overloaded)?;
            return Ok(Next::Again);
        }
        self.rare().pending = place;
        Ok(Next::Wait(shared.ready_within))
    }

    /// Waits; after `longest` the chosen endpoint, if there is one, is given up.
    #[cold]
    pub(super) fn poll_wait(
        &mut self,
        cx: &mut Context<'_>,
        longest: Duration,
    ) -> Poll<Result<(), BalanceError>> {
        let rare = self.rare();
        let limit = rare.limit.get_or_insert_with(|| {
            let deadline = clock::now() + longest;
            Box::pin(tokio::time::sleep_until(deadline.into()))
        });
        ready!(limit.as_mut().poll(cx));
        rare.limit = None;
        Poll::Ready(if self.lease.0.is_some() {
            self.leave(Outcome::Overloaded, BalanceError::NotReady)
        } else {
            Ok(())
        })
    }

    /// Gives the chosen endpoint up; `Err` if no other may be tried.
    #[cold]
    fn leave(&mut self, outcome: Outcome, why: BalanceError) -> Result<(), BalanceError> {
        self.service = None;
        let lease = self.lease.0.take();
        let rare = self.rare();
        (rare.pending, rare.limit) = (None, None);
        if let Some(mut lease) = lease {
            lease.record(outcome, clock::now());
            if let Some(explanation) = &mut rare.explanation {
                explanation.failed(lease.endpoint().id(), why.code());
            }
            rare.tried.push(lease.endpoint().id().clone());
        }
        if rare.tried.len() >= usize::from(self.shared.attempts) {
            return Err(why);
        }
        self.shared.metrics.moved();
        Ok(())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// A request whose answer did not come yet.
pub(super) struct Unanswered(pub(super) Option<Lease>);

impl Drop for Unanswered {
    #[inline]
    fn drop(&mut self) {
        if let Some(lease) = &mut self.0 {
            cancelled(lease);
        }
    }
}

/// The client left before the answer: the endpoint is not judged.
#[cold]
#[inline(never)]
fn cancelled(lease: &mut Lease) {
    lease.record(Outcome::Cancelled, clock::now());
}
