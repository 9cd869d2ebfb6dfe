//! A tiny system under judgement, with at most one fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    DropTick,
    RepeatTick,
    TearTunnel,
    CloseEarly,
    SkipSeq,
    RepeatSeq,
    IgnoreAfter,
    LowerPercent,
    TearProgress,
    Replay,
    NoResult,
    FailJob,
    OtherResult,
    SlowEngine,
    RefuseDirect,
    RefuseRead,
    RefuseSubmit,
    HangUp,
    Hang,
    /// The first tunnel tears and the first read is refused; afterwards all is well.
    BreakOnce,
}

#[derive(Clone)]
struct Server {
    fault: Fault,
    /// Requests so far, of every kind for itself.
    submits: Arc<AtomicU64>,
    reads: Arc<AtomicU64>,
    tunnels: Arc<AtomicU64>,
    results: Arc<AtomicU64>,
}

pub(super) struct Fake {
    pub(super) address: String,
    serving: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Messages of each job.
const MESSAGES: u64 = 30;

impl Fake {
    pub(super) async fn start(fault: Fault) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server {
            fault,
            submits: Arc::default(),
            reads: Arc::default(),
            tunnels: Arc::default(),
            results: Arc::default(),
        };
        let router = Router::new()
            .route("/simulations/{id}", put(submit).get(view))
            .route("/simulations/{id}/progress", get(progress))
            .route("/simulate", post(direct))
            .route("/ticks", get(ticks))
            .route("/whoami", get(whoami))
            .with_state(server);
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, serving }
    }

    pub(super) async fn stop(mut self) {
        self.serving.abort();
        let _aborted = (&mut self.serving).await;
    }
}

impl Server {
    fn result(&self) -> Value {
        let number = self.results.fetch_add(1, Ordering::Relaxed);
        let mean = if self.fault == Fault::OtherResult {
            number
        } else {
            7
        };
        json!({ "mean": mean })
    }

    fn message(&self, seq: u64) -> Value {
        let last = seq == MESSAGES;
        let fallen = self.fault == Fault::LowerPercent && seq == 12;
        let percent = if fallen {
            1.0
        } else {
            100.0 * seq as f64 / MESSAGES as f64
        };
        let mut message = json!({
            "seq": seq,
            "percent": percent,
            "iterations": 1_000,
            "ultra_engine_active": self.fault != Fault::SlowEngine || seq != 9,
            "status": if last { "finished" } else { "running" },
            "attempt": if self.fault == Fault::Replay && seq > 10 { 2 } else { 1 },
        });
        if last && self.fault == Fault::FailJob {
            message["status"] = json!("failed");
        } else if last && self.fault != Fault::NoResult {
            message["result"] = self.result();
        }
        message
    }
}

async fn submit(State(server): State<Server>, Path(_): Path<String>) -> Response {
    if server.fault == Fault::RefuseSubmit {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // Each job is submitted twice by the judge, one after the other.
    let first = server.submits.fetch_add(1, Ordering::Relaxed) % 2 == 0;
    let status = if first {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    (status, Json(json!({ "status": "running" }))).into_response()
}

async fn view(State(server): State<Server>) -> Json<Value> {
    let status = if server.fault == Fault::FailJob {
        "failed"
    } else {
        "finished"
    };
    Json(json!({ "status": status, "percent": 100.0 }))
}

async fn whoami(State(server): State<Server>) -> Response {
    let first = server.reads.fetch_add(1, Ordering::Relaxed) == 0;
    if server.fault == Fault::RefuseRead || (server.fault == Fault::BreakOnce && first) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    Json(json!({ "instance": "fake" })).into_response()
}

async fn direct(State(server): State<Server>) -> Response {
    match server.fault {
        Fault::RefuseDirect => StatusCode::BAD_GATEWAY.into_response(),
        Fault::Hang => std::future::pending().await,
        Fault::HangUp => panic!("a fault that closes the connection"),
        _ => Json(json!({ "result": server.result() })).into_response(),
    }
}

#[derive(Deserialize)]
struct After {
    after: u64,
}

async fn progress(
    State(server): State<Server>,
    Query(query): Query<After>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        let after = if server.fault == Fault::IgnoreAfter {
            0
        } else {
            query.after
        };
        for seq in after + 1..=MESSAGES {
            let times = match server.fault {
                Fault::SkipSeq if seq == 7 => 0,
                Fault::RepeatSeq if seq == 7 => 2,
                Fault::TearProgress if seq == 25 => return,
                _ => 1,
            };
            for _ in 0..times {
                send(&mut socket, server.message(seq)).await;
            }
        }
        close(socket).await;
    })
}

#[derive(Deserialize)]
struct Wanted {
    count: u64,
    from: u64,
}

async fn ticks(
    State(server): State<Server>,
    Query(wanted): Query<Wanted>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let first = server.tunnels.fetch_add(1, Ordering::Relaxed) == 0;
    let tears = server.fault == Fault::TearTunnel || (server.fault == Fault::BreakOnce && first);
    upgrade.on_upgrade(move |mut socket| async move {
        for tick in wanted.from..wanted.from + wanted.count {
            let times = match server.fault {
                Fault::DropTick if tick == 3 => 0,
                Fault::RepeatTick if tick == 3 => 2,
                Fault::CloseEarly if tick == 3 => break,
                _ if tears && tick == 3 => return,
                _ => 1,
            };
            for _ in 0..times {
                send(&mut socket, json!({ "instance": "fake", "tick": tick })).await;
            }
        }
        close(socket).await;
    })
}

async fn send(socket: &mut WebSocket, message: Value) {
    let _gone = socket.send(Frame::Text(message.to_string().into())).await;
}

async fn close(mut socket: WebSocket) {
    let frame = CloseFrame {
        code: 1000,
        reason: "".into(),
    };
    let _gone = socket.send(Frame::Close(Some(frame))).await;
    while let Some(Ok(_)) = socket.recv().await {}
}
