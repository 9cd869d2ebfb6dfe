//! Tunnels: `/ticks`, numbered ticks through a WebSocket that nobody on the way
//! understands.

use serde::Deserialize;
use tokio::time::sleep;

use super::socket::Socket;
use super::{CRASH_PAUSE, CRASH_TRIES, Traffic};
use crate::ledger::Kind;
use crate::track::Ticks;

#[derive(Debug, Deserialize)]
struct Tick {
    instance: String,
    tick: u64,
}

pub(crate) async fn work(traffic: Traffic, worker: usize) {
    let mut round = 0;
    while traffic.next_round(round).await {
        round += 1;
        one(&traffic, &format!("tunnel {worker}.{round}")).await;
    }
}

/// One tunnel to its last tick. Only a crash excuses opening it again.
async fn one(traffic: &Traffic, name: &str) {
    let mut ticks = Ticks::new(traffic.args.ticks);
    let begun = traffic.phases.moment();
    traffic.ledger().tunnels.opened += 1;
    for attempt in 0..CRASH_TRIES {
        if attempt > 0 {
            traffic.ledger().tunnels.broken_and_resumed += 1;
            sleep(CRASH_PAUSE).await;
        }
        match follow(traffic, name, &mut ticks).await {
            Ok(()) => {
                traffic.ledger().tunnels.completed += 1;
                return;
            }
            Err(_) if ticks.is_complete() && traffic.phases.crashed_since(begun) => {
                traffic.ledger().tunnels.completed += 1;
                return;
            }
            Err(error) if attempt + 1 == CRASH_TRIES || !traffic.excuses(begun).await => {
                let seen = ticks.seen();
                traffic.lose(
                    Kind::Interrupted,
                    format!("{name} after tick {seen}: {error}"),
                );
                return;
            }
            Err(_) => {}
        }
    }
}

async fn follow(traffic: &Traffic, name: &str, ticks: &mut Ticks) -> Result<(), String> {
    let path = format!(
        "/ticks?count={}&every_ms={}&from={}",
        ticks.missing(),
        traffic.args.tick_ms,
        ticks.seen() + 1
    );
    let mut socket = Socket::connect(&traffic.target, &path).await?;
    while let Some(text) = socket.next().await? {
        let Ok(tick) = serde_json::from_str::<Tick>(&text) else {
            traffic.lose(Kind::Contract, format!("{name}: {text}"));
            continue;
        };
        traffic.ledger().tunnels.ticks += 1;
        if let Some(kind) = ticks.observe(tick.tick) {
            traffic.lose(
                kind,
                format!("{name}: tick {} from {}", tick.tick, tick.instance),
            );
        }
    }
    if ticks.is_complete() {
        Ok(())
    } else {
        Err(format!(
            "closed as if complete, {} ticks missing",
            ticks.missing()
        ))
    }
}
