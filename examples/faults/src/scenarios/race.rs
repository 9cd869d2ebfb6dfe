//! 5: origins close unused connections whenever they like; requests are on their way.

use anyhow::Result;

use crate::frame::judge::{bad, corrupt, cut_uploads, duplicate_posts};
use crate::frame::{Figure, Pace, Stage, at_least, exactly};
use crate::gateway::Plan;
use crate::message::UPLOAD_BYTES;
use crate::origin::Mode;

const RATE: f64 = 500.0;
const ORIGINS: usize = 4;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let (budget, budget_floor) = if pace.on { (0.2, 3.0) } else { (0.0, 0.0) };
    let mut stage = Stage::open(Plan {
        budget,
        budget_floor,
        ..Plan::default()
    })
    .await?;
    for index in 0..ORIGINS {
        stage.set_mode(index, Mode::Race).await?;
    }
    let sent = stage
        .load(RATE, pace.seconds(60.0, 10.0), "")?
        .done()
        .await?;
    let seen = stage.seen_by_all()?;
    let lost = bad(&sent).filter(|one| one.is_idempotent()).count();
    let lost_posts = bad(&sent).filter(|one| !one.is_idempotent()).count();
    Ok(vec![
        exactly("errors on GET, PUT, DELETE", lost, 0).of(format!("of {}", sent.len())),
        exactly("POSTs executed twice", duplicate_posts(&seen), 0),
        // The race must have happened, or nothing was shown.
        at_least(
            "POSTs that met a closing connection and were not repeated",
            lost_posts as f64,
            1.0,
        ),
        exactly(
            "cut uploads that were executed",
            cut_uploads(&seen, UPLOAD_BYTES),
            0,
        ),
        exactly("cut answers that look complete", corrupt(&sent), 0),
    ])
}
