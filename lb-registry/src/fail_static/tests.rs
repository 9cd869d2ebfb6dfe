//! Laws of protection.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::now;

fn set(ids: &[u8]) -> Vec<Instance> {
    ids.iter()
        .map(|id| Instance::new("s", format!("i{id}"), "10.0.0.1", 80))
        .collect()
}

fn ids(guard: &FailStatic, at: Instant) -> Vec<String> {
    guard
        .view(at)
        .instances
        .iter()
        .map(|one| one.id.clone())
        .collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn an_empty_answer_is_believed_only_when_it_is_repeated_after_the_grace() {
    let start = now();
    let mut guard = FailStatic::new(Settings::default());
    guard.observe(Answer::Instances(set(&[1])), start);
    for second in [0, 3, 9] {
        guard.observe(Answer::Instances(vec![]), start + seconds(second));
        assert_eq!(ids(&guard, start), ["i1"], "after {second} s");
    }
    assert_eq!(guard.confirm_at(), Some(start + seconds(10)));
    guard.observe(Answer::Instances(vec![]), start + seconds(10));
    assert!(ids(&guard, start + seconds(10)).is_empty());
}

#[test]
fn without_confirmation_one_empty_answer_empties_the_set() {
    let start = now();
    let mut guard = FailStatic::new(Settings {
        empty_grace: Duration::ZERO,
        ..Settings::default()
    });
    guard.observe(Answer::Instances(set(&[1])), start);
    guard.observe(Answer::Instances(vec![]), start);
    assert!(ids(&guard, start).is_empty());
}

#[test]
fn when_most_instances_vanish_at_once_they_stay_as_warning_for_a_while() {
    let start = now();
    let mut guard = FailStatic::new(Settings::default());
    guard.observe(Answer::Instances(set(&[1, 2, 3, 4])), start);
    guard.observe(Answer::Instances(set(&[1])), start);
    let view = guard.view(start);
    assert_eq!(view.held, 3);
    let states: Vec<Status> = view.instances.iter().map(|one| one.status).collect();
    assert_eq!(
        states,
        [
            Status::Passing,
            Status::Warning,
            Status::Warning,
            Status::Warning
        ]
    );
    assert_eq!(guard.deadline(), Some(start + seconds(30)));
    guard.tick(start + seconds(30));
    assert_eq!(ids(&guard, start + seconds(30)), ["i1"]);
}

#[test]
fn what_a_registry_without_memory_loses_stays_for_the_grace() {
    let start = now();
    let mut guard = FailStatic::new(Settings::default());
    guard.observe(Answer::Instances(set(&[1, 2])), start);
    guard.lost_memory(start);
    guard.observe(Answer::Instances(vec![]), start);
    guard.observe(Answer::Instances(set(&[1])), start + seconds(1));
    assert_eq!(ids(&guard, start + seconds(1)), ["i1", "i2"]);
    guard.tick(start + seconds(31));
    assert_eq!(ids(&guard, start + seconds(31)), ["i1"]);
}

#[test]
fn losing_a_few_is_believed_at_once() {
    let start = now();
    let mut guard = FailStatic::new(Settings::default());
    guard.observe(Answer::Instances(set(&[1, 2, 3, 4])), start);
    guard.observe(Answer::Instances(set(&[1, 2])), start);
    assert_eq!(ids(&guard, start), ["i1", "i2"]);
}

#[test]
fn a_denial_raises_the_alarm_until_a_list_comes() {
    let start = now();
    let mut guard = FailStatic::new(Settings::default());
    guard.observe(Answer::Instances(set(&[1])), start);
    guard.observe(Answer::Denied, start);
    assert!(guard.view(start).denied);
    guard.observe(Answer::Failed, start);
    assert!(guard.view(start).denied);
    guard.observe(Answer::Instances(set(&[1])), start);
    assert!(!guard.view(start).denied);
}

#[test]
fn protection_ends() {
    let start = now();
    let mut guard = FailStatic::new(Settings {
        stale_max: seconds(60),
        ..Settings::default()
    });
    guard.observe(Answer::Instances(set(&[1])), start);
    guard.observe(Answer::Failed, start);
    guard.observe(Answer::Failed, start + seconds(59));
    assert_eq!(ids(&guard, start), ["i1"]);
    guard.tick(start + seconds(60));
    assert!(ids(&guard, start + seconds(60)).is_empty());
}

#[test]
fn an_instance_that_comes_and_goes_is_left_out_but_never_the_last_one() {
    let start = now();
    let flapping = |others: &[u8]| {
        let mut guard = FailStatic::new(Settings::default());
        for _ in 0..4 {
            guard.observe(Answer::Instances(set(&[&[9], others].concat())), start);
            guard.observe(Answer::Instances(set(&[&[8], others].concat())), start);
        }
        guard.observe(Answer::Instances(set(&[&[9], others].concat())), start);
        guard
    };
    assert_eq!(ids(&flapping(&[1]), start), ["i1"]);
    assert_eq!(ids(&flapping(&[]), start), ["i9"]);
    let mut guard = flapping(&[1]);
    let mut later = start;
    while let Some(deadline) = guard.deadline() {
        assert!(deadline > later, "no deadline is in the past");
        later = deadline;
        guard.tick(later);
    }
    assert_eq!(ids(&guard, later), ["i1", "i9"]);
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Failed),
        Just(Answer::Denied),
        prop::collection::btree_set(0u8..8, 0..8)
            .prop_map(|ids| Answer::Instances(set(&ids.into_iter().collect::<Vec<_>>()))),
    ]
}

