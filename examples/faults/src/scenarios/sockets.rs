//! 10: WebSockets live through a scale-up, a scale-in and a drain without losing a number.

use anyhow::Result;

use crate::client::Listened;
use crate::frame::judge::percentile;
use crate::frame::stage::{Service, name, pause};
use crate::frame::{Figure, Pace, Stage, at_least, at_most, exactly};
use crate::gateway::{Order, Plan};
use crate::origin;

const PER_SECOND: f64 = 10.0;
/// The origins that are there at the end.
const STAY: [usize; 2] = [2, 3];
/// Those that leave, one after the other.
const LEAVE: [usize; 4] = [0, 4, 1, 5];
/// "Service restart": the client is to come back.
const CODE: u16 = 1012;
const GOOD_CODES: [u16; 2] = [1001, CODE];
const OPENED_PER_SECOND: f64 = 500.0;

pub(super) async fn run(pace: Pace) -> Result<Vec<Figure>> {
    let count = pace.seconds(2000.0, 500.0);
    let mut stage = Stage::with(3, Service::default(), Plan::default(), None).await?;
    let opening = count / OPENED_PER_SECOND;
    let seconds = opening + 12.0;
    let arguments = format!("sockets --count {count} --pace {OPENED_PER_SECOND}");
    let clients = stage.client(&arguments, seconds)?;
    pause(opening / 2.0).await;
    scale_up(&mut stage).await?;
    pause(opening / 2.0 + 2.0).await;
    for index in LEAVE {
        if pace.on {
            leave_in_order(&mut stage, index).await?;
        }
        stage.kill_origin(index).await?;
        pause(0.5).await;
    }
    let members = STAY.map(|index| stage.member(index)).to_vec();
    stage.order(&Order::Members { members }).await?;
    let listened: Vec<Listened> = clients.result().await?;
    // They come one after the other, and leave together.
    Ok(judge(&listened, count, seconds - opening))
}

/// Three become six.
async fn scale_up(stage: &mut Stage) -> Result<()> {
    for _ in 0..3 {
        stage.add_origin().await?;
    }
    let members = (0..6).map(|index| stage.member(index)).collect();
    stage.order(&Order::Members { members }).await?;
    Ok(())
}

/// Nobody new comes, everybody is asked to go.
async fn leave_in_order(stage: &mut Stage, index: usize) -> Result<()> {
    let (id, seconds) = (name(index), 0.0);
    stage
        .order(&Order::Drain {
            id: id.clone(),
            seconds,
        })
        .await?;
    stage
        .order_origin(index, &origin::Order::Close { code: CODE })
        .await?;
    stage.order(&Order::Drain { id, seconds: 3.0 }).await?;
    Ok(())
}

fn judge(listened: &[Listened], count: f64, seconds: f64) -> Vec<Figure> {
    let sum = |of: fn(&Listened) -> u64| listened.iter().map(of).sum::<u64>();
    let closes: Vec<_> = listened.iter().flat_map(|one| &one.closes).collect();
    let abrupt = closes
        .iter()
        .filter(|code| !GOOD_CODES.contains(code))
        .count();
    let reconnects: Vec<_> = listened
        .iter()
        .flat_map(|one| one.reconnects.clone())
        .collect();
    let expected = count * seconds * PER_SECOND;
    vec![
        at_least(
            "messages, of eight tenths of all",
            sum(|one| one.messages) as f64,
            0.8 * expected,
        ),
        exactly("numbers missing", sum(|one| one.gaps) as usize, 0)
            .of(format!("for {count} clients")),
        exactly("numbers twice", sum(|one| one.duplicates) as usize, 0),
        at_least(
            "connections that ended and came back",
            reconnects.len() as f64,
            0.5 * count,
        ),
        at_most(
            "p99 ms until the next number",
            percentile(reconnects, 0.99),
            2000.0,
        ),
        exactly("ends without close code 1001 or 1012", abrupt, 0)
            .of(format!("of {}", closes.len())),
    ]
}
