//! Everything -> the page: one JSON object with what each part says of itself.

use lb_autoscale::decision::Stage;
use lb_autoscale::run::Control;
use lb_autoscale::{Decision, explain};
use lb_cache::Stats;
use serde_json::{Value, json};

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
        "why": why(decision),
    })
}

/// Who asked for how many, and each rule that made something else of it, in words.
#[must_use]
pub fn why(decision: &Decision) -> String {
    let told = decision.trace.iter().filter_map(|step| match step.stage {
        Stage::Combine => Some(format!("{} asks for {}", step.rule, step.after)),
        Stage::Metric | Stage::Victims => None,
        _ if step.before == step.after => None,
        _ => Some(explain::words(step)),
    });
    told.collect::<Vec<_>>().join("; ")
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lb_autoscale::Autoscaler;
    use lb_autoscale::actuator::DryRun;

    use super::*;
    use crate::ledger::MemoryLedger;
    use crate::wiring::load;

    #[tokio::test]
    async fn only_decisions_that_changed_something_are_shown() {
        let source = load::source(Arc::new(MemoryLedger::default()), || None);
        let autoscaler = Autoscaler::new(load::spec(false).unwrap(), source, DryRun::new(1)).run();
        autoscaler.next_decision().await;
        autoscaler.poke();
        autoscaler.next_decision().await;
        let shown = scaling(&autoscaler);
        assert_eq!(autoscaler.status().decisions.len(), 2);
        assert_eq!(shown["decisions"].as_array().unwrap().len(), 1, "{shown}");
        assert_eq!((&shown["min"], &shown["desired"]), (&json!(3), &json!(3)));
        let why = shown["decisions"][0]["why"].as_str().unwrap();
        let codes = ["ValidMetricFound", "OutOfBounds", "TooFewReplicas"];
        assert!(
            !why.is_empty() && !codes.iter().any(|code| why.contains(code)),
            "{why}"
        );
    }
}
