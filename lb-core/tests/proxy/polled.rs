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
/// New pools whose first request shows what they know. One that guesses is right in half of
/// them, in nearly all of them once in a million runs.
const POOLS: usize = 30;
/// Pools that must be right: a report may just have grown old.
const RIGHT: usize = POOLS - 2;

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

/// A pool of these endpoints, which asks them for their load if it polls.
fn pool_of(instances: &[Instance; 2], polled: bool) -> Pool {
    let pool = Pool::builder("jobs")
        .endpoints(instances.iter().map(|instance| instance.spec.clone()))
        .policy(ResourceBased::default());
    let probe = HttpProbe::get("/ready").unwrap();
    let check = HealthCheck::new(probe).every(Duration::from_millis(20));
    let pool = if polled { pool.health(check) } else { pool };
    pool.build().unwrap()
}

/// Who answers the first request of a new pool?
async fn first_answer(pool: &Pool) -> String {
    let gateway = serve(pool.reverse_proxy()).await;
    let request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    Client::connect(gateway)
        .await
        .ask(request)
        .await
        .text()
        .to_owned()
}

/// Does the first client get to the idle instance, whichever that is?
async fn follows_the_work(polled: bool) -> bool {
    let instances = [Instance::start("one").await, Instance::start("two").await];
    let mut right = 0;
    for round in 0..POOLS {
        let (idle, busy) = (round % 2, 1 - round % 2);
        instances[idle].jobs.store(0, Ordering::SeqCst);
        instances[busy].jobs.store(7, Ordering::SeqCst);
        let pool = pool_of(&instances, polled);
        if polled {
            let jobs = |of: &Instance| Some(f64::from(of.jobs.load(Ordering::SeqCst)));
            let reported = instances.each_ref().map(jobs);
            until("the reports came", || known_work(&pool) == reported).await;
        }
        right += usize::from(first_answer(&pool).await == NAMES[idle]);
    }
    right >= RIGHT
}

#[tokio::test]
async fn a_pool_that_polls_its_instances_knows_who_is_idle_before_a_request_flows() {
    assert!(follows_the_work(true).await);
}

#[tokio::test]
async fn a_pool_that_does_not_poll_cannot_know() {
    assert!(!follows_the_work(false).await, "the judge takes anything");
}
