//! Named floors and ceilings around the exact decision.
//!
//! Kubernetes tools express schedules, fallbacks and forecasts as fake metrics,
//! and users pay with oscillation and answers nobody can explain. Here each is
//! a bound with a name. The exact decision comes first; then the lowest ceiling
//! and the highest floor move it, floors winning over ceilings, and the spec's
//! own bounds over both. So "why 12?" has a one-line answer, and the memory of
//! the exact engine is never polluted by a policy.
//!
//! | policy                         | says |
//! |--------------------------------|------|
//! | [`Schedule`] (feature `schedule`) | at least / at most so many at these times |
//! | [`Override`]                   | a human says so, for a limited time |
//! | [`Thresholds`]                 | proposes: up when one reading is high, down when all are low |
//! | [`Burst`]                      | a jump is followed at once, and nothing shrinks for a while |
//! | [`Forecast`]                   | the same hour of former days needed so many |
//! | [`ScaleToZero`]                | zero only when idle, back only for real demand |
//! | [`Cooldown`]                   | not again so soon |
//! | [`Budget`]                     | the month's money allows so many |
//! | minimum of healthy instances   | never fewer than this are ready |
//!
//! ```
//! use lb_autoscale::policy::Burst;
//! use lb_autoscale::spec::{Metric, Policy, ScalingRules, Spec};
//! use lb_autoscale::{Inputs, Observation, State, UnixMillis, decide};
//! use std::time::Duration;
//!
//! let slow = ScalingRules::default().policy(Policy::pods(1, Duration::from_secs(60)));
//! let spec = Spec::builder("api")
//!     .metric(Metric::external("rps").average_value(70.0))
//!     .scale_up(slow)
//!     .burst(Burst::default())
//!     .build()?;
//! let inputs = Inputs::new(4).observe("rps", Observation::value(560.0));
//! let decision = decide(&spec, &mut State::default(), &inputs, UnixMillis::from_secs(0));
//! assert_eq!(decision.desired, 8); // one per minute would have been 5
//! assert!(decision.why().contains("burst makes it 5 -> 8"), "{}", decision.why());
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

mod budget;
mod burst;
mod cooldown;
mod fallback;
pub mod forecast;
mod overrides;
#[cfg(feature = "schedule")]
mod schedule;
mod thresholds;
mod zero;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::hpa::reconcile::Verdict;
use crate::inputs::{Inputs, Phase, saturating_count};
use crate::spec::Spec;
use crate::state::State;

pub use budget::Budget;
pub use burst::Burst;
pub use cooldown::Cooldown;
pub(crate) use fallback::stand_in;
pub use forecast::{Forecast, ForecastMode};
pub use overrides::{Override, OverrideError, OverrideKind};
#[cfg(feature = "schedule")]
pub use schedule::Schedule;
pub(crate) use thresholds::propose;
pub use thresholds::{Level, Thresholds};
pub use zero::ScaleToZero;

/// All policies of a spec; none by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// Windows of time with bounds of their own.
    #[cfg(feature = "schedule")]
    pub schedules: Vec<Schedule>,
    /// High and low readings.
    pub thresholds: Option<Thresholds>,
    /// Following a jump at once.
    pub burst: Option<Burst>,
    /// Leaving and reaching zero.
    pub scale_to_zero: Option<ScaleToZero>,
    /// Pauses between changes.
    pub cooldown: Option<Cooldown>,
    /// Money.
    pub budget: Option<Budget>,
    /// What former days needed.
    pub forecast: Option<Forecast>,
    /// Shrinking never leaves fewer ready instances than this.
    pub min_healthy: Option<u32>,
}

/// What policies remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    pub(crate) manual: Option<Override>,
    pub(crate) burst_until: Option<UnixMillis>,
    pub(crate) idle_since: Option<UnixMillis>,
    pub(crate) last_up: Option<UnixMillis>,
    pub(crate) last_down: Option<UnixMillis>,
    pub(crate) spending: budget::Spending,
    pub(crate) forecast: forecast::Profile,
    pub(crate) metrics: BTreeMap<String, fallback::LastSeen>,
}

impl Memory {
    /// The clock was set back by this much.
    pub(crate) fn move_back(&mut self, back: Duration) {
        let times = [
            &mut self.burst_until,
            &mut self.idle_since,
            &mut self.last_up,
            &mut self.last_down,
        ];
        for time in times.into_iter().flatten() {
            *time = *time - back;
        }
        for seen in self.metrics.values_mut() {
            seen.move_back(back);
        }
    }
}

