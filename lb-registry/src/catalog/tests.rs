//! Laws of the catalog.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn ttl(seconds: u64) -> CheckDefinition {
    CheckDefinition::new(CheckKind::Ttl {
        ttl: Duration::from_secs(seconds),
    })
}

fn put(catalog: &mut Catalog, name: &str, id: &str, checks: Vec<CheckDefinition>, now: Instant) {
    catalog
        .register(ServiceDefinition::new(name, id), checks, false, now)
        .expect("there is room");
}

#[test]
fn a_change_of_another_service_does_not_move_an_index() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    put(&mut catalog, "a", "a1", vec![], now);
    let before = catalog.indexes().service("a");
    put(&mut catalog, "b", "b1", vec![ttl(10)], now);
    assert_eq!(catalog.indexes().service("a"), before);
    catalog.deregister("a1", now).expect("it is registered");
    assert!(catalog.indexes().service("a") > before);
}

#[test]
fn registering_the_same_again_moves_no_index() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    put(&mut catalog, "a", "a1", vec![ttl(10)], now);
    let before = catalog.indexes().last();
    put(&mut catalog, "a", "a1", vec![ttl(10)], now);
    assert_eq!(catalog.indexes().last(), before);
}

#[test]
fn a_new_text_without_a_new_status_wakes_nobody() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    put(
        &mut catalog,
        "a",
        "a1",
        vec![ttl(10).status(CheckStatus::Passing)],
        now,
    );
    let before = catalog.indexes().last();
    catalog
        .report("service:a1", CheckStatus::Passing, "still fine", now)
        .expect("it is a TTL check");
    assert_eq!(catalog.indexes().last(), before);
    assert_eq!(
        catalog
            .check("service:a1")
            .map(|check| check.output.as_str()),
        Some("still fine")
    );
}

#[test]
fn registering_again_keeps_the_known_state() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    put(&mut catalog, "a", "a1", vec![ttl(10)], now);
    catalog
        .report("service:a1", CheckStatus::Passing, "", now)
        .expect("it is a TTL check");
    put(&mut catalog, "a", "a1", vec![ttl(10)], now);
    assert_eq!(
        catalog.check("service:a1").map(|check| check.status),
        Some(CheckStatus::Passing)
    );
}

#[test]
fn a_service_that_stays_critical_is_removed_after_at_least_a_minute() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    put(
        &mut catalog,
        "a",
        "a1",
        vec![ttl(1).deregister_after(Duration::from_secs(1))],
        now,
    );
    assert!(
        catalog
            .tick(now + Duration::from_secs(59))
            .reaped
            .is_empty()
    );
    assert_eq!(catalog.tick(now + Duration::from_secs(60)).reaped, ["a1"]);
    assert!(catalog.service("a1").is_none());
}

#[test]
fn a_probe_is_handed_out_once_until_its_answer_comes() {
    let now = crate::clock::now();
    let kind = CheckKind::Tcp {
        address: "127.0.0.1:1".into(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
    };
    let mut catalog = Catalog::default();
    put(
        &mut catalog,
        "a",
        "a1",
        vec![CheckDefinition::new(kind)],
        now,
    );
    let soon = now + Duration::from_secs(1);
    let due = catalog.tick(soon).probes;
    assert_eq!(due.len(), 1);
    assert!(catalog.tick(soon).probes.is_empty());
    let outcome = Outcome {
        status: CheckStatus::Passing,
        output: String::new(),
    };
    catalog.probed(&due[0], &outcome, soon);
    assert_eq!(
        catalog.check("service:a1").map(|check| check.status),
        Some(CheckStatus::Passing)
    );
    assert_eq!(catalog.tick(soon + Duration::from_secs(10)).probes.len(), 1);
}

#[test]
fn the_limit_on_services_refuses_the_next_one_and_changes_nothing() {
    let now = crate::clock::now();
    let mut catalog = Catalog::new(Limits {
        services: 1,
        ..Limits::default()
    });
    put(&mut catalog, "a", "a1", vec![], now);
    let before = catalog.save();
    let refused = catalog.register(ServiceDefinition::new("a", "a2"), vec![], false, now);
    assert_eq!(
        refused,
        Err(CatalogError::Full {
            what: "services",
            limit: 1
        })
    );
    assert_eq!(catalog.save(), before);
}

#[test]
fn a_lock_is_exclusive_until_its_session_ends() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    for id in ["s1", "s2"] {
        let mut session = Session::new(id, now);
        session.lock_delay = Duration::ZERO;
        catalog.create_session(session).expect("there is room");
    }
    let lock = |session, catalog: &mut Catalog| {
        catalog
            .put_key("lead", vec![], 0, KvWrite::Acquire(session), now)
            .expect("the session lives")
    };
    assert!(lock("s1", &mut catalog));
    assert!(!lock("s2", &mut catalog));
    catalog.destroy_session("s1", now);
    assert!(lock("s2", &mut catalog));
}

