//! A judge counts only once it was seen to fail: each test here hands it a
//! server with one fault, and the judge must name it.

mod fake;

use fake::{Fake, Fault};

use crate::ledger::Kind;
use crate::phases::{Announcer, Command, Phase};
use crate::verdict::Verdict;
use crate::{Args, judge};

fn args(target: &str) -> Args {
    Args {
        jobs: 1,
        iterations: 1_000,
        tunnels: 1,
        ticks: 6,
        tick_ms: 1,
        pause_ms: 1,
        rounds: 4,
        deadline_ms: 10_000,
        finish_seconds: 10,
        max_seconds: 60,
        ..Args::new(target)
    }
}

async fn verdict(phase: Phase, fault: Fault) -> Verdict {
    let fake = Fake::start(fault).await;
    let announcer = Announcer::default();
    announcer.announce(Command::Enter(phase));
    let args = match fault {
        Fault::Hang => Args {
            rounds: 1,
            deadline_ms: 500,
            ..args(&fake.address)
        },
        _ => args(&fake.address),
    };
    judge(args, announcer.phases()).await.unwrap()
}

async fn assert_lost(fault: Fault, kind: Kind) {
    for phase in [Phase::Calm, Phase::Planned] {
        let verdict = verdict(phase, fault).await;
        assert!(!verdict.ok, "{fault:?} in {phase:?} went unnoticed");
        let kinds: Vec<Kind> = verdict.losses_by_kind.keys().copied().collect();
        assert_eq!(kinds, [kind], "{fault:?} in {phase:?}: {verdict}");
    }
}

#[tokio::test]
async fn a_faultless_server_loses_nothing() {
    for phase in [Phase::Calm, Phase::Planned, Phase::Crash] {
        let verdict = verdict(phase, Fault::None).await;
        assert!(verdict.ok, "{verdict}");
        assert_eq!((verdict.jobs.submitted, verdict.jobs.finished), (4, 4));
        assert_eq!((verdict.tunnels.completed, verdict.tunnels.ticks), (4, 24));
        assert!(
            verdict.jobs.left_and_resumed > 0,
            "the judge never left: {verdict}"
        );
        let direct = if phase == Phase::Crash { 0 } else { 4 };
        assert_eq!(verdict.requests.sent, 4 * 3 + 4 + direct);
        assert_eq!(verdict.requests.sent, verdict.requests.answered);
        assert_eq!(verdict.instances["fake"], 4);
    }
}

#[tokio::test]
async fn a_tick_that_is_missing_is_a_gap() {
    assert_lost(Fault::DropTick, Kind::Gap).await;
}

#[tokio::test]
async fn a_tick_that_comes_twice_is_a_duplicate() {
    assert_lost(Fault::RepeatTick, Kind::Duplicate).await;
}

#[tokio::test]
async fn a_torn_tunnel_is_an_interruption() {
    assert_lost(Fault::TearTunnel, Kind::Interrupted).await;
}

#[tokio::test]
async fn a_tunnel_closed_too_early_is_an_interruption() {
    assert_lost(Fault::CloseEarly, Kind::Interrupted).await;
}

#[tokio::test]
async fn a_progress_number_that_is_missing_is_a_gap() {
    assert_lost(Fault::SkipSeq, Kind::Gap).await;
}

#[tokio::test]
async fn a_progress_number_that_comes_twice_is_a_duplicate() {
    assert_lost(Fault::RepeatSeq, Kind::Duplicate).await;
}

#[tokio::test]
async fn a_server_that_forgets_where_the_client_was_sends_duplicates() {
    assert_lost(Fault::IgnoreAfter, Kind::Duplicate).await;
}

#[tokio::test]
async fn a_percentage_that_goes_back_is_noticed() {
    assert_lost(Fault::LowerPercent, Kind::PercentFell).await;
}

#[tokio::test]
async fn torn_progress_is_an_interruption() {
    assert_lost(Fault::TearProgress, Kind::Interrupted).await;
}

