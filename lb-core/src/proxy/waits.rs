//! What a pending request waits for, and until when.

use std::time::{Duration, Instant};

use http_body::Body;

use super::attempt::Link;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::interim;
use crate::endpoint::Outcome;

/// What the exchange waits for; each has its own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The return of the endpoint that the session is bound to.
    Return,
    Connect,
    Expect,
    ClientBody,
    /// The client takes what was said in passing.
    Relay,
    Answer,
    /// One attempt as a whole.
    Attempt,
    /// The request as a whole.
    Total,
    /// The time to ask a second endpoint.
    Hedge,
}

impl<B> Exchange<B>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    /// What a pending exchange waits for, and how long it may.
    pub(crate) fn phase(&self) -> (Phase, Duration) {
        let limits = self.timeouts();
        let attempt = &self.attempt;
        match attempt.link {
            Link::Waiting(_, longest) => (Phase::Return, longest),
            Link::None | Link::Connecting(_) => (Phase::Connect, limits.connect),
            Link::Open(_) if attempt.upload.is_held() => (Phase::Expect, limits.expect),
            Link::Open(_) if attempt.upload.waits_for_client() && !attempt.deaf => {
                (Phase::ClientBody, limits.body)
            }
            Link::Open(_) if self.relay.is_waiting() => (Phase::Relay, interim::PATIENCE),
            Link::Open(_) => (Phase::Answer, limits.response),
        }
    }

    /// What of all that is waited for comes first, if `phase` ends at `until`.
    pub(crate) fn first(&self, phase: Phase, until: Instant) -> (Phase, Instant) {
        let mut first = (phase, until);
        let mut earlier = |phase, until: Option<Instant>| {
            if let Some(until) = until.filter(|until| *until < first.1) {
                first = (phase, until);
            }
        };
        let waits_for_endpoint = !matches!(phase, Phase::Return | Phase::ClientBody | Phase::Relay);
        if waits_for_endpoint {
            let per_attempt = self.timeouts().per_attempt;
            earlier(
                Phase::Attempt,
                per_attempt.map(|limit| self.attempt.since + limit),
            );
            earlier(Phase::Hedge, self.hedge_at);
        }
        earlier(Phase::Total, self.total.ends);
        first
    }

    /// A limit has passed.
    pub(crate) fn expire(&mut self, phase: Phase) -> Result<(), ProxyError> {
        self.progress += 1;
        match phase {
            Phase::Return => Err(ProxyError::SessionEndpointDown),
            Phase::Expect => {
                self.attempt.upload.release();
                Ok(())
            }
            Phase::ClientBody => Err(ProxyError::BodyTimeout),
            Phase::Relay => {
                self.relay.give_up();
                Ok(())
            }
            Phase::Total => Err(self.give_up()),
            Phase::Hedge => {
                self.start_hedge();
                Ok(())
            }
            Phase::Connect => self.fail(ProxyError::ConnectTimeout),
            Phase::Answer => self.fail(ProxyError::ResponseTimeout),
            Phase::Attempt if matches!(self.attempt.link, Link::Open(_)) => {
                self.fail(ProxyError::ResponseTimeout)
            }
            Phase::Attempt => self.fail(ProxyError::ConnectTimeout),
        }
    }

    /// The request has taken as long as it may. Its endpoint is charged only if it had
    /// the proxy's own, whole time.
    fn give_up(&mut self) -> ProxyError {
        if self.tried.is_empty()
            && self.total.own
            && let Some(lease) = &mut self.attempt.lease
        {
            lease.record(Outcome::Failure, crate::clock::now());
        }
        ProxyError::DeadlineExceeded
    }
}
