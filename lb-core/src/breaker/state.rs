//! One circuit as a pure machine.

use std::time::{Duration, Instant};

use super::config::CircuitBreaker;

/// The circuit of one endpoint.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_core::breaker::{Circuit, CircuitBreaker};
///
/// let (config, now) = (CircuitBreaker::default().consecutive_failures(2), Instant::now());
/// let circuit = Circuit::default().after(true, &config, now, 0.5);
/// let open = circuit.after(true, &config, now, 0.5);
/// assert!(open.trial(now).is_none(), "its time is not over");
/// let trial = open.trial(now + Duration::from_secs(5)).expect("it is over");
/// assert!(matches!(trial.settled(false, &config, now, 0.5), Circuit::Closed { .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Circuit {
    /// Requests go.
    Closed {
        /// Failures since the last success.
        failures: u32,
        /// When it closed and how often it had been open before, if ever.
        reopened: Option<(Instant, u32)>,
    },
    /// No request goes.
    Open {
        /// When one request may try.
        until: Instant,
        /// How often it opened in a row.
        times: u32,
    },
    /// One request is trying.
    HalfOpen {
        /// How often it opened in a row.
        times: u32,
    },
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed {
            failures: 0,
            reopened: None,
        }
    }
}

impl Circuit {
    /// An ordinary request ended. What ends while it is not closed began before and says
    /// nothing. `lot` from 0 to 1 spreads the end of the open time.
    #[must_use]
    pub fn after(self, failed: bool, config: &CircuitBreaker, now: Instant, lot: f64) -> Self {
        match self {
            Self::Closed { failures, reopened } if failed => {
                let failures = failures.saturating_add(1);
                if failures < config.failures {
                    return Self::Closed { failures, reopened };
                }
                Self::opened(remembered(reopened, config, now), config, now, lot)
            }
            Self::Closed { reopened, .. } => Self::Closed {
                failures: 0,
                reopened,
            },
            Self::Open { .. } | Self::HalfOpen { .. } => self,
        }
    }

    /// The endpoint asked for rest: open until then, at most the longest time.
    #[must_use]
    pub fn rested(self, wait: Duration, config: &CircuitBreaker, now: Instant) -> Self {
        let times = match self {
            Self::Closed { reopened, .. } => remembered(reopened, config, now),
            Self::Open { times, .. } | Self::HalfOpen { times } => times,
        };
        let until = now + wait.min(config.longest);
        match self {
            Self::Open { until: later, .. } if later >= until => self,
            _ => Self::Open { until, times },
        }
    }

    /// The one trial, if its time has come: nobody gets another until it is settled or
    /// given back.
    #[must_use]
    pub fn trial(self, now: Instant) -> Option<Self> {
        match self {
            Self::Open { until, times } if now >= until => Some(Self::HalfOpen { times }),
            _ => None,
        }
    }

    /// The trial ended.
    #[must_use]
    pub fn settled(self, failed: bool, config: &CircuitBreaker, now: Instant, lot: f64) -> Self {
        match self {
            Self::HalfOpen { times } if failed => Self::opened(times, config, now, lot),
            Self::HalfOpen { times } => Self::Closed {
                failures: 0,
                reopened: Some((now, times)),
            },
            _ => self,
        }
    }

    /// The trial was cancelled: the next request may try.
    #[must_use]
    pub fn given_back(self, now: Instant) -> Self {
        match self {
            Self::HalfOpen { times } => Self::Open { until: now, times },
            _ => self,
        }
    }

