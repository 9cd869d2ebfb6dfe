//! The split as a tower service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use metrics::Counter;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Match, SplitBuilder};
use crate::affinity::Affinity;
use crate::clock;
use crate::endpoint::EndpointId;

/// Sends each request to one of several services; see the [module](super).
///
/// Clones are one split. It is always ready: the arm's own readiness is waited
/// for in the future.
pub struct Split<S> {
    pub(super) shared: Arc<Shared<S>>,
}

pub(super) struct Shared<S> {
    pub(super) arms: Vec<Arm<S>>,
    pub(super) rules: Vec<(Match, usize)>,
    pub(super) sticky: Option<Affinity>,
}

pub(super) struct Arm<S> {
    pub(super) name: EndpointId,
    pub(super) weight: AtomicU32,
    pub(super) requests: Counter,
    pub(super) service: S,
}

impl<S> Arm<S> {
    pub(super) fn weight(&self) -> u32 {
        // Relaxed: one number, read for one draw.
        self.weight.load(Ordering::Relaxed)
    }
}

/// Where a request goes, and the field that binds its client there.
type Decision = (usize, Option<(HeaderName, HeaderValue)>);

impl<S> Split<S> {
    /// A split under construction; `name` shows in metrics.
    pub fn builder(name: impl Into<String>) -> SplitBuilder<S> {
        SplitBuilder::new(name.into())
    }

    /// Changes the weight of an arm; `false` if there is none of this name.
    /// When all weights are zero, the first arm gets everything.
    #[expect(
        clippy::must_use_candidate,
        reason = "a change; the answer is a courtesy"
    )]
    pub fn set_weight(&self, arm: &str, weight: u32) -> bool {
        let mut arms = self.shared.arms.iter();
        let found = arms.find(|candidate| candidate.name.as_str() == arm);
        if let Some(arm) = found {
            // Relaxed: see `Arm::weight`.
            arm.weight.store(weight, Ordering::Relaxed);
        }
        found.is_some()
    }

    /// Names and weights as they are now.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, u32)> {
        let arms = self.shared.arms.iter();
        arms.map(|arm| (arm.name.to_string(), arm.weight()))
            .collect()
    }
}

impl<S> Shared<S> {
    fn decide(&self, headers: &HeaderMap, random: u64) -> Decision {
        if let Some((_, arm)) = self.rules.iter().find(|(what, _)| what.holds(headers)) {
            return (*arm, None);
        }
        let Some(affinity) = &self.sticky else {
            return (self.draw(random), None);
        };
        let now = clock::unix_seconds();
        let binding = affinity.binding(headers, now);
        let bound = binding.as_ref().and_then(|binding| {
            let is_home = |arm: &Arm<S>| arm.name == *binding.endpoint_id() && arm.weight() > 0;
            self.arms.iter().position(is_home)
        });
        let arm = bound.unwrap_or_else(|| self.draw(random));
        let due = binding.is_none_or(|binding| bound.is_none() || affinity.is_due(&binding, now));
        let token = due.then(|| affinity.token_for(self.arms[arm].name.as_str(), 0, now, false));
        (arm, token.flatten())
    }

    /// An arm by weight; `random` is spread evenly over the sum.
    fn draw(&self, random: u64) -> usize {
        let weights = self.arms.iter().map(Arm::weight);
        let total: u64 = weights.clone().map(u64::from).sum();
        let mut at = ((u128::from(random) * u128::from(total)) >> 64) as u64;
        for (arm, weight) in weights.enumerate() {
            match at.checked_sub(u64::from(weight)) {
                Some(rest) => at = rest,
                None => return arm,
            }
        }
        0
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Split<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = SplitFuture<S, ReqBody>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (arm, token) = self.shared.decide(request.headers(), fastrand::u64(..));
        let arm = &self.shared.arms[arm];
        arm.requests.increment(1);
        SplitFuture {
            token,
            state: State::Preparing {
                service: arm.service.clone(),
                request: Some(request),
            },
        }
    }
}

impl<S> Clone for Split<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> fmt::Debug for Split<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split")
            .field("weights", &self.weights())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of one arm of a [`Split`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct SplitFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        token: Option<(HeaderName, HeaderValue)>,
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B> {
        Preparing { service: S, request: Option<Request<B>> },
        Running { #[pin] answer: F },
    }
}

impl<S, ReqBody, ResBody> Future for SplitFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Preparing { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let request = request.take().expect("invariant: called once");
                    service.call(request)
                }
                StateProj::Running { answer } => {
                    let mut answer = ready!(answer.poll(cx));
                    if let (Ok(response), Some((name, value))) = (&mut answer, this.token.take()) {
                        response.headers_mut().append(name, value);
                    }
                    return Poll::Ready(answer);
                }
            };
            this.state.set(State::Running { answer: next });
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for SplitFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitFuture").finish_non_exhaustive()
    }
}
