//! 3: one origin of four is neither dead nor well. It is found out by what it does.

use anyhow::Result;

use crate::clock::unix_micros;
use crate::frame::judge::{bad, corrupt, cut_uploads, duplicate_posts};
use crate::frame::stage::pause;
use crate::frame::{Figure, Pace, Stage, at_least, at_most, exactly};
use crate::gateway::Plan;
use crate::ledger::{Seen, Sent};
use crate::message::UPLOAD_BYTES;
use crate::origin::Mode;

const RATE: f64 = 500.0;
const VICTIM: usize = 0;
/// Half a per cent of what a minute carries.
const ERRORS: f64 = 0.005 * 60.0 * RATE;
const CALM_SECONDS: f64 = 2.0;
/// The gateway waits half a second for a connection.
const SWALLOWED_MICROS: u64 = 450_000;

pub(super) async fn run(pace: Pace, mode: Mode) -> Result<Vec<Figure>> {
    let plan = Plan {
        ejection: pace.on,
        probes: pace.on,
        blind: !pace.on,
        // Two seconds are no failure: only a comparison with the others shows them.
        response_ms: if mode == Mode::Slow { 5000 } else { 1000 },
        ..Plan::default()
    };
    let mut stage = Stage::open(plan).await?;
    let bound = bound_seconds(mode);
    let seconds = if pace.on {
        pace.seconds(60.0, CALM_SECONDS + bound + 4.0)
    } else {
        // Long enough that an ejection would show.
        CALM_SECONDS + bound + 2.0
    };
    let load = stage.load(RATE, seconds, "")?;
    pause(CALM_SECONDS).await;
    let broke = unix_micros();
    stage.set_mode(VICTIM, mode).await?;
    let sent = load.done().await?;

    let last = last_request(&stage.seen(VICTIM)?, &sent, mode);
    let out_after = last.saturating_sub(broke) as f64 / 1e6;
    // What was there last has to end first: at most the gateway's own limit.
    let out = last + 2_500_000;
    let late = bad(&sent).filter(|one| one.at > out).count();
    let seen = stage.seen_by_all()?;
    let sane = sent
        .iter()
        .filter(|one| one.at > out && one.is_good())
        .count();
    Ok(vec![
        at_most("seconds until the last request to it", out_after, bound),
        at_most(
            "errors, of half a per cent of a minute",
            bad(&sent).count() as f64,
            ERRORS,
        ),
        exactly("errors after it is out", late, 0),
        at_least("good answers after it is out", sane as f64, RATE),
        exactly("POSTs executed twice", duplicate_posts(&seen), 0),
        exactly(
            "cut uploads that were executed",
            cut_uploads(&seen, UPLOAD_BYTES),
            0,
        ),
        exactly("cut answers that look complete", corrupt(&sent), 0),
    ])
}

/// Until it has to be out: by failures within 3 s, by latency within 10 s.
fn bound_seconds(mode: Mode) -> f64 {
    match mode {
        Mode::Slow | Mode::Stall => 10.0,
        _ => 3.0,
    }
}

/// When the last request went there: by its own ledger, or, where it never sees any, by
/// the last client that had to wait for it.
fn last_request(seen: &[Seen], sent: &[Sent], mode: Mode) -> u64 {
    let waited = sent.iter().filter(|one| one.took >= SWALLOWED_MICROS);
    let last = match mode {
        Mode::Blackhole => waited.map(|one| one.at).max(),
        _ => seen.iter().filter_map(executed_at).max(),
    };
    last.unwrap_or(0)
}

fn executed_at(seen: &Seen) -> Option<u64> {
    match seen {
        Seen::Executed { at, .. } => Some(*at),
        Seen::Answered { .. } => None,
    }
}
