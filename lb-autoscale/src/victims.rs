//! Whom to stop when shrinking.
//!
//! Kubernetes stops whom it likes, and users lose the job that had run for an
//! hour. Here the decision names the victims: first those that are of no use
//! (failed, pending, unready) or already draining, then the idlest, and among
//! equals one from the fullest zone, the youngest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::decision::{Stage, Trace};
use crate::inputs::{Inputs, Phase, Pod, saturating_count};

pub(crate) fn choose(inputs: &Inputs, desired: u32, trace: &mut Trace) -> Vec<String> {
    let mut staying: Vec<&Pod> = inputs.pods.iter().filter(|pod| !pod.deleting).collect();
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in &staying {
        *zones.entry(zone(pod)).or_default() += 1;
    }
    let mut victims = Vec::new();
    if desired >= inputs.current {
        return victims;
    }
    staying.sort_by_key(|pod| (usefulness(pod), Reverse(pod.started_at), pod.name.clone()));
    while saturating_count(staying.len()) > desired {
        // The list is sorted, so the equals of the least useful come first.
        let least = usefulness(staying[0]);
        let fullest = staying
            .iter()
            .take_while(|pod| usefulness(pod) == least)
            .enumerate()
            .max_by_key(|(index, pod)| (zones.get(zone(pod)).copied(), Reverse(*index)))
            .map_or(0, |(index, _)| index);
        let victim = staying.remove(fullest);
        if let Some(count) = zones.get_mut(zone(victim)) {
            *count -= 1;
        }
        let work = f64::from(victim.active_work.unwrap_or(0));
        let rule = victim.name.to_string();
        let span = (
            saturating_count(staying.len()) + 1,
            saturating_count(staying.len()),
        );
        trace.step(
            Stage::Victims,
            rule.clone(),
            span,
            "LeastUseful",
            &[("active_work", work)],
        );
        victims.push(rule);
    }
    victims
}

/// Ordered: the least useful first. Unknown work counts as idle only among
/// pods that report nothing at all.
fn usefulness(pod: &Pod) -> (bool, bool, u32) {
    let works = pod.phase == Phase::Running && pod.ready != Some(false);
    (works, !pod.draining, pod.active_work.unwrap_or(0))
}

fn zone(pod: &Pod) -> &str {
    pod.zone.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(pods: Vec<Pod>, desired: u32) -> Vec<String> {
        let current = saturating_count(pods.len());
        choose(
            &Inputs::new(current).pods(pods),
            desired,
            &mut Trace::default(),
        )
    }

    #[test]
    fn the_idlest_goes_first() {
        let pods =
            [("a", 3), ("b", 0), ("c", 1)].map(|(name, work)| Pod::ready(name).active_work(work));
        assert_eq!(chosen(pods.to_vec(), 1), ["b", "c"]);
    }

    #[test]
    fn one_that_is_of_no_use_goes_before_an_idle_one() {
        let mut draining = Pod::ready("draining").active_work(9);
        draining.draining = true;
        let pods = vec![Pod::ready("idle"), draining, Pod::pending("pending")];
        assert_eq!(chosen(pods, 1), ["pending", "draining"]);
    }

    #[test]
    fn the_fullest_zone_loses_one_first() {
        let pods =
            [("a1", "a"), ("b1", "b"), ("b2", "b")].map(|(name, zone)| Pod::ready(name).zone(zone));
        assert_eq!(chosen(pods.to_vec(), 2), ["b1"]);
        assert_eq!(chosen(pods.to_vec(), 1), ["b1", "a1"]);
    }

    #[test]
    fn nobody_goes_when_the_count_stays() {
        assert!(chosen(vec![Pod::ready("a"), Pod::pending("b")], 2).is_empty());
    }
}
