use futures_util::StreamExt as _;
use proptest::prelude::*;

use super::*;

fn result(value: u32) -> Outcome {
    serde_json::value::to_raw_value(&value).unwrap().into()
}

fn id(text: &str) -> JobId {
    text.parse().unwrap()
}

fn advanced(percent: f64) -> Event {
    Event::Advanced(Update {
        percent,
        ..Update::default()
    })
}

fn started(instance: &str) -> Event {
    Event::Started {
        instance: instance.into(),
    }
}

/// Anything an instance, a network and a client can do to a job; `None` is a cancellation.
fn anything() -> impl Strategy<Value = (u32, Option<Event>)> {
    let percent = prop_oneof![8 => -10.0..130.0f64, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    let update = (
        percent,
        any::<u64>(),
        any::<u64>(),
        any::<f64>(),
        any::<Option<f64>>(),
    );
    let update = update.prop_map(|(percent, done, iterations, speed, eta_seconds)| {
        let iterations_per_second = speed;
        Update {
            percent,
            iterations_done: done,
            iterations,
            iterations_per_second,
            eta_seconds,
        }
    });
    let event = prop_oneof![
        4 => Just(Some(started("sim"))),
        30 => update.prop_map(|update| Some(Event::Advanced(update))),
        3 => Just(Some(Event::Lost { why: "gone".into() })),
        1 => Just(Some(Event::Finished { result: result(1) })),
        1 => Just(Some(Event::Failed { error: "bad".into() })),
        1 => Just(None),
    ];
    (0..3u32, event)
}

fn play(events: Vec<(u32, Option<Event>)>) -> Job {
    let mut job = Job::new("{}".into());
    for (back, event) in events {
        let attempt = job.latest().attempt.saturating_sub(back / 2);
        match event {
            Some(event) => job.apply(attempt, event),
            None => job.cancel(),
        };
    }
    job
}

proptest! {
    /// The three promises of the module, whatever happens.
    #[test]
    fn numbers_have_no_gap_and_percent_never_goes_back(events in prop::collection::vec(anything(), 0..400)) {
        let job = play(events);
        let messages = job.after(0);
        for (index, message) in messages.iter().enumerate() {
            prop_assert_eq!(message.seq, index as u64 + 1);
            prop_assert!((0.0..=100.0).contains(&message.percent));
            prop_assert!(message.iterations_per_second.is_finite());
            prop_assert_eq!(message.result.is_some(), message.status == Status::Finished);
            prop_assert!(!message.status.is_final() || index + 1 == messages.len());
        }
        for pair in messages.windows(2) {
            prop_assert!(pair[0].percent <= pair[1].percent);
            prop_assert!(pair[0].attempt <= pair[1].attempt);
            prop_assert!(pair[0].iterations_done <= pair[1].iterations_done);
        }
    }

    /// Whoever leaves after any number and comes back has seen everything exactly once.
    #[test]
    fn resuming_after_any_number_gives_the_rest(events in prop::collection::vec(anything(), 0..200), cut in 0u64..250) {
        let job = play(events);
        let cut = cut.min(job.latest().seq);
        let seen = &job.after(0)[..cut as usize];
        let whole: Vec<_> = seen.iter().chain(job.after(cut)).map(|message| message.seq).collect();
        prop_assert_eq!(whole, (1..=job.latest().seq).collect::<Vec<_>>());
    }
}

#[test]
fn the_longest_possible_life_stays_within_the_bound() {
    let mut job = Job::new("{}".into());
    for attempt in 1..=MAX_ATTEMPTS {
        job.apply(attempt, started("sim"));
        for step in 0..100_000 {
            job.apply(attempt, advanced(f64::from(step) / 1_000.0));
        }
        job.apply(attempt, Event::Lost { why: "gone".into() });
    }
    assert_eq!(job.latest().status, Status::Failed);
    assert!(
        job.after(0).len() <= MAX_MESSAGES,
        "{} messages",
        job.after(0).len()
    );
}

#[test]
fn a_new_attempt_holds_the_percentage_until_it_gets_further() {
    let mut job = Job::new("{}".into());
    job.apply(1, started("sim-1"));
    job.apply(1, advanced(60.0));
    job.apply(1, Event::Lost { why: "gone".into() });
    job.apply(2, started("sim-2"));
    job.apply(2, advanced(10.0));
    assert_eq!((job.latest().percent, job.latest().attempt), (60.0, 2));
    job.apply(2, advanced(61.0));
    assert_eq!(job.latest().percent, 61.0);
}

#[test]
fn late_news_of_an_earlier_attempt_changes_nothing() {
    let mut job = Job::new("{}".into());
    job.apply(1, started("sim-1"));
    job.apply(1, Event::Lost { why: "gone".into() });
    assert_eq!(
        job.apply(1, Event::Finished { result: result(1) }),
        Recorded::Nothing
    );
    assert_eq!(job.latest().status, Status::Queued);
}

#[tokio::test]
async fn submitting_twice_is_one_job_and_another_specification_is_a_conflict() {
    let ledger = MemoryLedger::default();
    let first = ledger.submit(id("a"), r#"{"seed":1}"#.into()).await;
    assert!(matches!(first, Ok(Submitted::New(_))));
    let again = ledger.submit(id("a"), r#"{"seed":1}"#.into()).await;
    assert!(matches!(again, Ok(Submitted::Known(_))));
    let other = ledger.submit(id("a"), r#"{"seed":2}"#.into()).await;
    assert_eq!(other.unwrap_err(), LedgerError::Conflict);
    assert_eq!(ledger.active(), 1);
}

#[tokio::test]
async fn a_full_ledger_forgets_what_ended_first_and_refuses_what_it_cannot_hold() {
    let ledger = MemoryLedger::new(Limits { jobs: 3, active: 2 });
    for name in ["a", "b"] {
        ledger.submit(id(name), "{}".into()).await.unwrap();
    }
    assert_eq!(
        ledger.submit(id("c"), "{}".into()).await.unwrap_err(),
        LedgerError::Full { limit: 2 }
    );
    ledger.cancel(&id("b")).await.unwrap();
    ledger.submit(id("c"), "{}".into()).await.unwrap();
    ledger.cancel(&id("a")).await.unwrap();
    ledger.submit(id("d"), "{}".into()).await.unwrap();
    assert!(ledger.view(&id("b")).await.is_none(), "b ended first");
    assert!(ledger.view(&id("a")).await.is_some());
    let names: Vec<_> = ledger
        .newest(2)
        .await
        .into_iter()
        .map(|job| job.id)
        .collect();
    assert_eq!(names, [id("d"), id("c")]);
}

#[tokio::test]
async fn a_follower_sees_what_was_and_what_comes_and_then_the_end() {
    let ledger = MemoryLedger::default();
    let job = id("a");
    ledger.submit(job.clone(), "{}".into()).await.unwrap();
    ledger.record(&job, 1, started("sim-1")).await.unwrap();
    let mut stream = ledger.follow(&job, 0).await.unwrap();
    assert_eq!(stream.next().await.unwrap().seq, 1);
    assert!(
        futures_util::FutureExt::now_or_never(stream.next()).is_none(),
        "nothing new yet"
    );
    ledger
        .record(&job, 1, Event::Finished { result: result(7) })
        .await
        .unwrap();
    let end = stream.next().await.unwrap();
    assert_eq!((end.seq, end.result), (2, Some(result(7))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn whoever_has_seen_the_last_message_is_told_at_once_that_nothing_follows() {
    let ledger = MemoryLedger::default();
    let job = id("a");
    ledger.submit(job.clone(), "{}".into()).await.unwrap();
    let last = ledger.cancel(&job).await.unwrap().latest.seq;
    let mut rest = ledger.follow(&job, last).await.unwrap();
    let next = futures_util::FutureExt::now_or_never(rest.next());
    assert_eq!(next, Some(None), "it would wait for ever");
}

#[tokio::test]
async fn a_number_that_was_never_given_out_is_refused() {
    let ledger = MemoryLedger::default();
    ledger.submit(id("a"), "{}".into()).await.unwrap();
    let refused = ledger.follow(&id("a"), 4).await.err();
    assert_eq!(
        refused,
        Some(LedgerError::Ahead {
            after: 4,
            newest: 0
        })
    );
    assert_eq!(
        ledger.follow(&id("b"), 0).await.err(),
        Some(LedgerError::Unknown)
    );
}
