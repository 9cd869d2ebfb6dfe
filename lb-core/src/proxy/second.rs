//! A second endpoint: after a failure, after an answer that is worth one, or beside the
//! first as a hedge. All of them are paid from one budget.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::StatusCode;
use http_body::Body;

use super::attempt::{Attempt, Step};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::rules::replay::{Progress, may_replay};
use super::rules::response::Answer;
use crate::clock;
use crate::endpoint::Outcome;
use crate::pool::Lease;
use crate::retry::record_answer;

impl<B> Exchange<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    /// An attempt failed. `Ok`: another one goes on.
    pub(super) fn fail(&mut self, error: ProxyError) -> Result<(), ProxyError> {
        self.progress += 1;
        // Internal: the request's own body panicked, which no endpoint can help.
        if error.is_client_fault() || error == ProxyError::Internal {
            return Err(error);
        }
        if let Some(hedge) = self.hedge.take() {
            let lost = std::mem::replace(&mut self.attempt, *hedge);
            self.lose(lost, error);
            return Ok(());
        }
        let progress = self.attempt.progress();
        let rewindable = self.attempt.upload.is_rewindable();
        let replay = may_replay(&self.method, rewindable, progress);
        if self.attempt.is_stale(error) && (replay || self.attempt.may_have_crossed(clock::now())) {
            // The endpoint is not charged: a kept connection that it closed in the
            // meantime is nobody's fault.
            drop(self.attempt.lease.take());
            if !replay {
                return Err(error);
            }
            // Ask the same one again. Two such in a row are no coincidence.
            self.attempt.fresh = true;
            self.restart(error)?;
            self.inner.metrics.retried();
            return Ok(());
        }
        if replay && progress == Progress::NotSent && self.session.waits(self.inner.affinity()) {
            return self.knock_later(error);
        }
        self.blame(error);
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts == 0 || !replay {
            return Err(error);
        }
        self.restart(error)?;
        // Nobody else is left: what happened here says more than "none".
        if self.choose(clock::now()).is_err() {
            self.inner.budget.give_back(clock::now());
            return Err(error);
        }
        self.inner.metrics.retried();
        Ok(())
    }

    /// The endpoint that the session waits for was not there, and may be in a moment. It
    /// is charged once, however long that takes.
    #[cold]
    fn knock_later(&mut self, error: ProxyError) -> Result<(), ProxyError> {
        if self.waits_until.is_none() {
            self.blame(error);
        } else if let Some(lease) = self.attempt.lease.take() {
            self.tried.push(lease.endpoint().id().clone());
        }
        self.attempt.restart();
        self.choose(clock::now())
    }

    /// The endpoint of the attempt failed.
    fn blame(&mut self, error: ProxyError) {
        let lease = self.attempt.fail(&self.inner);
        self.note(lease, error);
    }

    /// One of two attempts failed, and the other goes on. Of a kept connection that its
    /// endpoint closed in the meantime nobody is guilty.
    fn lose(&mut self, mut attempt: Attempt<B>, error: ProxyError) {
        if !attempt.is_stale(error) {
            let lease = attempt.fail(&self.inner);
            self.note(lease, error);
        }
    }

    /// Who failed is explained, and not asked again.
    fn note(&mut self, failed: Option<Lease>, error: ProxyError) {
        if let Some(lease) = failed {
            self.explain_failure(lease.endpoint().id(), error);
            self.tried.push(lease.endpoint().id().clone());
        }
    }

    /// This answer is no reason to give the other attempt up that is under way.
    pub(super) fn may_be_bettered(&self, status: StatusCode) -> bool {
        Outcome::from_status(status).is_failure() || self.route_policy().retry_on.contains(status)
    }

    /// Prepares another attempt, if the budget has one left.
    fn restart(&mut self, error: ProxyError) -> Result<(), ProxyError> {
        if !self.inner.budget.try_withdraw(clock::now()) {
            self.inner.metrics.retry_refused();
            return Err(error);
        }
        self.attempt.restart();
        Ok(())
    }

    /// An answer that is worth another endpoint, and there is one: it has the request now.
    pub(super) fn moves_on(&mut self, status: StatusCode) -> bool {
        let rewindable = self.attempt.upload.is_rewindable();
        if self.attempts <= 1
            || !self.route_policy().retry_on.contains(status)
            || !may_replay(&self.method, rewindable, Progress::Sent)
        {
            return false;
        }
        let Some(id) = self
            .attempt
            .lease
            .as_ref()
            .map(|it| it.endpoint().id().clone())
        else {
            return false;
        };
        let now = clock::now();
        if !self.inner.budget.try_withdraw(now) {
            self.inner.metrics.retry_refused();
            return false;
        }
        self.tried.push(id.clone());
        let Ok(next) = self.pick(now) else {
            // The answer that came is better than none.
            self.tried.pop();
            self.inner.budget.give_back(now);
            return false;
        };
        if let Some(mut lease) = self.attempt.lease.take() {
            record_answer(&mut lease, status, &self.attempt.fields, now);
        }
        self.explain_failure(&id, ProxyError::Refused);
        self.attempts -= 1;
        self.progress += 1;
        self.attempt.restart();
        // If it is full, the next turn looks for another one.
        self.go(next, now);
        self.inner.metrics.retried();
        true
    }

    /// Asks a second endpoint beside the first, if that is safe, paid for and possible.
    pub(super) fn start_hedge(&mut self) {
        self.hedge_at = None;
        let now = clock::now();
        let first = self.attempt.lease.as_ref();
        let free = first.filter(|lease| !self.session.holds(lease.endpoint()));
        let Some(first) = free.map(|lease| lease.endpoint().id().clone()) else {
            return;
        };
        let safe = may_replay(&self.method, true, Progress::Sent) && self.handover.is_none();
        let twin = self.attempt.twin(now).filter(|_| safe && self.attempts > 1);
        let Some(mut twin) = twin else { return };
        if !self.inner.budget.try_withdraw(now) {
            self.inner.metrics.retry_refused();
            return;
        }
        self.tried.push(first);
        let leased = self.pick(now);
        self.tried.pop();
        twin.write_deadline(self.total.left(now));
        let goes = leased.is_ok_and(|lease| twin.connect(&self.inner, lease, false, now).is_ok());
        if !goes {
            self.inner.budget.give_back(now);
            return;
        }
        self.attempts -= 1;
        self.hedged_since = Some(self.attempt.since);
        self.inner.metrics.hedged();
        self.hedge = Some(Box::new(twin));
    }

    /// Ready when the hedge has won: it is the attempt now, the other one is cancelled.
    pub(super) fn poll_hedge(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(hedge) = &mut self.hedge else {
            return Poll::Pending;
        };
        let step = ready!(hedge.poll(
            cx,
            &self.inner,
            &self.method,
            &mut self.progress,
            &mut self.relay
        ));
        let Some(mut hedge) = self.hedge.take() else {
            return Poll::Pending;
        };
        match step {
            Ok(Step::Answered(answer)) if self.may_be_bettered(answer.status) => {
                if let Some(mut lease) = hedge.lease.take() {
                    record_answer(&mut lease, answer.status, &hedge.fields, clock::now());
                    self.tried.push(lease.endpoint().id().clone());
                }
                Poll::Pending
            }
            Ok(Step::Answered(answer)) => {
                self.inner.metrics.hedge_won();
                self.attempt = *hedge;
                Poll::Ready(answer)
            }
            Ok(Step::Choose) => Poll::Pending,
            Err(error) => {
                // The first one may still answer.
                self.lose(*hedge, error);
                Poll::Pending
            }
        }
    }

    /// When this attempt is to be hedged.
    pub(super) fn plan_hedge(&mut self, now: Instant) {
        let hedge = self.route_policy().hedge.as_ref();
        self.hedge_at = hedge
            .filter(|_| self.method.is_idempotent())
            .and_then(|hedge| Some(now + hedge.delay(now)?));
    }
}
