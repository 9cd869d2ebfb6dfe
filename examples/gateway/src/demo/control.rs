//! A judge counts only after it was seen to fail: the scaling once more, in a gateway of its own
//! that kills instances instead of draining them.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::Stage;

const DEADLINE: Duration = Duration::from_secs(90);

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Control run: the same growing and shrinking, with the drain switched off");
    let run = Command::new(std::env::current_exe()?)
        .args([
            "--no-drain",
            "--leave-with-parent",
            "--listen",
            "127.0.0.1:0",
        ])
        .stdin(stage.gateway.lifeline.stdin()?)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .process_group(0)
        .output();
    let bar = stage.show.bar("a gateway without a drain", 1);
    let output = tokio::time::timeout(DEADLINE, run)
        .await
        .context("it did not end in time")??;
    drop(bar);
    let words = String::from_utf8_lossy(&output.stdout);
    let verdict = words.lines().skip_while(|line| !line.contains("The judge"));
    let verdict = verdict.filter(|line| line.starts_with("   ") && !line.contains("BROKEN"));
    verdict.for_each(|line| stage.show.say(line));
    let lost = words.contains("BROKEN: the judge has lost nothing");
    stage.show.claim(
        lost && !output.status.success(),
        "without the drain the same judge reports losses",
    );
    Ok(())
}