proptest! {
    /// Without a believable list no instance goes, however long and in whichever order failures come.
    #[test]
    fn failures_never_remove_an_instance(
        first in prop::collection::btree_set(0u8..8, 1..8),
        failures in prop::collection::vec((any::<bool>(), 0u64..600), 0..40),
    ) {
        let mut at = now();
        let mut guard = FailStatic::new(Settings::default());
        guard.observe(Answer::Instances(set(&first.into_iter().collect::<Vec<_>>())), at);
        let before = ids(&guard, at);
        for (denied, pause) in failures {
            at += seconds(pause);
            guard.observe(if denied { Answer::Denied } else { Answer::Failed }, at);
            prop_assert_eq!(&ids(&guard, at), &before);
        }
    }

    /// After any history, once the registry says the same for long enough, that is what is published: no ghost
    /// stays, nobody is missing.
    #[test]
    fn in_the_end_the_set_is_what_the_registry_says(
        history in prop::collection::vec((answer(), 0u64..40), 0..40),
        last in prop::collection::btree_set(0u8..8, 0..8),
    ) {
        let mut at = now();
        let mut guard = FailStatic::new(Settings::default());
        for (answer, pause) in history {
            guard.observe(answer, at);
            at += seconds(pause);
        }
        let last = set(&last.into_iter().collect::<Vec<_>>());
        for _ in 0..3 {
            guard.observe(Answer::Instances(last.clone()), at);
            at += seconds(600);
        }
        guard.tick(at);
        let expected: Vec<String> = last.iter().map(|one| one.id.clone()).collect();
        prop_assert_eq!(ids(&guard, at), expected);
        prop_assert_eq!(guard.view(at).doubted_since, None);
        prop_assert_eq!(guard.deadline(), None);
    }

    /// As long as the latest list names somebody, somebody is published.
    #[test]
    fn a_list_with_somebody_never_leads_to_nobody(history in prop::collection::vec((answer(), 0u64..40), 1..40)) {
        let mut at = now();
        let mut guard = FailStatic::new(Settings::default());
        let mut somebody = false;
        for (answer, pause) in history {
            if let Answer::Instances(list) = &answer && !list.is_empty() {
                somebody = true;
            }
            let confirmed = matches!(&answer, Answer::Instances(list) if list.is_empty());
            guard.observe(answer, at);
            let shown = !ids(&guard, at).is_empty();
            prop_assert!(shown || !somebody || confirmed);
            somebody &= shown;
            at += seconds(pause);
        }
    }

    /// With everything off, the set is always the latest list.
    #[test]
    fn switched_off_it_believes_everything(history in prop::collection::vec((answer(), 0u64..40), 1..40)) {
        let mut at = now();
        let mut guard = FailStatic::new(Settings::off());
        for (answer, pause) in history {
            at += seconds(pause);
            guard.observe(answer.clone(), at);
            guard.tick(at);
            let expected = match answer {
                Answer::Instances(list) => list.into_iter().map(|one| one.id).collect(),
                Answer::Failed | Answer::Denied => Vec::new(),
            };
            prop_assert_eq!(ids(&guard, at), expected);
        }
    }
}

#[test]
fn a_time_without_end_and_a_threshold_of_zero_are_settings_like_others() {
    let start = now();
    let forever = Settings {
        empty_grace: Duration::MAX,
        drop_grace: Duration::MAX,
        stale_max: Duration::MAX,
        flap: flap::FlapSettings {
            reuse: 0.0,
            ..flap::FlapSettings::default()
        },
        ..Settings::default()
    };
    let mut guard = FailStatic::new(forever);
    let answers = [
        set(&[1, 2, 3, 4, 5, 6]),
        set(&[1]),
        set(&[1, 2, 3, 4, 5, 6]),
        vec![],
    ];
    for (second, answer) in (0..).zip(answers.iter().cycle().take(20)) {
        guard.observe(Answer::Instances(answer.clone()), start + seconds(second));
    }
    assert!(!ids(&guard, start + seconds(86_400)).is_empty());
}
