//! What is claimed of the demand preset, held against what was measured.

use lb_autoscale::sim::Outcome;

/// One trace: the Kubernetes HPA, the likes of KPA, and ours.
pub(crate) struct Measured {
    pub(crate) trace: String,
    pub(crate) hpa: Outcome,
    pub(crate) kpa: Outcome,
    pub(crate) ours: Outcome,
}

/// The claims that do not hold, in words.
pub(crate) fn broken(all: &[Measured]) -> Vec<String> {
    let mut broken = Vec::new();
    for Measured {
        trace,
        hpa,
        kpa,
        ours,
    } in all
    {
        if ours.instance_hours > hpa.instance_hours {
            broken.push(format!("{trace}: costs more instance-hours than the HPA"));
        }
        if ours.slo_miss_percent > hpa.slo_miss_percent {
            broken.push(format!("{trace}: misses more than the HPA"));
        }
        if ours.changes * 4 > kpa.changes {
            broken.push(format!("{trace}: more than a quarter of KPA's changes"));
        }
    }
    let much_better = all
        .iter()
        .filter(|one| one.ours.slo_miss_percent <= 0.7 * one.hpa.slo_miss_percent);
    let count = much_better.count();
    if count * 2 < all.len() {
        broken.push(format!(
            "at most 0.7 x the HPA's misses on {count} of {} traces only",
            all.len()
        ));
    }
    broken
}
