//! The demonstration: real instances, real requests, and a judge in a process of its own.
//!
//! Every chapter prints what happened and *claims* what must be true. The demonstration has
//! succeeded if every claim held and the judge, who keeps a ledger of everything it sent and every
//! number it received, has lost nothing through the crash and both changes of size.

mod affinity;
mod cache;
mod control;
mod crash;
mod distribution;
mod job;
mod judge;
mod scale;
mod show;
mod visitor;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use self::judge::{Judge, Phase};
use self::show::Show;
use self::visitor::Visitor;
use crate::fleet::Gateway;

/// What every chapter works with.
struct Stage<'a> {
    gateway: &'a Gateway,
    show: &'a mut Show,
    visitor: Visitor,
    /// Iterations that one job does in a second.
    speed: f64,
}

impl Stage<'_> {
    /// Iterations that keep one otherwise idle instance busy for so long.
    fn iterations(&self, seconds: f64) -> u64 {
        ((self.speed * seconds) as u64).clamp(10_000, 1_000_000_000)
    }
}

/// Length of each of the judge's jobs.
const JUDGE_SECONDS: f64 = 0.5;
/// Time for the first instances to come up.
const START: Duration = Duration::from_secs(20);

/// How much is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programme {
    /// Everything.
    Whole,
    /// Scaling before the judge, nothing else: enough to see what the drain is worth.
    Scaling,
}

/// Plays and says whether everything that was claimed held.
///
/// # Errors
///
/// If the demonstration could not be played to its end.
pub async fn play(gateway: &Gateway, programme: Programme) -> anyhow::Result<bool> {
    let mut show = Show::default();
    let mut visitor = Visitor::new(&gateway.authority());
    anyhow::ensure!(
        gateway.wait_for_instances(3, START).await,
        "three instances did not come up"
    );
    let speed = job::speed(&mut visitor).await.context("warm-up")?;
    let mut stage = Stage {
        gateway,
        show: &mut show,
        visitor,
        speed,
    };
    if programme == Programme::Whole {
        distribution::play(&mut stage)
            .await
            .context("distribution")?;
        affinity::play(&mut stage).await.context("affinity")?;
        cache::play(&mut stage).await.context("cache")?;
    }
    let mut judge = Judge::start(&gateway.authority(), stage.iterations(JUDGE_SECONDS))?;
    judge.phase(Phase::Calm).await?;
    if programme == Programme::Whole {
        judge.phase(Phase::Crash).await?;
        crash::play(&mut stage).await.context("crash")?;
        judge.phase(Phase::Calm).await?;
    }
    judge.phase(Phase::Planned).await?;
    scale::play(&mut stage).await.context("scaling")?;
    let verdict = judge.finish().await?;
    stage.show.chapter("The judge");
    report(stage.show, &verdict.words);
    stage
        .show
        .claim(verdict.nothing_lost, "the judge has lost nothing");
    if programme == Programme::Whole {
        control::play(&mut stage).await.context("control")?;
    }
    let (held, broken) = show.claims();
    let (broken, all) = (broken.len(), held as usize + broken.len());
    show.say(&format!(
        "\n{held} of {all} claims held, {broken} did not.\n"
    ));
    Ok(broken == 0)
}

/// The judge's words: what it counted, and every loss.
fn report(show: &Show, words: &Value) {
    let numbers = |value: &Value| {
        let pairs = value.as_object().into_iter().flatten();
        pairs
            .map(|(name, number)| format!("{} {number}", name.replace('_', " ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for part in ["requests", "jobs", "tunnels", "instances"] {
        show.say(&format!("   {part:<10} {}", numbers(&words[part])));
    }
    show.say(&format!("   losses     {}", words["losses_total"]));
    for loss in words["losses"].as_array().into_iter().flatten() {
        let word = |field: &str| loss[field].as_str().unwrap_or("unknown").to_owned();
        show.say(&format!(
            "   lost       {} ({})",
            word("what"),
            word("kind")
        ));
    }
}
