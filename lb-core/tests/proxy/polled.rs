//! Instances whose work outlives its requests are asked for their load while no request flows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use lb_core::health::{HealthCheck, HttpProbe};
use lb_core::policy::ResourceBased;
use lb_core::report::ReportLayer;
use lb_core::{EndpointSpec, Pool};
use tokio::net::TcpListener;

use crate::support::*;

const NAMES: [&str; 2] = ["one", "two"];
/// Requests that show how a pool ranks its endpoints.
const ASKED: usize = 20;

/// An instance and the jobs that run there, whoever sent them.
struct Instance {
    jobs: Arc<AtomicU32>,
    spec: EndpointSpec,
}

impl Instance {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let jobs = Arc::new(AtomicU32::new(0));
        let running = Arc::clone(&jobs);
        let gauge = move || Some(f64::from(running.load(Ordering::SeqCst)));
        // For health checks alone: answers to clients carry no report.
        let ready = get(|| async { "ready" }).layer(
            ReportLayer::new()
                .capacity(8)
                .active_work(gauge)
                .refresh(Duration::ZERO),
        );
        let app = Router::new()
            .route("/", get(move || async move { name }))
            .route("/ready", ready);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            jobs,
            spec: EndpointSpec::new(name, url),
        }
    }
}

/// What the pool knows of the work of each endpoint.
fn known_work(pool: &Pool) -> [Option<f64>; 2] {
    let endpoints = pool.status().endpoints;
    let of = |name: &str| {
        let endpoint = endpoints.iter().find(|it| it.id.as_str() == name)?;
        endpoint.report.as_ref()?.active_work()
    };
    NAMES.map(of)
}

/// Two instances with so many jobs, and how many clients get to the second of them.
async fn clients_of_the_second(jobs: [u32; 2], polled: bool) -> usize {
    let instances = [Instance::start("one").await, Instance::start("two").await];
    for (instance, jobs) in instances.iter().zip(jobs) {
        instance.jobs.store(jobs, Ordering::SeqCst);
    }
    let pool = Pool::builder("jobs")
        .endpoints(instances.map(|instance| instance.spec))
        .policy(ResourceBased::default());
    let probe = HttpProbe::get("/ready").unwrap();
    let check = HealthCheck::new(probe).every(Duration::from_millis(20));
    let pool = if polled { pool.health(check) } else { pool };
    let pool = pool.build().unwrap();
    if polled {
        let reported = jobs.map(|jobs| Some(f64::from(jobs)));
        until("the reports came", || known_work(&pool) == reported).await;
    }
    let gateway = serve(pool.reverse_proxy()).await;
    let mut second = 0;
    for _ in 0..ASKED {
        let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        let answer = Client::connect(gateway).await.ask(request).await;
        second += usize::from(answer.text() == "two");
    }
    second
}

/// Do clients get to the idle instance, whichever that is? Answer times count, too, so
/// that a few may not.
async fn follows_the_work(polled: bool) -> bool {
    let most = ASKED * 4 / 5;
    clients_of_the_second([7, 0], polled).await >= most
        && clients_of_the_second([0, 7], polled).await <= ASKED - most
}

#[tokio::test]
async fn a_pool_that_polls_its_instances_knows_who_is_idle_before_a_request_flows() {
    assert!(follows_the_work(true).await);
}

#[tokio::test]
async fn a_pool_that_does_not_poll_cannot_know() {
    assert!(!follows_the_work(false).await, "the judge takes anything");
}
