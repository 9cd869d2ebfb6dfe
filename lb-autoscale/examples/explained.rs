//! A made-up hour, as the admin service explains it.
//!
//! `cargo run -p lb-autoscale --all-features --example explained > page.html`

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use lb_autoscale::actuator::DryRun;
use lb_autoscale::admin::Admin;
use lb_autoscale::policy::Schedule;
use lb_autoscale::source::Gauges;
use lb_autoscale::spec::{Metric, SpecError};
use lb_autoscale::{Autoscaler, Spec, UnixMillis, presets};
use tower_service::Service;

/// 2026-03-02T08:30:00Z, a Monday.
const START: i64 = 1_772_440_200;
/// Requests a second in minute 0, 1, 2 ...: a morning, a crowd, and the way back.
const LOAD: [f64; 60] = [
    210., 215., 220., 230., 228., 240., 251., 262., 270., 281., 290., 300., 330., 900., 1_450.,
    1_500., 1_420., 1_300., 1_120., 980., 860., 760., 700., 640., 590., 560., 540., 520., 500.,
    480., 470., 455., 450., 440., 432., 425., 420., 410., 400., 395., 390., 380., 372., 366., 360.,
    352., 345., 340., 335., 330., 324., 318., 312., 309., 305., 300., 295., 290., 286., 280.,
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (gauges, clock) = (Gauges::default(), Arc::new(AtomicI64::new(START)));
    let time = Arc::clone(&clock);
    let handle = Autoscaler::new(spec()?, gauges.clone(), DryRun::new(3))
        // Relaxed: one number, nothing is ordered by it.
        .clock(move || UnixMillis::from_secs(time.load(Ordering::Relaxed)))
        .keep_decisions(300)
        .run();
    for (minute, load) in (0..).zip(LOAD) {
        for second in [0, 15, 30, 45] {
            clock.store(START + minute * 60 + second, Ordering::Relaxed);
            gauges.set("requests_per_second", load);
            gauges.set("active_simulations", load / 14.0);
            handle.poke();
            handle.next_decision().await;
        }
    }
    // Minute 14 is the busiest to look at; without an argument the latest is shown.
    let at = std::env::args().nth(1).map_or_else(String::new, |second| {
        format!(
            "?at={}",
            (START + second.parse::<i64>().unwrap_or(0)) * 1_000
        )
    });
    let request = http::Request::get(format!("/{at}")).body(Empty::<bytes::Bytes>::new())?;
    let answer = Admin::new(handle.control()).call(request).await?;
    let page = answer.into_body().collect().await?.to_bytes();
    println!("{}", String::from_utf8_lossy(&page));
    Ok(())
}

fn spec() -> Result<Spec, SpecError> {
    let workday = Schedule::new(
        "working hours",
        "0 9 * * MON-FRI",
        Duration::from_secs(9 * 3_600),
    )
    .zone("Europe/Berlin")
    .floor(4);
    presets::demand("simulation", "requests_per_second", 70.0)
        .replicas(3..=20)
        .metric(Metric::external("active_simulations").average_value(8.0))
        .policies(|policies| policies.schedules = vec![workday])
        .build()
}