#[tokio::test]
async fn a_second_attempt_without_a_crash_is_a_loss() {
    assert_lost(Fault::Replay, Kind::Replayed).await;
}

#[tokio::test]
async fn a_job_that_fails_or_forgets_its_result_is_a_loss() {
    assert_lost(Fault::NoResult, Kind::NoResult).await;
    assert_lost(Fault::FailJob, Kind::NoResult).await;
}

#[tokio::test]
async fn two_results_of_one_seed_are_a_loss() {
    assert_lost(Fault::OtherResult, Kind::DifferentResult).await;
}

#[tokio::test]
async fn a_flag_that_is_not_true_breaks_the_contract() {
    assert_lost(Fault::SlowEngine, Kind::Contract).await;
}

#[tokio::test]
async fn every_request_that_is_not_answered_with_success_is_lost() {
    let mut checks = tokio::task::JoinSet::new();
    for fault in [
        Fault::RefuseDirect,
        Fault::RefuseRead,
        Fault::RefuseSubmit,
        Fault::HangUp,
        Fault::Hang,
    ] {
        checks.spawn(assert_lost(fault, Kind::Request));
    }
    while let Some(check) = checks.join_next().await {
        check.unwrap();
    }
}

#[tokio::test]
async fn nobody_there_is_a_loss_too() {
    let fake = Fake::start(Fault::None).await;
    let address = fake.address.clone();
    fake.stop().await;
    let announcer = Announcer::default();
    let verdict = judge(
        Args {
            rounds: 1,
            ..args(&address)
        },
        announcer.phases(),
    )
    .await
    .unwrap();
    let kinds: Vec<Kind> = verdict.losses_by_kind.keys().copied().collect();
    assert_eq!(kinds, [Kind::Request, Kind::Interrupted]);
}

#[tokio::test]
async fn a_crash_excuses_what_breaks_once_and_is_resumed() {
    let verdict = verdict(Phase::Crash, Fault::BreakOnce).await;
    assert!(verdict.ok, "{verdict}");
    assert_eq!(verdict.tunnels.broken_and_resumed, 1);
    assert_eq!(verdict.requests.retried, 1);
    assert_eq!(verdict.tunnels.completed, 4);
}

#[tokio::test]
async fn a_crash_excuses_no_wrong_number() {
    for (fault, kind) in [
        (Fault::SkipSeq, Kind::Gap),
        (Fault::RepeatSeq, Kind::Duplicate),
        (Fault::IgnoreAfter, Kind::Duplicate),
        (Fault::LowerPercent, Kind::PercentFell),
        (Fault::DropTick, Kind::Gap),
        (Fault::NoResult, Kind::NoResult),
        (Fault::OtherResult, Kind::DifferentResult),
    ] {
        let verdict = verdict(Phase::Crash, fault).await;
        assert!(
            verdict.losses_by_kind.contains_key(&kind),
            "{fault:?}: {verdict}"
        );
    }
}

#[tokio::test]
async fn the_judgement_ends_even_if_the_server_never_does() {
    let fake = Fake::start(Fault::Hang).await;
    let announcer = Announcer::default();
    announcer.announce(Command::Finish);
    let patient = Args {
        deadline_ms: 600_000,
        finish_seconds: 0,
        rounds: 0,
        ..args(&fake.address)
    };
    let phases = announcer.phases();
    assert!(
        judge(patient.clone(), phases).await.unwrap().ok,
        "nothing was begun"
    );

    let announcer = Announcer::default();
    let hurried = Args {
        max_seconds: 1,
        ..patient
    };
    let verdict = judge(hurried, announcer.phases()).await.unwrap();
    assert!(
        verdict.losses_by_kind.contains_key(&Kind::Unfinished),
        "{verdict}"
    );
}

#[tokio::test]
async fn a_target_that_is_no_address_is_an_error() {
    for target in ["", "http://", "a b", "host/path"] {
        let phases = Announcer::default().phases();
        assert!(judge(args(target), phases).await.is_err(), "{target}");
    }
}