#[derive(Clone, Debug)]
enum Step {
    Register { service: u8, id: u8, checked: bool },
    Deregister { id: u8 },
    Report { id: u8, status: u8 },
    Maintenance { id: u8, on: bool },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..3, 0u8..5, any::<bool>()).prop_map(|(service, id, checked)| Step::Register {
            service,
            id,
            checked
        }),
        (0u8..5).prop_map(|id| Step::Deregister { id }),
        (0u8..5, 0u8..3).prop_map(|(id, status)| Step::Report { id, status }),
        (0u8..5, any::<bool>()).prop_map(|(id, on)| Step::Maintenance { id, on }),
        (0u64..90).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// Does one step; refusals are fine, they must only leave the catalog consistent.
fn apply(catalog: &mut Catalog, step: &Step, now: &mut Instant) {
    const STATES: [CheckStatus; 3] = [
        CheckStatus::Passing,
        CheckStatus::Warning,
        CheckStatus::Critical,
    ];
    match step {
        Step::Register {
            service,
            id,
            checked,
        } => {
            let check = ttl(20).deregister_after(Duration::from_secs(1));
            let checks = if *checked { vec![check] } else { vec![] };
            put(
                catalog,
                &format!("s{service}"),
                &format!("i{id}"),
                checks,
                *now,
            );
        }
        Step::Deregister { id } => drop(catalog.deregister(&format!("i{id}"), *now)),
        Step::Report { id, status } => {
            let state = STATES[usize::from(*status)];
            drop(catalog.report(&format!("service:i{id}"), state, "", *now));
        }
        Step::Maintenance { id, on } => {
            drop(catalog.set_maintenance(&format!("i{id}"), on.then_some("why"), *now));
        }
        Step::Pass { seconds } => {
            *now += Duration::from_secs(*seconds);
            catalog.tick(*now);
        }
    }
}

proptest! {
    /// A blocked reader misses nothing: whenever what it would read changes, the index it waits on grows;
    /// and indexes never go back.
    #[test]
    fn whatever_changes_an_answer_moves_its_index(steps in prop::collection::vec(step(), 1..40)) {
        let mut now = crate::clock::now();
        let mut catalog = Catalog::default();
        for step in &steps {
            let before: Vec<_> = (0..3)
                .map(|s| format!("s{s}"))
                .map(|s| (catalog.instances(&s, "h"), catalog.indexes().service(&s), s))
                .collect();
            let last = catalog.indexes().last();
            catalog.take_touched();
            apply(&mut catalog, step, &mut now);
            let touched = catalog.take_touched();
            prop_assert!(catalog.indexes().last() >= last);
            for (instances, index, service) in before {
                if catalog.instances(&service, "h") != instances {
                    prop_assert!(catalog.indexes().service(&service) > index, "{service} after {step:?}");
                    prop_assert!(touched.contains(&service), "{service} after {step:?}");
                }
            }
        }
    }

    /// What is saved is what is restored.
    #[test]
    fn a_restored_catalog_answers_as_before(steps in prop::collection::vec(step(), 1..40)) {
        let mut now = crate::clock::now();
        let mut catalog = Catalog::default();
        for step in &steps {
            apply(&mut catalog, step, &mut now);
        }
        let restored = Catalog::restore(Limits::default(), catalog.save(), now);
        for service in ["s0", "s1", "s2"] {
            let strip = |catalog: &Catalog| -> Vec<_> {
                let instances = catalog.instances(service, "h").into_iter();
                instances.map(|one| crate::Instance { revision: 0, ..one }).collect()
            };
            prop_assert_eq!(strip(&restored), strip(&catalog));
        }
        prop_assert!(restored.indexes().last() >= catalog.indexes().last());
    }
}

