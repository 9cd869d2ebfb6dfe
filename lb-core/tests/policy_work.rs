//! Policies that see work: reports, and jobs that outlive their request.

mod common;

use std::time::{Duration, Instant};

use common::{id, picks, pool, random, run, start};
use lb_core::{
    Outcome, PickCx, Pool,
    policy::{LeastRequest, ResourceBased},
    report::LoadReport,
};

const MS: Duration = Duration::from_millis(1);

/// Submits one job and lets the instance accept it.
fn submit(pool: &Pool, now: Instant, i: u64) {
    let mut lease = pool.pick(&PickCx::new(now, random(i))).expect("available");
    lease.record(Outcome::Accepted, now + MS * 2);
}

#[test]
fn thirty_jobs_answered_202_at_once_spread_ten_by_ten() {
    let pool = pool(3, ResourceBased::default());
    let now = start();
    for i in 0..30 {
        submit(&pool, now + MS * i as u32, i);
    }
    assert!(
        picks(&pool).iter().all(|n| n.abs_diff(10) <= 1),
        "{:?}",
        picks(&pool)
    );
}

#[test]
fn thirty_jobs_submitted_concurrently_spread_ten_by_ten() {
    let pool = pool(3, ResourceBased::default());
    let now = start();
    let mut leases: Vec<_> = (0..30)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available"))
        .collect();
    for lease in &mut leases {
        lease.record(Outcome::Accepted, now + MS * 5);
    }
    drop(leases);
    assert!(
        picks(&pool).iter().all(|n| n.abs_diff(10) <= 1),
        "{:?}",
        picks(&pool)
    );
}

#[test]
fn least_request_sees_jobs_answered_202_when_told_to() {
    let pool = pool(3, LeastRequest::default().active_work(true));
    let now = start();
    for i in 0..30 {
        submit(&pool, now + MS * i as u32, i);
    }
    assert_eq!(picks(&pool), [10, 10, 10]);
    // One instance reports that its jobs were cancelled: the next go there.
    let idle = LoadReport::default().named_metric("active_work", 0.0);
    pool.report(&id(1), &idle, now + MS * 40);
    for i in 30..36 {
        submit(&pool, now + MS * 50, i);
    }
    assert_eq!(picks(&pool), [10, 16, 10]);
}

/// Control for those above: a policy that forgets a job with its answer.
#[test]
fn a_policy_that_counts_requests_alone_does_not_see_the_jobs() {
    let pool = pool(3, LeastRequest::default().scan_up_to(0));
    let now = start();
    for i in 0..30 {
        submit(&pool, now, i);
    }
    assert!(
        picks(&pool).iter().any(|n| n.abs_diff(10) > 1),
        "{:?}",
        picks(&pool)
    );
}

#[test]
fn the_ranking_stays_right_while_no_request_flows() {
    let pool = pool(3, ResourceBased::default());
    let now = start();
    for (i, jobs) in [(0, 6.0), (1, 2.0), (2, 4.0)] {
        for round in 0..5 {
            let at = now + Duration::from_secs(round);
            pool.report(
                &id(i),
                &LoadReport::default().named_metric("active_work", jobs),
                at,
            );
        }
    }
    let later = now + Duration::from_secs(30);
    let explanation = pool.explain(&PickCx::new(later, 1));
    assert_eq!(explanation.chosen, Some(id(1)), "{explanation}");
    let scores: Vec<f64> = explanation
        .opinions
        .iter()
        .filter_map(|opinion| opinion.score)
        .collect();
    assert!(scores[1] < scores[2] && scores[2] < scores[0], "{scores:?}");
}

#[test]
fn work_that_somebody_else_sent_counts_once_it_is_reported() {
    let pool = pool(3, ResourceBased::default());
    let now = start();
    submit(&pool, now, 0); // this pool is given jobs
    for i in 0..3 {
        let jobs = if i == 0 { 9.0 } else { 0.0 };
        pool.report(
            &id(i),
            &LoadReport::default().named_metric("active_work", jobs),
            now + MS * 10,
        );
    }
    let before = picks(&pool)[0];
    for i in 1..13 {
        submit(&pool, now + MS * 20, i);
    }
    assert_eq!(
        picks(&pool)[0],
        before,
        "nine jobs of others are ahead there"
    );
}

#[test]
fn reports_that_are_absurd_or_old_are_neutral() {
    let absurd = [
        LoadReport {
            cpu_utilization: Some(f64::NAN),
            ..LoadReport::default()
        }
        .named_metric("active_work", f64::NAN),
        LoadReport {
            cpu_utilization: Some(-3.0),
            ..LoadReport::default()
        }
        .named_metric("active_work", -1.0),
        LoadReport {
            mem_utilization: Some(f64::INFINITY),
            ..LoadReport::default()
        }
        .named_metric("active_work", 1e30),
        LoadReport::default(),
    ];
    for report in absurd {
        let pool = pool(3, ResourceBased::default());
        pool.report(&id(0), &report, start());
        run(&pool, 3_000);
        assert!(
            picks(&pool).iter().all(|n| (900..1_100).contains(n)),
            "{report:?}: {:?}",
            picks(&pool)
        );
    }
    let pool = pool(3, ResourceBased::default());
    let full = LoadReport {
        cpu_utilization: Some(1.0),
        ..LoadReport::default()
    };
    pool.report(&id(0), &full, start());
    let old = start() + Duration::from_secs(3_600);
    for i in 0..3_000 {
        drop(pool.pick(&PickCx::new(old, random(i))).expect("available"));
    }
    assert!(
        picks(&pool).iter().all(|n| (900..1_100).contains(n)),
        "{:?}",
        picks(&pool)
    );
}

#[test]
fn a_liar_gets_a_bounded_advantage() {
    let pool = pool(2, ResourceBased::default());
    let now = start();
    for (i, load) in [(0, 0.0), (1, 1.0)] {
        pool.report(
            &id(i),
            &LoadReport {
                cpu_utilization: Some(load),
                ..LoadReport::default()
            },
            now,
        );
    }
    let leases: Vec<_> = (0..90)
        .map(|i| pool.pick(&PickCx::new(now, random(i))).expect("available"))
        .collect();
    let liar = picks(&pool)[0];
    assert!((46..=61).contains(&liar), "{liar} of {}", leases.len());
}