/// A named bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) side: Stage,
    pub(crate) name: Cow<'static, str>,
    pub(crate) replicas: u32,
    pub(crate) reason: Cow<'static, str>,
}

impl Bound {
    pub(crate) fn floor(
        name: impl Into<Cow<'static, str>>,
        replicas: u32,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            side: Stage::Floor,
            name: name.into(),
            replicas,
            reason: reason.into(),
        }
    }

    pub(crate) fn ceiling(
        name: impl Into<Cow<'static, str>>,
        replicas: u32,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            side: Stage::Ceiling,
            name: name.into(),
            replicas,
            reason: reason.into(),
        }
    }
}

/// Applies every policy to the exact verdict.
pub(crate) fn apply(
    spec: &Spec,
    state: &mut State,
    inputs: &Inputs,
    verdict: &Verdict,
    fallbacks: Vec<Bound>,
    now: UnixMillis,
    trace: &mut Trace,
) -> u32 {
    let policies = spec.policies();
    let memory = &mut state.memory;
    let switched_off = inputs.current == 0 && spec.min_replicas() != 0 && !inputs.fresh;
    let mut bounds = fallbacks;
    if switched_off {
        bounds.clear();
    } else {
        if let Some(burst) = &policies.burst {
            bounds.extend(burst.bound(&mut memory.burst_until, inputs, verdict, now));
        }
        if let Some(forecast) = &policies.forecast {
            bounds.extend(forecast.bound(&mut memory.forecast, inputs, now, trace));
        }
        if let Some(zero) = &policies.scale_to_zero {
            bounds.extend(zero.bound(&mut memory.idle_since, spec, inputs, now));
        }
        if let Some(budget) = &policies.budget {
            bounds.extend(budget.bound(&mut memory.spending, inputs.current, now, trace));
        }
        if let Some(cooldown) = &policies.cooldown {
            bounds.extend(cooldown.bounds(memory.last_up, memory.last_down, inputs.current, now));
        }
        #[cfg(feature = "schedule")]
        bounds.extend(
            policies
                .schedules
                .iter()
                .flat_map(|schedule| schedule.bounds(now)),
        );
        bounds.extend(policies.min_healthy.map(|fewest| healthy(fewest, inputs)));
    }
    let range = (spec.min_replicas(), spec.max_replicas());
    let mut desired = settle(verdict.desired, &bounds, range, trace);
    if let Some(manual) = overrides::in_force(&mut memory.manual, inputs.current, now, trace) {
        desired = settle(desired, &manual, range, trace);
    }
    if desired > inputs.current {
        memory.last_up = Some(now);
    } else if desired < inputs.current {
        memory.last_down = Some(now);
    }
    desired
}

/// The lowest ceiling, then the highest floor, then the spec's own bounds.
fn settle(desired: u32, bounds: &[Bound], (min, max): (u32, u32), trace: &mut Trace) -> u32 {
    let of = |side: Stage| bounds.iter().filter(move |bound| bound.side == side);
    let ceiling = of(Stage::Ceiling).min_by_key(|bound| bound.replicas);
    let floor = of(Stage::Floor).max_by_key(|bound| bound.replicas);
    let mut at = desired;
    for bound in ceiling.into_iter().chain(floor) {
        // A bound narrows; it never widens what the spec allows.
        let limit = bound.replicas.clamp(min, max);
        let moved = match bound.side {
            Stage::Ceiling => at.min(limit),
            _ => at.max(limit),
        };
        if moved != at {
            let numbers = [("bound", f64::from(bound.replicas))];
            trace.step(
                bound.side,
                bound.name.clone(),
                (at, moved),
                bound.reason.clone(),
                &numbers,
            );
            at = moved;
        }
    }
    at
}

/// As many may leave as are of no use anyway, plus the ready ones beyond the minimum.
fn healthy(fewest: u32, inputs: &Inputs) -> Bound {
    let healthy = inputs.healthy();
    let here = inputs
        .pods
        .iter()
        .filter(|pod| !pod.deleting && pod.phase != Phase::Failed);
    let useless = saturating_count(here.count()).saturating_sub(healthy);
    let may_leave = useless.saturating_add(healthy.saturating_sub(fewest));
    let stay = inputs.current.saturating_sub(may_leave).max(fewest);
    Bound::floor("min healthy", stay, "KeepHealthy")
}