/// The states that a check goes through with these thresholds.
fn states(passing: u32, warning: u32, critical: u32, answers: &str) -> String {
    let now = crate::clock::now();
    let kind = CheckKind::Tcp {
        address: "10.0.0.1:80".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
    };
    let mut definition = CheckDefinition::new(kind).status(CheckStatus::Warning);
    definition.success_before_passing = passing;
    definition.failures_before_warning = warning;
    definition.failures_before_critical = critical;
    let mut catalog = Catalog::default();
    put(&mut catalog, "a", "a1", vec![definition], now);
    let step = |(second, answer): (u64, char)| {
        let now = now + Duration::from_secs(second);
        let probe = catalog.tick(now).probes.pop().expect("one is due");
        let status = match answer {
            '+' => CheckStatus::Passing,
            _ => CheckStatus::Critical,
        };
        let output = String::new();
        catalog.probed(&probe, &Outcome { status, output }, now);
        let word = catalog
            .check("service:a1")
            .map(|check| check.status.as_str());
        word.and_then(|word| word.chars().next())
    };
    (1..).zip(answers.chars()).filter_map(step).collect()
}

#[test]
fn so_many_answers_in_a_row_change_a_state_and_the_first_one_decides_by_itself() {
    assert_eq!(states(0, 0, 0, "+-+-"), "pcpc");
    assert_eq!(states(2, 0, 3, "+--+---+++"), "ppppppccpp");
    assert_eq!(states(2, 0, 3, "-++"), "ccp");
    assert_eq!(states(1, 1, 3, "+---+"), "pwwcp");
}

#[test]
fn writing_the_same_value_again_wakes_nobody() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    let write = |catalog: &mut Catalog, value: &[u8], flags| {
        let written = catalog.put_key("k", value.to_vec(), flags, KvWrite::Always, now);
        (written, catalog.indexes().keys())
    };
    let (first, index) = write(&mut catalog, b"v", 1);
    assert_eq!((first, index > 0), (Ok(true), true));
    assert_eq!(write(&mut catalog, b"v", 1), (Ok(true), index));
    assert_eq!(
        catalog.put_key("k", b"v".to_vec(), 1, KvWrite::IfIndex(index), now),
        Ok(true)
    );
    assert_eq!(catalog.indexes().keys(), index);
    assert!(write(&mut catalog, b"v", 2).1 > index);
    let index = catalog.indexes().keys();
    assert!(write(&mut catalog, b"w", 2).1 > index);
}

#[test]
fn a_key_that_is_not_there_is_gone_whatever_index_is_asked_for() {
    let now = crate::clock::now();
    let mut catalog = Catalog::default();
    assert!(catalog.delete_key("k", Some(7)));
    catalog
        .put_key("k", b"v".to_vec(), 0, KvWrite::Always, now)
        .expect("there is room");
    let index = catalog.indexes().keys();
    assert!(!catalog.delete_key("k", Some(index + 1)));
    assert!(!catalog.delete_key("k", Some(0)));
    assert!(catalog.delete_key("k", Some(index)));
}

#[test]
fn a_key_that_is_there_takes_its_room_once() {
    let now = crate::clock::now();
    let mut catalog = Catalog::new(Limits {
        kv_bytes: 10,
        ..Limits::default()
    });
    let mut write = |value: &[u8]| catalog.put_key("lock", value.to_vec(), 0, KvWrite::Always, now);
    assert_eq!(write(b"123456"), Ok(true));
    assert_eq!(write(b"654321"), Ok(true), "as large as before");
    assert_eq!(write(b"1"), Ok(true), "smaller");
    assert!(matches!(write(b"1234567"), Err(CatalogError::Full { .. })));
}