    /// When a trial may begin, while it is open and none is under way.
    #[must_use]
    pub fn next_trial(self) -> Option<Instant> {
        match self {
            Self::Open { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Requests go.
    #[must_use]
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// A stable word for programs: lower case, with underscores.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
        }
    }

    /// Open once more after `times` in a row: twice as long each time.
    fn opened(times: u32, config: &CircuitBreaker, now: Instant, lot: f64) -> Self {
        let doubled = config.open_for.saturating_mul(1 << times.min(20));
        let spread = 0.9 + 0.2 * lot.clamp(0.0, 1.0);
        Self::Open {
            until: now + doubled.mul_f64(spread).min(config.longest),
            times: times.saturating_add(1),
        }
    }
}

/// How often it opened in a row, unless that is long ago.
fn remembered(reopened: Option<(Instant, u32)>, config: &CircuitBreaker, now: Instant) -> u32 {
    let young = |at: Instant| now.saturating_duration_since(at) < config.longest;
    reopened.map_or(0, |(at, times)| if young(at) { times } else { 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds_open(circuit: Circuit, now: Instant) -> f64 {
        let until = circuit.next_trial().expect("it is open");
        until.duration_since(now).as_secs_f64()
    }

    #[test]
    fn every_failed_trial_doubles_the_time_up_to_the_longest() {
        let (config, mut now) = (CircuitBreaker::default(), crate::clock::now());
        let mut circuit = (0..5).fold(Circuit::default(), |it, _| {
            it.after(true, &config, now, 0.5)
        });
        let mut times = Vec::new();
        for _ in 0..6 {
            times.push(seconds_open(circuit, now).round() as u32);
            now = circuit.next_trial().unwrap();
            circuit = circuit.trial(now).unwrap().settled(true, &config, now, 0.5);
        }
        assert_eq!(times, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_flapping_endpoint_is_open_longer_each_time_and_a_good_while_forgives() {
        let (config, mut now) = (CircuitBreaker::default(), crate::clock::now());
        let fail = |it: Circuit, now| (0..5).fold(it, |it, _| it.after(true, &config, now, 0.5));
        let mut circuit = fail(Circuit::default(), now);
        for expected in [5.0, 10.0, 20.0] {
            assert!((seconds_open(circuit, now) - expected).abs() < 0.01);
            now += 30 * SECOND;
            circuit = circuit
                .trial(now)
                .unwrap()
                .settled(false, &config, now, 0.5);
            circuit = fail(circuit, now);
        }
        now += 60 * SECOND;
        circuit = circuit
            .trial(now)
            .unwrap()
            .settled(false, &config, now, 0.5);
        now += 61 * SECOND;
        assert!((seconds_open(fail(circuit, now), now) - 5.0).abs() < 0.01);
    }

    #[test]
    fn rest_that_was_asked_for_is_kept_and_bounded() {
        let (config, now) = (CircuitBreaker::default(), crate::clock::now());
        let rested = Circuit::default().rested(7 * SECOND, &config, now);
        assert!(rested.trial(now + 6 * SECOND).is_none());
        assert!(rested.trial(now + 7 * SECOND).is_some());
        assert_eq!(rested.rested(SECOND, &config, now), rested, "never shorter");
        let absurd = Circuit::default().rested(86_400 * SECOND, &config, now);
        assert!(absurd.trial(now + 60 * SECOND).is_some());
    }

    #[test]
    fn a_circuit_may_stay_open_for_ever() {
        let never = CircuitBreaker::default()
            .open_for(Duration::MAX)
            .longest(Duration::MAX);
        let now = crate::clock::now();
        let open = (0..5).fold(Circuit::default(), |it, _| it.after(true, &never, now, 1.0));
        assert!(open.trial(now + 86_400 * SECOND).is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Answer(bool),
        Trial,
        Settle(bool),
        GiveBack,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<bool>().prop_map(Step::Answer),
            2 => Just(Step::Trial),
            1 => any::<bool>().prop_map(Step::Settle),
            1 => Just(Step::GiveBack),
            2 => (0_u64..20_000).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever happens: never two trials at once, no trial before the time, an open
        /// circuit opens by a full row only, and no open time beyond the longest.
        #[test]
        fn one_trial_at_a_time_and_bounded_open_times(steps in prop::collection::vec(step(), 1..200)) {
            let config = CircuitBreaker::default();
            let (mut now, mut circuit) = (crate::clock::now(), Circuit::default());
            let (mut under_way, mut row) = (false, 0);
            for step in steps {
                let before = circuit;
                match step {
                    Step::Pass(millis) => now += Duration::from_millis(millis),
                    Step::Answer(failed) => {
                        circuit = circuit.after(failed, &config, now, 0.5);
                        if before.is_closed() {
                            row = if failed { row + 1 } else { 0 };
                            prop_assert_eq!(circuit.is_closed(), row < 5);
                        } else {
                            prop_assert_eq!(circuit, before);
                        }
                    }
                    Step::Trial => if let Some(trial) = circuit.trial(now) {
                        prop_assert!(!under_way && before.next_trial().unwrap() <= now);
                        (circuit, under_way) = (trial, true);
                    },
                    Step::Settle(failed) if under_way => {
                        circuit = circuit.settled(failed, &config, now, 0.5);
                        prop_assert_eq!(circuit.is_closed(), !failed);
                        (under_way, row) = (false, 0);
                    }
                    Step::GiveBack if under_way => {
                        circuit = circuit.given_back(now);
                        prop_assert!(circuit.trial(now).is_some(), "it can be taken at once");
                        under_way = false;
                    }
                    Step::Settle(_) | Step::GiveBack => {}
                }
                if let (true, Some(until)) = (before.next_trial().is_none(), circuit.next_trial()) {
                    prop_assert!(until <= now + config.longest);
                }
                if under_way {
                    prop_assert!(matches!(circuit, Circuit::HalfOpen { .. }), "half open");
                }
            }
        }
    }
}
