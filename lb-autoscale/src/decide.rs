//! The decision itself.

use crate::UnixMillis;
use crate::decision::{Condition, Decision, Reason, Trace};
use crate::hpa::reconcile::{Proposals, ask_all, reconcile};
use crate::inputs::Inputs;
use crate::policy;
use crate::spec::{EffectiveRules, Spec};
use crate::state::State;
use crate::victims;

/// How many replicas should there be, and why?
///
/// A pure function of its arguments: no clock, no randomness, no IO. `state`
/// afterwards remembers the proposal and, assuming that the caller acts, the
/// change; to see what would happen without deciding, pass a clone.
///
/// O(pods x metrics). See the [crate's page](crate) for an example.
#[must_use]
pub fn decide(spec: &Spec, state: &mut State, inputs: &Inputs, now: UnixMillis) -> Decision {
    let mut trace = Trace::default();
    state.advance(now, &mut trace);
    let mut votes = ask_all(spec, inputs, now, &mut trace);
    let fallbacks = policy::stand_in(spec, state, &mut votes, now, &mut trace);
    let thresholds = policy::propose(spec, inputs, &mut trace).map(|count| ("thresholds", count));
    let proposals = Proposals {
        votes: &votes,
        extra: thresholds,
    };
    let verdict = reconcile(
        spec,
        &mut state.history,
        inputs,
        &proposals,
        now,
        &mut trace,
    );
    let desired = policy::apply(spec, state, inputs, &verdict, fallbacks, now, &mut trace);
    let current = inputs.current;
    let mut conditions = verdict.conditions;
    if desired != current {
        conditions.able_to_scale = Condition::new(true, Reason::SucceededRescale);
        record(spec, state, current, desired, now);
    }
    let victims = victims::choose(inputs, desired, &mut trace);
    Decision {
        at: now,
        current,
        desired,
        victims,
        conditions,
        metrics: verdict.metrics,
        error: verdict.error,
        trace: trace.into_steps(),
    }
}

/// Remembers a change for the policies that look back. Without a behavior
/// block nothing looks back.
fn record(spec: &Spec, state: &mut State, current: u32, desired: u32, now: UnixMillis) {
    let Some(behavior) = spec.behavior() else {
        return;
    };
    let (events, longest) = if desired > current {
        let rules = EffectiveRules::scale_up(&behavior.scale_up);
        (&mut state.history.scale_ups, rules.longest_period_seconds())
    } else {
        let rules = EffectiveRules::scale_down(&behavior.scale_down, 0);
        (
            &mut state.history.scale_downs,
            rules.longest_period_seconds(),
        )
    };
    events.record(desired.abs_diff(current), longest, now);
}
