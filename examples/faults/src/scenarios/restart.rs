//! 2: every origin is restarted in turn. Planned, so nothing at all is lost.

use anyhow::Result;

use crate::frame::judge::{bad, corrupt, cut_uploads, duplicate_posts};
use crate::frame::stage::{Service, name, pause};
use crate::frame::{Figure, Pace, Stage, at_least, exactly};
use crate::gateway::{Order, Plan};
use crate::message::UPLOAD_BYTES;

const RATE: f64 = 500.0;
const ORIGINS: usize = 4;
const DRAIN_SECONDS: f64 = 5.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let service = Service {
        delay_ms: 50,
        ..Service::default()
    };
    let mut stage = Stage::with(ORIGINS, service, Plan::default(), None).await?;
    let seconds = pace.seconds(60.0, 12.0);
    let load = stage.load(RATE, seconds, "")?;
    let between = seconds / (ORIGINS + 2) as f64;
    let mut restarted = 0;
    for index in 0..ORIGINS {
        pause(between).await;
        let id = name(index);
        if pace.on {
            let seconds = DRAIN_SECONDS;
            stage
                .order(&Order::Drain {
                    id: id.clone(),
                    seconds,
                })
                .await?;
        }
        stage.kill_origin(index).await?;
        stage.start_origin(index).await?;
        stage.order(&Order::Undrain { id }).await?;
        restarted += 1;
    }
    let sent = load.done().await?;
    let seen = stage.seen_by_all()?;
    Ok(vec![
        exactly("failed requests, POST included", bad(&sent).count(), 0)
            .of(format!("of {}", sent.len())),
        at_least("origins restarted", f64::from(restarted), ORIGINS as f64),
        exactly("POSTs executed twice", duplicate_posts(&seen), 0),
        exactly(
            "cut uploads that were executed",
            cut_uploads(&seen, UPLOAD_BYTES),
            0,
        ),
        exactly("cut answers that look complete", corrupt(&sent), 0),
    ])
}
