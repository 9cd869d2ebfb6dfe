//! The gateway under judgement: lb-core's public parts, put together by a plan.
//!
//! The only part of this program that names lb-core. Each mechanism can be left out
//! or replaced by a naive one, for the control runs.

mod front;
mod naive;
mod orders;
mod panics;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use lb_core::health::{HealthCheck, HttpProbe, Probe, TcpProbe};
use lb_core::outlier::{OutlierDetection, Slowness};
use lb_core::proxy::Timeouts;
use lb_core::retry::RetryBudget;
use lb_core::{Affinity, EndpointSpec, Pool, ReverseProxy};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

pub(crate) use self::orders::Order;
use self::panics::Panics;
pub(crate) use self::panics::Place;
pub(crate) use self::plan::{Front, Member, Plan};
use crate::control;
use crate::message::READY;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// What to build, as JSON.
    #[arg(long)]
    plan: String,
}

/// What orders act upon.
struct Gateway {
    pool: Pool,
    proxy: ReverseProxy,
    panics: Arc<Panics>,
    metrics: PrometheusHandle,
    fill: orders::Fill,
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let plan: Plan = serde_json::from_str(&arguments.plan).context("the plan")?;
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    log.with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .init();
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let panics = Arc::new(Panics::default());
    let pool = pool(&plan, &panics)?;
    let proxy = proxy(&plan, &pool);
    let served = front::serve(&plan, &proxy, &panics).await?;
    let orders = TcpListener::bind("127.0.0.1:0").await?;
    control::announce(served.address(), orders.local_addr()?);
    let fill = orders::Fill::default();
    let gateway = Arc::new(Gateway {
        pool,
        proxy,
        panics,
        metrics,
        fill,
    });
    control::obey(orders, move |order| {
        orders::act(Arc::clone(&gateway), order)
    })
    .await;
    drop(served);
    Ok(())
}

fn pool(plan: &Plan, panics: &Arc<Panics>) -> Result<Pool> {
    let mut builder = Pool::builder("faults")
        .endpoints(members(&plan.members))
        .panic_threshold(plan.panic_threshold)
        .policy(panics.policy(plan.blind))
        .observe(panics.observer());
    if plan.probes {
        let probe = panics.probe(HttpProbe::get(READY)?);
        builder = builder.health(check(probe));
    }
    if plan.tcp_probes {
        builder = builder.health(check(TcpProbe::new()));
    }
    if plan.ejection {
        let detection = OutlierDetection::default()
            .interval(Duration::from_secs(3))
            .failure_share(0.3, 10)
            .base_time(Duration::from_secs(60))
            .slower_than_fleet(Slowness::default());
        builder = builder.outlier(detection);
    }
    if let Some(secret) = &plan.affinity {
        let lifetime = Duration::from_secs(plan.affinity_seconds);
        builder = builder.affinity(Affinity::cookie("lb", secret).lifetime(lifetime));
    }
    let pool = builder.build()?;
    if plan.naive_ejection {
        pool.observe(naive::Ejector::new(&pool));
    }
    Ok(pool)
}

fn check(probe: impl Probe) -> HealthCheck {
    HealthCheck::new(probe)
        .every(Duration::from_millis(500))
        .timeout(Duration::from_secs(1))
        .fall(2)
}

fn members(members: &[Member]) -> Vec<EndpointSpec> {
    let spec = |member: &Member| EndpointSpec::new(member.id.as_str(), &member.uri);
    members.iter().map(spec).collect()
}

fn proxy(plan: &Plan, pool: &Pool) -> ReverseProxy {
    let ms = Duration::from_millis;
    let timeouts = Timeouts::default()
        .connect(ms(500))
        .response(ms(plan.response_ms))
        .body(ms(plan.body_ms));
    pool.reverse_proxy()
        .timeouts(timeouts)
        .attempts(plan.attempts)
        .retry_budget(RetryBudget::new(
            plan.budget,
            Duration::from_secs(10),
            plan.budget_floor,
        ))
}
