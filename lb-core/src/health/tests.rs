use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::endpoint::{Cause, EndpointId};
use crate::pool::Pool;

/// A probe that says what the switch says, and counts how often it was asked.
fn switch(well: &Arc<AtomicBool>, asked: &Arc<AtomicU32>) -> impl Probe {
    let (well, asked) = (Arc::clone(well), Arc::clone(asked));
    move |_: &crate::Endpoint| {
        asked.fetch_add(1, Ordering::SeqCst);
        let well = well.load(Ordering::SeqCst);
        async move {
            if well {
                Ok(())
            } else {
                Err(ProbeError::Other("switched off".into()))
            }
        }
    }
}

fn pool_of(names: &[&str], check: HealthCheck) -> Pool {
    let specs = names
        .iter()
        .map(|name| crate::EndpointSpec::new(*name, "http://127.0.0.1:1"));
    Pool::builder("test")
        .endpoints(specs)
        .health(check)
        .build()
        .unwrap()
}

fn is_unhealthy(pool: &Pool, name: &str) -> bool {
    pool.endpoint(&EndpointId::from(name))
        .unwrap()
        .stats()
        .has(Cause::Unhealthy)
}

/// Lets the prober run for so long in paused time.
async fn pass(time: Duration) {
    let step = Duration::from_millis(100);
    for _ in 0..time.as_millis() / step.as_millis() {
        tokio::time::advance(step).await;
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_row_of_failures_takes_an_endpoint_out_and_a_row_of_successes_brings_it_back() {
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let pool = pool_of(
        &["a"],
        HealthCheck::new(switch(&well, &asked)).every(10 * SECOND),
    );
    pass(5 * SECOND).await;
    assert!(!is_unhealthy(&pool, "a"));
    well.store(false, Ordering::SeqCst);
    pass(20 * SECOND).await;
    assert!(!is_unhealthy(&pool, "a"), "two failures are not three");
    pass(15 * SECOND).await;
    assert!(is_unhealthy(&pool, "a"));
    well.store(true, Ordering::SeqCst);
    pass(30 * SECOND).await;
    assert!(!is_unhealthy(&pool, "a"));
}

#[tokio::test(start_paused = true)]
async fn by_default_an_endpoint_is_asked_every_thirty_seconds_or_so() {
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let pool = pool_of(&["a"], HealthCheck::new(switch(&well, &asked)));
    pass(301 * SECOND).await;
    let asked = asked.load(Ordering::SeqCst);
    assert!((9..=12).contains(&asked), "{asked} times in five minutes");
    drop(pool);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_asked_within_two_seconds_and_its_first_answer_decides() {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let pool = pool_of(&[], HealthCheck::new(switch(&well, &asked)));
    pass(5 * SECOND).await;
    pool.set_endpoints([crate::EndpointSpec::new("late", "http://127.0.0.1:1")])
        .unwrap();
    pass(2 * SECOND + SECOND / 5).await;
    assert!(is_unhealthy(&pool, "late"));
}

#[tokio::test(start_paused = true)]
async fn a_draining_endpoint_is_still_asked() {
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let pool = pool_of(
        &["a"],
        HealthCheck::new(switch(&well, &asked)).every(SECOND),
    );
    pool.set_draining(&EndpointId::from("a"), true);
    pass(10 * SECOND).await;
    assert!(asked.load(Ordering::SeqCst) >= 8);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_given_up_and_counts_as_a_failure() {
    let hang = |_: &crate::Endpoint| std::future::pending();
    let pool = pool_of(
        &["a"],
        HealthCheck::new(hang)
            .every(10 * SECOND)
            .timeout(2 * SECOND),
    );
    pass(4 * SECOND).await;
    let checked = pool.health().unwrap().checked();
    assert!(is_unhealthy(&pool, "a"), "{checked:?}");
    assert_eq!(
        checked[&EndpointId::from("a")].last_error.as_deref(),
        Some("no answer in time")
    );
}

#[tokio::test(start_paused = true)]
async fn waking_from_a_suspend_ejects_nobody() {
    let hang = |_: &crate::Endpoint| std::future::pending();
    let pool = pool_of(
        &["a", "b"],
        HealthCheck::new(hang)
            .every(10 * SECOND)
            .timeout(2 * SECOND),
    );
    pass(SECOND + SECOND / 2).await;
    // The clock jumps in one step: for this process no time has passed.
    tokio::time::advance(300 * SECOND).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!is_unhealthy(&pool, "a") && !is_unhealthy(&pool, "b"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_probe_costs_one_round_of_one_endpoint() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let panics_first = move |_: &crate::Endpoint| {
        assert!(
            counter.fetch_add(1, Ordering::SeqCst) > 0,
            "the first probe panics"
        );
        async { Ok(()) }
    };
    let pool = pool_of(&["a"], HealthCheck::new(panics_first).every(SECOND));
    pass(10 * SECOND).await;
    assert!(asked.load(Ordering::SeqCst) >= 8);
    assert!(!is_unhealthy(&pool, "a"));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_checks_takes_their_verdicts_back() {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let pool = Pool::builder("test")
        .endpoints(["http://127.0.0.1:1"])
        .build()
        .unwrap();
    let checks = HealthCheck::new(switch(&well, &asked))
        .every(SECOND)
        .start(&pool)
        .unwrap();
    pass(3 * SECOND).await;
    assert!(is_unhealthy(&pool, "http://127.0.0.1:1"));
    drop(checks);
    assert!(!is_unhealthy(&pool, "http://127.0.0.1:1"));
}

#[tokio::test]
async fn zeros_are_refused() {
    let pool = Pool::builder("test").build().unwrap();
    let check = || HealthCheck::new(TcpProbe::new());
    for broken in [
        check().rise(0),
        check().fall(0),
        check().every(Duration::ZERO),
        check().timeout(Duration::ZERO),
    ] {
        assert!(broken.start(&pool).is_err());
    }
}

/// Answers every connection with these bytes.
async fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 512];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    format!("http://{address}")
}

async fn ask(probe: impl Probe, uri: &str) -> Result<(), ProbeError> {
    let pool = Pool::builder("test").endpoints([uri]).build().unwrap();
    probe.probe(&pool.endpoints()[0]).await
}

#[tokio::test]
async fn an_http_probe_believes_two_hundred_to_two_hundred_ninety_nine() {
    let probe = || HttpProbe::get("/ready").unwrap();
    let well = server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let missing = server(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
    let foreign = server(b"220 mail.example ESMTP\r\n").await;
    assert!(ask(probe(), &well).await.is_ok());
    assert!(matches!(
        ask(probe(), &missing).await,
        Err(ProbeError::Status(_))
    ));
    assert!(ask(probe().any_answer(), &missing).await.is_ok());
    assert!(matches!(
        ask(probe(), &foreign).await,
        Err(ProbeError::NotHttp)
    ));
}

#[tokio::test]
async fn a_tcp_probe_believes_whoever_accepts() {
    let well = server(b"").await;
    assert!(ask(TcpProbe::new(), &well).await.is_ok());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert!(matches!(
        ask(TcpProbe::new(), &nobody).await,
        Err(ProbeError::Io(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_may_be_asked_once_and_never_again() {
    let (well, asked) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let check = HealthCheck::new(switch(&well, &asked)).fall(1);
    let pool = pool_of(&["a"], check.every(Duration::MAX).timeout(Duration::MAX));
    pass(5 * SECOND).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(is_unhealthy(&pool, "a"));
}

#[tokio::test]
async fn what_is_said_in_passing_is_not_the_answer_of_a_probe() {
    let probe = || HttpProbe::get("/ready").unwrap();
    let hint = server(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert!(ask(probe(), &hint.await).await.is_ok());
    let twice = b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 102\r\na: b\r\n\r\nHTTP/1.1 503 No\r\n\r\n";
    let sick = ask(probe(), &server(twice).await).await;
    let status = |sick| matches!(sick, Err(ProbeError::Status(status)) if status == 503);
    assert!(status(sick));
    let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50).leak();
    assert!(ask(probe(), &server(endless).await).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn many_that_hang_keep_nobody_from_being_asked() {
    let sick_or_hung = |endpoint: &crate::Endpoint| {
        let hangs = endpoint.id().as_str().starts_with('a');
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Err(ProbeError::Other("sick".into()))
        }
    };
    let check = HealthCheck::new(sick_or_hung);
    let check = check.every(10 * SECOND).timeout(5 * SECOND).fall(1);
    let mut names: Vec<_> = (0..200).map(|n| format!("a{n:03}")).collect();
    let specs = |names: &[String]| {
        let spec = |name: &String| crate::EndpointSpec::new(name.as_str(), "http://127.0.0.1:1");
        names.iter().map(spec).collect::<Vec<_>>()
    };
    let pool = Pool::builder("test").endpoints(specs(&names)).health(check);
    let pool = pool.build().unwrap();
    pass(20 * SECOND).await;
    // All probes that may be under way are, and more are due.
    names.push("late".into());
    pool.set_endpoints(specs(&names)).unwrap();
    pass(40 * SECOND).await;
    assert!(is_unhealthy(&pool, "late"));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_members_are_asked_in_turn() {
    let well = |_: &crate::Endpoint| std::future::ready(Ok(()));
    let spec = |n: u32| crate::EndpointSpec::new(format!("e{n}"), "http://127.0.0.1:1");
    let pool = Pool::builder("test")
        .endpoints((0..10_000).map(spec))
        .health(HealthCheck::new(well))
        .build()
        .unwrap();
    pass(20 * SECOND).await;
    let checked = pool.health().unwrap().checked();
    assert_eq!(checked.len(), 10_000);
    assert!(checked.values().all(|known| known.probes_total > 0));
}

#[tokio::test(start_paused = true)]
async fn the_verdict_on_an_earlier_life_says_nothing_of_the_next() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let fails_in_its_first_life = move |endpoint: &crate::Endpoint| {
        counter.fetch_add(1, Ordering::SeqCst);
        let first = endpoint.incarnation() == 1;
        async move {
            if !first {
                std::future::pending::<()>().await;
            }
            // Before the next look at the members.
            tokio::time::sleep(SECOND / 4).await;
            Err(ProbeError::Other("old".into()))
        }
    };
    let spec = |life| crate::EndpointSpec::new("a", "http://127.0.0.1:1").incarnation(life);
    let check = HealthCheck::new(fails_in_its_first_life).fall(1);
    let pool = Pool::builder("test").endpoints([spec(1)]).health(check);
    let pool = pool.build().unwrap();
    while asked.load(Ordering::SeqCst) == 0 {
        pass(SECOND / 10).await;
    }
    pool.set_endpoints([spec(2)]).unwrap();
    pass(3 * SECOND).await;
    assert!(!is_unhealthy(&pool, "a"));
}

#[tokio::test(start_paused = true)]
async fn another_check_asks_not_all_at_once() {
    let (well, asked) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let names: Vec<_> = (0..40).map(|index| format!("e{index}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let check = HealthCheck::new(switch(&well, &asked)).every(1_000 * SECOND);
    let pool = pool_of(&names, check.clone());
    pass(2 * SECOND).await;
    assert_eq!(asked.swap(0, Ordering::SeqCst), 40);
    pool.set_health(Some(check.every(10 * SECOND))).unwrap();
    let mut most = 0;
    for _ in 0..100 {
        pass(SECOND / 10).await;
        most = most.max(asked.swap(0, Ordering::SeqCst));
    }
    assert!((1..20).contains(&most), "{most} at once");
}
