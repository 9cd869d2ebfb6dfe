//! 4: every origin is bad. Retries must not make it worse, and nobody is written off.

use anyhow::Result;

use crate::clock::unix_micros;
use crate::frame::judge::{bad, between, duplicate_posts, latency_ms};
use crate::frame::stage::pause;
use crate::frame::{Figure, Pace, Stage, at_least, at_most, exactly};
use crate::gateway::Plan;
use crate::ledger::{Seen, Sent};
use crate::origin::Mode;

const RATE: f64 = 500.0;
const ORIGINS: usize = 4;
const CALM_SECONDS: f64 = 2.0;
const RECOVERY_SECONDS: f64 = 5.0;
/// The gateway gives an attempt one second; two of them, and the way.
const DEADLINE_MS: f64 = 2500.0;

/// What is asked of the same disaster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Budget,
    Panic,
}

/// The time of the disaster, in microseconds since 1970.
struct Disaster {
    from: u64,
    to: u64,
}

pub(super) async fn run(pace: Pace, question: Question) -> Result<Vec<Figure>> {
    let mut plan = Plan {
        budget_floor: 0.0,
        ..Plan::default()
    };
    match question {
        Question::Budget if !pace.on => plan.budget = 10.0,
        Question::Panic if !pace.on => plan.panic_threshold = 0.0,
        _ => {}
    }
    let mut stage = Stage::open(plan).await?;
    let bad_seconds = pace.seconds(46.0, 7.0);
    let load = stage.load(
        RATE,
        CALM_SECONDS + bad_seconds + RECOVERY_SECONDS + 2.0,
        "",
    )?;
    pause(CALM_SECONDS).await;
    set_all(&stage, Mode::Drop).await?;
    // Once all of them are known to be bad.
    pause(2.0).await;
    let from = unix_micros();
    pause(bad_seconds - 2.0).await;
    let to = unix_micros();
    // Whoever came until now has its answer before the origins are back.
    pause(0.2).await;
    set_all(&stage, Mode::Well).await?;
    let sent = load.done().await?;
    judge(&stage, &sent, &Disaster { from, to }, question)
}

async fn set_all(stage: &Stage, mode: Mode) -> Result<()> {
    for index in 0..ORIGINS {
        stage.set_mode(index, mode).await?;
    }
    Ok(())
}

fn judge(
    stage: &Stage,
    sent: &[Sent],
    disaster: &Disaster,
    question: Question,
) -> Result<Vec<Figure>> {
    let during: Vec<_> = between(sent, disaster.from, disaster.to).collect();
    let shares = executed_during(stage, disaster)?;
    // The budget counts the requests before the disaster too: so does this.
    let upstream = executions_until(stage, disaster.to)?;
    let requests = between(sent, 0, disaster.to).count();
    let answered = during
        .iter()
        .filter(|one| (502..=504).contains(&one.status))
        .count();
    let unanswered = during.len() - answered;
    let back = disaster.to + (RECOVERY_SECONDS * 1e6) as u64;
    let late = bad(sent).filter(|one| one.at > back).count();
    let mut figures = vec![
        at_most(
            "requests upstream per request",
            upstream as f64 / requests as f64,
            1.2,
        ),
        exactly(
            "POSTs executed twice",
            duplicate_posts(&stage.seen_by_all()?),
            0,
        ),
    ];
    if question == Question::Panic {
        let all: usize = shares.iter().sum();
        let least = shares.iter().min().copied().unwrap_or(0) as f64 / all.max(1) as f64;
        figures.push(at_least(
            "least share of an origin, of a fair 0.25",
            least,
            0.15,
        ));
    }
    figures.extend([
        exactly("requests without 502, 503 or 504", unanswered, 0)
            .of(format!("of {}", during.len())),
        at_most(
            "slowest of them, ms",
            latency_ms(during.iter().copied(), 1.0),
            DEADLINE_MS,
        ),
        exactly("errors 5 s after they are back", late, 0),
    ]);
    Ok(figures)
}

/// Requests that reached each origin meanwhile.
fn executed_during(stage: &Stage, disaster: &Disaster) -> Result<Vec<usize>> {
    let count = |index| Ok(executed(&stage.seen(index)?, disaster.from, disaster.to));
    (0..ORIGINS).map(count).collect()
}

fn executions_until(stage: &Stage, end: u64) -> Result<usize> {
    Ok(executed(&stage.seen_by_all()?, 0, end))
}

fn executed(seen: &[Seen], from: u64, to: u64) -> usize {
    let within = |one: &&Seen| matches!(one, Seen::Executed { at, .. } if (from..to).contains(at));
    seen.iter().filter(within).count()
}
