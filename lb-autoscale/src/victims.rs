//! Whom to stop when shrinking.
//!
//! Kubernetes stops whom it likes, and users lose the job that had run for an
//! hour. Here the decision names the victims: first those that are of no use
//! (failed, pending, unready) or already draining, then the idlest, and among
//! equals one from the fullest zone, the youngest first.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::inputs::{Inputs, Phase, Pod, saturating_count};

/// So many are named in the trace; the list of victims has them all.
const NAMED: usize = 3;

/// A pod that stays so far: what the order goes by, in a compact row.
struct Row<'a> {
    usefulness: Usefulness,
    started: Reverse<Option<UnixMillis>>,
    /// Index of its zone.
    zone: usize,
    pod: &'a Pod,
}

/// Ordered: the least useful first. Unknown work counts as idle only among
/// pods that report nothing at all.
type Usefulness = (bool, bool, u32);

/// O(n log n) in the pods when shrinking, O(n) if they come in the order in which
/// they would go; nothing is looked at otherwise.
pub(crate) fn choose(inputs: &Inputs, desired: u32, trace: &mut Trace) -> Vec<String> {
    if desired >= inputs.current {
        return Vec::new();
    }
    let (mut staying, mut zones) = rows(&inputs.pods);
    let surplus = saturating_count(staying.len()).saturating_sub(desired) as usize;
    if surplus == 0 {
        return Vec::new();
    }
    staying.sort_unstable_by(Row::by_rank);
    let mut victims = Vec::with_capacity(surplus);
    for equals in staying.chunk_by(|a, b| a.usefulness == b.usefulness) {
        if victims.len() == surplus {
            break;
        }
        take(equals, surplus, &mut zones, &mut victims);
    }
    note(&victims, staying.len(), trace);
    victims.iter().map(|pod| String::from(&*pod.name)).collect()
}

/// All that are not leaving anyway, and how many each zone has.
fn rows(pods: &[Pod]) -> (Vec<Row<'_>>, Vec<usize>) {
    let mut indices: HashMap<&str, usize> = HashMap::new();
    let mut counts = Vec::new();
    let mut last: Option<(&str, usize)> = None;
    let mut rows = Vec::with_capacity(pods.len());
    for pod in pods.iter().filter(|pod| !pod.deleting) {
        let name = pod.zone.as_deref().unwrap_or_default();
        let zone = match last {
            Some((same, zone)) if same == name => zone,
            _ => *indices.entry(name).or_insert_with(|| {
                counts.push(0);
                counts.len() - 1
            }),
        };
        last = Some((name, zone));
        counts[zone] += 1;
        rows.push(Row {
            usefulness: usefulness(pod),
            started: Reverse(pod.started_at),
            zone,
            pod,
        });
    }
    (rows, counts)
}

/// Takes from pods of equal use, the youngest first, always one from the zone
/// that has most pods left, until there are `surplus` victims.
fn take<'a>(equals: &[Row<'a>], surplus: usize, zones: &mut [usize], victims: &mut Vec<&'a Pod>) {
    // Per zone its first, per pod the next of its zone.
    let mut first = vec![None; zones.len()];
    let mut next = vec![None; equals.len()];
    for (index, row) in equals.iter().enumerate().rev() {
        next[index] = first[row.zone].replace(index);
    }
    // A zone's count changes only when it is taken from, so no entry is ever out of date.
    let mut fullest: BinaryHeap<(usize, Reverse<usize>)> = first
        .into_iter()
        .flatten()
        .map(|index| (zones[equals[index].zone], Reverse(index)))
        .collect();
    while victims.len() < surplus
        && let Some((_, Reverse(index))) = fullest.pop()
    {
        let row = &equals[index];
        victims.push(row.pod);
        zones[row.zone] -= 1;
        fullest.extend(next[index].map(|next| (zones[row.zone], Reverse(next))));
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

fn usefulness(pod: &Pod) -> Usefulness {
    let works = pod.phase == Phase::Running && pod.ready != Some(false);
    (works, !pod.draining, pod.active_work.unwrap_or(0))
}

// === impl Row ===

impl Row<'_> {
    /// The least useful first; among equals the youngest, then by name.
    fn by_rank(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.usefulness, row.started);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.pod.name.cmp(&other.pod.name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

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

    /// What is fast agrees with what is obvious: look at all that stay, again and again.
    fn one_by_one(pods: &[Pod], desired: usize) -> Vec<String> {
        let mut staying = rows(pods).0;
        staying.sort_by(Row::by_rank);
        let mut victims = Vec::new();
        while staying.len() > desired {
            let crowd = |pod: &Pod| {
                staying
                    .iter()
                    .filter(|other| other.pod.zone == pod.zone)
                    .count()
            };
            let equals = staying
                .iter()
                .take_while(|row| usefulness(row.pod) == usefulness(staying[0].pod));
            let fullest = equals
                .enumerate()
                .max_by_key(|(index, row)| (crowd(row.pod), Reverse(*index)));
            let index = fullest.map_or(0, |(index, _)| index);
            victims.push(staying.remove(index).pod.name.to_string());
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
