//! Jobs: submitted twice (once must count), followed to the end, left and
//! resumed on the way, read once more afterwards.

use http::{Method, StatusCode};
use tokio::time::sleep;

use super::socket::Socket;
use super::{CRASH_PAUSE, CRASH_TRIES, SEEDS, Traffic};
use crate::ledger::Kind;
use crate::track::{Message, Progress};

pub(crate) async fn work(traffic: Traffic, worker: usize) {
    let process = std::process::id();
    let mut round = 0;
    while traffic.next_round(round).await {
        round += 1;
        let tag = fastrand::u32(..);
        let id = format!("judge-{process}-{worker}-{round}-{tag:08x}");
        one(&traffic, &id, round % SEEDS).await;
    }
}

async fn one(traffic: &Traffic, id: &str, seed: u64) {
    let path = format!("/simulations/{id}");
    let spec = traffic.spec(seed, traffic.args.iterations);
    let begun = traffic.phases.moment();
    if traffic
        .idempotent(Method::PUT, &path, &spec)
        .await
        .is_none()
    {
        return;
    }
    traffic.ledger().jobs.submitted += 1;
    if let Some(again) = traffic.idempotent(Method::PUT, &path, &spec).await
        && again.status != StatusCode::OK
    {
        traffic.lose(
            Kind::Contract,
            format!("{path}: submitted again: {}", again.status),
        );
    }

    let mut progress = Progress::default();
    if !follow(traffic, id, &mut progress).await {
        return;
    }
    if progress.attempt() > 1 {
        traffic.ledger().jobs.replayed += 1;
        if !traffic.phases.crashed_since(begun) {
            traffic.lose(
                Kind::Replayed,
                format!("{path}: attempt {}", progress.attempt()),
            );
        }
    }
    if let Some(result) = progress.result() {
        traffic.ledger().jobs.finished += 1;
        traffic.compare(seed, &path, result);
    }
    if let Some(view) = traffic.idempotent(Method::GET, &path, "").await
        && (view.body["status"] != "finished" || view.body["percent"] != 100.0)
    {
        traffic.lose(
            Kind::NoResult,
            format!("GET {path}: {}", view.body["status"]),
        );
    }
}

/// Follows a job to its final message; `false` if that did not come.
async fn follow(traffic: &Traffic, id: &str, progress: &mut Progress) -> bool {
    let begun = traffic.phases.moment();
    // Leave once, somewhere on the way, and come back.
    let mut leave_after = Some(1 + fastrand::u64(0..20));
    let mut broken = 0;
    loop {
        let error = match read(traffic, id, progress, &mut leave_after).await {
            Ok(true) => return true,
            Ok(false) => {
                traffic.ledger().jobs.left_and_resumed += 1;
                continue;
            }
            Err(error) => error,
        };
        broken += 1;
        if broken == CRASH_TRIES || !traffic.excuses(begun).await {
            let seen = progress.seen();
            traffic.lose(
                Kind::Interrupted,
                format!("progress of {id} after {seen}: {error}"),
            );
            return false;
        }
        traffic.ledger().jobs.broken_and_resumed += 1;
        sleep(CRASH_PAUSE).await;
    }
}

/// Reads one connection's messages. `Ok(true)`: the final one has come and a
/// proper goodbye. `Ok(false)`: left on purpose.
async fn read(
    traffic: &Traffic,
    id: &str,
    progress: &mut Progress,
    leave_after: &mut Option<u64>,
) -> Result<bool, String> {
    let path = format!("/simulations/{id}/progress?after={}", progress.seen());
    let mut socket = Socket::connect(&traffic.target, &path).await?;
    while let Some(text) = socket.next().await? {
        let message: Message = match serde_json::from_str(&text) {
            Ok(message) => message,
            Err(error) => {
                traffic.lose(Kind::Contract, format!("progress of {id}: {error}"));
                continue;
            }
        };
        traffic.ledger().jobs.messages += 1;
        for kind in progress.observe(&message) {
            let Message {
                seq,
                percent,
                status,
                ..
            } = &message;
            let what = format!("progress of {id}: message {seq}, {percent} %, {status}");
            traffic.lose(kind, what);
        }
        if leave_after.is_some_and(|number| progress.seen() >= number) && !progress.is_complete() {
            *leave_after = None;
            socket.leave().await;
            return Ok(false);
        }
    }
    if progress.is_complete() {
        Ok(true)
    } else {
        Err("closed as if complete, without a final message".into())
    }
}
