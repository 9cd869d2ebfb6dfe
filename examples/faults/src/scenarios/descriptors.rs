//! 13: no descriptor is left. Accepting pauses, what runs goes on, and it all comes back.

use anyhow::Result;
use rustix::process::Pid;

use crate::client::Held;
use crate::frame::judge::bad;
use crate::frame::stage::{Service, pause};
use crate::frame::{Figure, Pace, Stage, Usage, Wrap, at_least, at_most, exactly, holds};
use crate::gateway::{Front, Plan};

const LIMIT: u32 = 256;
const CROWD: usize = 400;
const MEASURED_SECONDS: f64 = 3.0;
const CPU_SHARE: f64 = 0.05;
/// Requests that are under way when descriptors run out.
const LONG: &str = "--methods GET --delay-ms 7000 --patience-ms 20000";

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let front = if pace.on { Front::Own } else { Front::Naive };
    let plan = Plan {
        front,
        response_ms: 20_000,
        ..Plan::default()
    };
    let wrap = Wrap::DescriptorLimit(LIMIT);
    let mut stage = Stage::with(4, Service::default(), plan, Some(wrap)).await?;
    let under_way = stage.load(10.0, 1.0, LONG)?;
    pause(1.5).await;
    let crowd = stage.client(&format!("hold --count {CROWD} --manner mute"), 6.0)?;
    pause(1.5).await;
    let pid = stage.gateway().pid()?;
    let before = Usage::of(pid)?;
    let open = descriptors(pid)?;
    pause(MEASURED_SECONDS).await;
    let cpu = (Usage::of(pid)?.cpu_seconds - before.cpu_seconds) / MEASURED_SECONDS;
    let held: Vec<Held> = crowd.result().await?;
    let under_way = under_way.done().await?;
    pause(1.0).await;
    let after = stage.load(50.0, 2.0, "")?.done().await?;
    let alive = stage.gateway().is_alive();
    Ok(vec![
        at_least(
            "descriptors open at the worst",
            open as f64,
            f64::from(LIMIT) - 8.0,
        ),
        at_least(
            "connections that wanted in",
            held.len() as f64,
            CROWD as f64,
        ),
        at_most("share of a core meanwhile", cpu, CPU_SHARE),
        exactly(
            "requests under way that were lost",
            bad(&under_way).count(),
            0,
        )
        .of(format!("of {}", under_way.len())),
        exactly("errors after they left", bad(&after).count(), 0).of(format!("of {}", after.len())),
        holds("the process is alive", alive),
    ])
}

fn descriptors(pid: Pid) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count())
}
