//! Whom to stop when shrinking.
//!
//! Kubernetes stops whom it likes, and users lose the job that had run for an
//! hour. Here the decision names the victims: first those that are of no use
//! (failed, pending, unready) or already draining, then the idlest, and among
//! equals one from the fullest zone, the youngest first.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::decision::{Stage, Trace};
use crate::inputs::{Inputs, Phase, Pod, saturating_count};

/// So many are named in the trace; the list of victims has them all.
const NAMED: usize = 3;

/// O(n log n) in the pods when shrinking; nothing is looked at otherwise.
pub(crate) fn choose(inputs: &Inputs, desired: u32, trace: &mut Trace) -> Vec<String> {
    if desired >= inputs.current {
        return Vec::new();
    }
    let mut staying: Vec<&Pod> = inputs.pods.iter().filter(|pod| !pod.deleting).collect();
    let surplus = saturating_count(staying.len()).saturating_sub(desired) as usize;
    if surplus == 0 {
        return Vec::new();
    }
    staying.sort_unstable_by(|a, b| by_rank(a, b));
    let mut zones: HashMap<&str, usize> = HashMap::new();
    for pod in &staying {
        *zones.entry(zone(pod)).or_default() += 1;
    }
    let mut victims = Vec::with_capacity(surplus);
    for equals in staying.chunk_by(|a, b| usefulness(a) == usefulness(b)) {
        if victims.len() == surplus {
            break;
        }
        take(equals, surplus, &mut zones, &mut victims);
    }
    note(&victims, staying.len(), trace);
    victims.iter().map(|pod| pod.name.to_string()).collect()
}

/// Takes from pods of equal use, the youngest first, always one from the zone
/// that has most pods left, until there are `surplus` victims.
fn take<'a>(
    equals: &[&'a Pod],
    surplus: usize,
    zones: &mut HashMap<&'a str, usize>,
    victims: &mut Vec<&'a Pod>,
) {
    let mut queues: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (index, pod) in equals.iter().enumerate() {
        queues.entry(zone(pod)).or_default().push_back(index);
    }
    let count = |zones: &HashMap<&str, usize>, index: usize| {
        zones.get(zone(equals[index])).copied().unwrap_or_default()
    };
    // A zone's count changes only when it is taken from, so no entry is ever out of date.
    let mut fullest: BinaryHeap<(usize, Reverse<usize>)> = queues
        .values_mut()
        .filter_map(VecDeque::pop_front)
        .map(|index| (count(zones, index), Reverse(index)))
        .collect();
    while victims.len() < surplus
        && let Some((_, Reverse(index))) = fullest.pop()
    {
        let victim = equals[index];
        victims.push(victim);
        if let Some(left) = zones.get_mut(zone(victim)) {
            *left -= 1;
        }
        let next = queues.get_mut(zone(victim)).and_then(VecDeque::pop_front);
        fullest.extend(next.map(|next| (count(zones, next), Reverse(next))));
    }
}

fn note(victims: &[&Pod], before: usize, trace: &mut Trace) {
    let mut names: Vec<&str> = victims.iter().take(NAMED).map(|pod| &*pod.name).collect();
    let more = match victims.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("{more} more"),
    };
    if !more.is_empty() {
        names.push(&more);
    }
    let work = victims.iter().filter_map(|pod| pod.active_work);
    let span = (
        saturating_count(before),
        saturating_count(before - victims.len()),
    );
    let numbers = [("active_work", work.map(f64::from).sum())];
    trace.step(
        Stage::Victims,
        names.join(", "),
        span,
        "LeastUseful",
        &numbers,
    );
}

/// The least useful first; among equals the youngest, then by name.
fn by_rank(a: &Pod, b: &Pod) -> Ordering {
    let key = |pod: &Pod| (usefulness(pod), Reverse(pod.started_at));
    key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
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
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::UnixMillis;

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

    /// What is fast agrees with what is obvious: look at all that stay, again and again.
    fn one_by_one(pods: &[Pod], desired: usize) -> Vec<String> {
        let mut staying: Vec<&Pod> = pods.iter().collect();
        staying.sort_by(|a, b| by_rank(a, b));
        let mut victims = Vec::new();
        while staying.len() > desired {
            let crowd = |pod: &Pod| {
                staying
                    .iter()
                    .filter(|other| zone(other) == zone(pod))
                    .count()
            };
            let equals = staying
                .iter()
                .take_while(|pod| usefulness(pod) == usefulness(staying[0]));
            let fullest = equals
                .enumerate()
                .max_by_key(|(index, pod)| (crowd(pod), Reverse(*index)));
            let index = fullest.map_or(0, |(index, _)| index);
            victims.push(staying.remove(index).name.to_string());
        }
        victims
    }

    fn pods() -> impl Strategy<Value = Vec<Pod>> {
        let pod = (0..4_usize, 0..3_u32, 0..3_i64, any::<bool>());
        proptest::collection::vec(pod, 1..30).prop_map(|pods| {
            let named = (0..).zip(pods);
            let build = |(n, (zone, work, age, draining)): (u32, (usize, u32, i64, bool))| {
                let mut pod = Pod::ready(format!("p{n}")).active_work(work);
                pod.zone = ["a", "b", "c"].get(zone).map(|zone| Arc::from(*zone));
                pod.started_at = Some(UnixMillis::from_secs(age));
                pod.draining = draining;
                pod
            };
            named.map(build).collect()
        })
    }

    proptest! {
        #[test]
        fn the_same_go_as_when_each_is_chosen_by_looking_at_all(pods in pods(), desired in 0..30_u32) {
            let slowly = one_by_one(&pods, desired as usize);
            prop_assert_eq!(chosen(pods, desired), slowly);
        }
    }

    #[test]
    fn a_trace_names_a_few_and_counts_the_others() {
        let pods = (0..1_000).map(|n| Pod::ready(format!("p{n:03}")).active_work(1));
        let mut trace = Trace::default();
        let victims = choose(&Inputs::new(1_000).pods(pods), 10, &mut trace);
        let steps = trace.into_steps();
        assert_eq!((victims.len(), steps.len()), (990, 1));
        assert_eq!(steps[0].rule, "p000, p001, p002, 987 more");
        assert_eq!(steps[0].numbers, [("active_work".into(), 990.0)]);
    }

    #[test]
    fn nobody_goes_when_the_count_stays() {
        assert!(chosen(vec![Pod::ready("a"), Pod::pending("b")], 2).is_empty());
    }
}
