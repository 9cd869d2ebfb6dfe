//! Who has been somewhere stays there: a cookie binds HTTP requests and WebSockets alike.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Stage;
use super::visitor::{Visitor, WhoAmI};

const CLIENTS: usize = 10;
/// Requests of each client after its first one.
const REQUESTS: usize = 10;
/// WebSockets of each client.
const SOCKETS: usize = 2;
/// Ticks read from each WebSocket.
const TICKS: u64 = 5;

#[derive(Debug, Deserialize)]
struct Tick {
    instance: String,
    tick: u64,
}

/// Where one client was.
struct Trail {
    home: String,
    requests: usize,
    ticks: usize,
    elsewhere: usize,
    numbers_in_order: bool,
}

pub(super) async fn play(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    stage
        .show
        .chapter("Affinity: ten clients with a cookie, over HTTP and WebSocket");
    let mut trails = Vec::new();
    for _ in 0..CLIENTS {
        trails.push(trail(stage.visitor.stranger()).await?);
    }
    let rows = trails.iter().enumerate().map(|(number, trail)| {
        let (requests, ticks) = (trail.requests.to_string(), trail.ticks.to_string());
        vec![
            format!("client {}", number + 1),
            trail.home.clone(),
            requests,
            ticks,
            trail.elsewhere.to_string(),
        ]
    });
    let header = [
        "client",
        "instance",
        "requests there",
        "ticks from there",
        "elsewhere",
    ];
    stage.show.table(&header, &rows.collect::<Vec<_>>());
    let elsewhere: usize = trails.iter().map(|trail| trail.elsewhere).sum();
    let homes: BTreeSet<&str> = trails.iter().map(|trail| trail.home.as_str()).collect();
    let in_order = trails.iter().all(|trail| trail.numbers_in_order);
    stage.show.claim(
        elsewhere == 0,
        "no client was moved, neither by a request nor by a WebSocket",
    );
    stage
        .show
        .claim(in_order, "every tick of every WebSocket arrived, in order");
    stage
        .show
        .claim(homes.len() > 1, "the clients themselves are spread");
    Ok(())
}

async fn trail(mut client: Visitor) -> anyhow::Result<Trail> {
    let home = client.get::<WhoAmI>("/whoami").await?.instance;
    let mut trail = Trail {
        home,
        requests: 0,
        ticks: 0,
        elsewhere: 0,
        numbers_in_order: true,
    };
    for _ in 0..SOCKETS {
        let path = format!("/ticks?count={TICKS}&every_ms=10&from=1");
        let mut stream = client.open(&path).await?;
        let mut expected = 1;
        while let Some(tick) = stream.next::<Tick>().await? {
            trail.numbers_in_order &= tick.tick == expected;
            expected += 1;
            if tick.instance == trail.home {
                trail.ticks += 1;
            } else {
                trail.elsewhere += 1;
            }
        }
        trail.numbers_in_order &= expected == TICKS + 1;
    }
    for _ in 0..REQUESTS {
        let instance = client.get::<WhoAmI>("/whoami").await?.instance;
        if instance == trail.home {
            trail.requests += 1;
        } else {
            trail.elsewhere += 1;
        }
    }
    Ok(trail)
}
