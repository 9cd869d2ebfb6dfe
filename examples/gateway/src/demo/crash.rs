//! An instance is killed while it runs a job whose progress somebody watches.

use std::time::Duration;

use anyhow::Context as _;

use super::job::{Next, Progress, Watched};
use super::show::Bar;
use super::visitor::{Visitor, WhoAmI};
use super::{Stage, job};

/// Length of the job; enough to be killed in the middle.
const SECONDS: f64 = 5.0;
/// The client hangs up here and comes back.
const HANG_UP_AT: f64 = 15.0;
/// The instance is killed here.
const KILL_AT: f64 = 35.0;
/// Time for the fleet to be whole again.
const REPLACED_WITHIN: Duration = Duration::from_secs(20);

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Crash: kill -9 of the instance that runs a watched job");
    let spec = job::spec(stage.iterations(SECONDS), 42);
    let reference = undisturbed(stage, &spec).await?;
    job::submit(&mut stage.visitor, "crash", &spec, false).await?;
    let (watched, killed) = with_a_kill(stage).await?;
    let whole = stage.gateway.wait_for_instances(3, REPLACED_WITHIN).await;
    let rows = [
        line("undisturbed", &reference),
        line(&format!("killed in {killed}"), &watched),
    ];
    let header = [
        "job",
        "messages",
        "gaps",
        "steps back",
        "resumed",
        "attempts",
        "seconds",
    ];
    stage.show.table(&header, &rows);
    stage.show.claim(
        watched.attempts() == 2,
        "the job was computed again elsewhere, as attempt 2",
    );
    stage.show.claim(
        watched.is_whole(),
        "no number was lost or repeated, no percentage went back",
    );
    stage.show.claim(
        watched.resumed > 0,
        "the client hung up in the middle and resumed",
    );
    let same = watched.result() == reference.result();
    stage.show.claim(
        same,
        "the result equals that of the undisturbed run, digit for digit",
    );
    stage.show.claim(whole, "the dead instance was replaced");
    Ok(())
}

/// The same specification without a crash.
async fn undisturbed(stage: &mut Stage<'_>, spec: &serde_json::Value) -> anyhow::Result<Watched> {
    job::submit(&mut stage.visitor, "crash-reference", spec, false).await?;
    let bar = stage.show.bar("undisturbed", 100);
    job::watch(&stage.visitor, "crash-reference", |message| {
        show(&bar, message);
        Next::Read
    })
    .await
}

/// Watches the job, hangs up once, and kills its instance on the way.
async fn with_a_kill(stage: &Stage<'_>) -> anyhow::Result<(Watched, String)> {
    let bar = stage.show.bar("with a kill -9", 100);
    let (mut hung_up, mut killer, mut victim) = (false, None, String::new());
    let watched = job::watch(&stage.visitor, "crash", |message| {
        show(&bar, message);
        if message.percent >= HANG_UP_AT && !hung_up {
            hung_up = true;
            return Next::HangUp;
        }
        if message.percent >= KILL_AT && killer.is_none() && message.status == "running" {
            victim = message.instance.clone().unwrap_or_default();
            let authority = stage.gateway.authority_of(&victim);
            killer = Some(tokio::spawn(async move {
                kill(&authority.context("unknown instance")?).await
            }));
        }
        Next::Read
    });
    let watched = watched.await?;
    killer
        .context("the job ended before it could be disturbed")?
        .await??;
    Ok((watched, victim))
}

/// Asks the instance for its process, and kills that.
async fn kill(authority: &str) -> anyhow::Result<()> {
    let pid = Visitor::new(authority).get::<WhoAmI>("/whoami").await?.pid;
    // The shell's own `kill`, which is there wherever a shell is.
    let kill = ["-c", "kill -9 \"$0\"", &pid.to_string()];
    let status = tokio::process::Command::new("sh")
        .args(kill)
        .status()
        .await?;
    anyhow::ensure!(status.success(), "could not kill {pid}");
    Ok(())
}

fn show(bar: &Bar, message: &Progress) {
    let speed = message.iterations_per_second / 1e6;
    let by = message.instance.as_deref().unwrap_or("nobody");
    let text = format!(
        "{:>3.0} %  {by}, attempt {}, {speed:.1} M/s",
        message.percent, message.attempt
    );
    bar.set(message.percent as u64, text);
}

fn line(name: &str, watched: &Watched) -> Vec<String> {
    let numbers = [watched.messages, watched.gaps, watched.steps_back];
    let counts = [watched.resumed, watched.attempts()];
    let mut cells = vec![name.to_owned()];
    cells.extend(numbers.iter().map(u64::to_string));
    cells.extend(counts.iter().map(u32::to_string));
    cells.push(format!("{:.1}", watched.took.as_secs_f64()));
    cells
}
