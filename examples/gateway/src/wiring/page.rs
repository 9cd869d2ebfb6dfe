//! Everything -> the page: one JSON object with what each part says of itself.

use lb_autoscale::Decision;
use lb_autoscale::run::Control;
use lb_cache::Stats;
use serde_json::{Value, json};

use crate::ledger::JobView;

/// The autoscaler, with the decisions that changed something, oldest first.
#[must_use]
pub fn scaling(control: &Control) -> Value {
    let (spec, latest) = (control.spec(), control.latest());
    json!({
        "min": spec.min_replicas(),
        "max": spec.max_replicas(),
        "current": latest.as_ref().map(|decision| decision.current),
        "desired": latest.as_ref().map(|decision| decision.desired),
        "why": latest.as_ref().map(|decision| decision.why()),
        "error": control.status().error,
        "decisions": changes(control).iter().map(|one| decision(one)).collect::<Vec<_>>(),
    })
}

/// Decisions that changed something, oldest first.
#[must_use]
pub fn changes(control: &Control) -> Vec<std::sync::Arc<Decision>> {
    let all = control.status().decisions.into_iter().rev();
    all.filter(|decision| decision.changes()).collect()
}

fn decision(decision: &Decision) -> Value {
    json!({
        "at": decision.at,
        "current": decision.current,
        "desired": decision.desired,
        "victims": decision.victims,
        "why": decision.why(),
    })
}

/// The cache in front of results.
#[must_use]
pub fn cache(stats: &Stats) -> Value {
    json!({
        "hits": stats.local.hits,
        "misses": stats.local.misses,
        "entries": stats.local.entries,
        "loads": stats.loads.started,
        "inserts": stats.inserts,
    })
}

/// The newest jobs.
#[must_use]
pub fn jobs(active: usize, newest: &[JobView]) -> Value {
    json!({ "active": active, "newest": newest })
}
