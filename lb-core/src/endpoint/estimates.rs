//! What the ends of requests teach about one endpoint.
//!
//! All of it is averages of many samples: each is written with one plain store,
//! and of two threads that write at the same moment one loses its sample.

use crate::endpoint::{
    Outcome, failure,
    fleet::Fleet,
    peak_ewma::mix,
    stamped::{Stamped, Tick},
};

/// The less is known of an endpoint, the more it looks like this part of the
/// fleet's average: better than average, or one once slow would never be tried
/// again by a policy that takes the best.
const CURIOSITY: f64 = 0.8;

/// Response times and failures of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    failures: Stamped,
    peak: Stamped,
    mean: Stamped,
    samples: Stamped,
}

impl Estimates {
    /// Whether this outcome changes anything but response times.
    #[inline]
    pub(crate) fn is_news(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Success => self
                .failures
                .get()
                .is_some_and(|(share, _)| share > failure::NEGLIGIBLE),
            Outcome::Cancelled => false,
            _ => true,
        }
    }

    /// Folds one outcome in.
    pub(crate) fn learn(&self, outcome: Outcome, seconds: Option<f64>, tick: Tick, fleet: &Fleet) {
        if let Some(seconds) = seconds {
            self.timed(outcome, seconds, tick, fleet);
        }
        // A success is none where hardly anything failed.
        if !self.is_news(outcome) {
            return;
        }
        let failed = outcome.is_failure();
        self.failures.fold(tick, |old| match old {
            None => failure::after(0.0, failed, 0.0),
            Some((share, at)) => failure::after(share, failed, tick.seconds_since(at)),
        });
    }

    fn timed(&self, outcome: Outcome, seconds: f64, tick: Tick, fleet: &Fleet) {
        match outcome {
            Outcome::Cancelled => self.cancelled(seconds, tick, fleet),
            // Answered before the work was done: says nothing of response times.
            Outcome::Accepted => {}
            Outcome::Success => self.latency(seconds, tick, fleet),
            Outcome::Failure | Outcome::Overloaded => {
                // Failing fast is not fast.
                let known = self.mean.get().map_or(0.0, |(mean, _)| mean);
                self.latency(seconds.max(known), tick, fleet);
            }
        }
    }

    /// It would have taken at least this long: news only if that is more.
    fn cancelled(&self, seconds: f64, tick: Tick, fleet: &Fleet) {
        if self.mean.get().is_some_and(|(mean, _)| seconds > mean) {
            self.latency(seconds, tick, fleet);
        }
    }

    fn latency(&self, seconds: f64, tick: Tick, fleet: &Fleet) {
        let fade = fleet.latency_fade;
        self.peak.fold(tick, |old| match old {
            None => seconds,
            Some((estimate, at)) => mix(estimate, seconds, fade.keep(tick.seconds_since(at))),
        });
        let before = self.samples.get();
        let n = before.map_or(0.0, |(n, at)| n * fade.keep(tick.seconds_since(at))) + 1.0;
        self.samples.fold(tick, |_| n);
        self.mean.fold(tick, |old| {
            old.map_or(seconds, |(mean, _)| mean + (seconds - mean) / n)
        });
        fleet.observe_latency(seconds, tick);
    }

    /// A peak-sensitive average in seconds, faded since the last answer.
    #[inline]
    pub(crate) fn peak_seconds(&self, tick: Tick, fleet: &Fleet) -> Option<f64> {
        let (estimate, at) = self.peak.get()?;
        Some(estimate * fleet.latency_fade.keep(tick.seconds_since(at)))
    }

    /// The own mean, drawn towards the fleet's the less is known of this one.
    #[inline]
    pub(crate) fn expected_seconds(&self, tick: Tick, fleet: &Fleet) -> Option<f64> {
        let average = fleet.latency_seconds()?;
        let (Some((mean, _)), Some((n, at))) = (self.mean.get(), self.samples.get()) else {
            return Some(average * CURIOSITY);
        };
        let n = n * fleet.latency_fade.keep(tick.seconds_since(at));
        Some((mean * n + average * CURIOSITY) / (n + 1.0))
    }

    /// Recent share of failures, faded by time.
    pub(crate) fn failure_share(&self, tick: Tick) -> f64 {
        self.failures.get().map_or(0.0, |(share, at)| {
            failure::faded(share, tick.seconds_since(at))
        })
    }

    /// What recent failures multiply a score by.
    #[inline]
    pub(crate) fn failure_factor(&self, tick: impl FnOnce() -> Tick) -> f64 {
        1.0 + self.failure_penalty(tick)
    }

    /// The same, less the 1 of a well endpoint.
    #[inline]
    pub(crate) fn failure_penalty(&self, tick: impl FnOnce() -> Tick) -> f64 {
        match self.failures.get() {
            // Time only forgives: no need to ask for it for a good share.
            Some((share, at)) if share > failure::TOLERATED => bad_penalty(share, at, tick),
            _ => 0.0,
        }
    }
}

#[cold]
#[inline(never)]
fn bad_penalty(share: f64, at: Tick, now: impl FnOnce() -> Tick) -> f64 {
    failure::factor(failure::faded(share, now().seconds_since(at))) - 1.0
}
