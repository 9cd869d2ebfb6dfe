//! The page, and the facts it shows: one snapshot for all who watch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::Problem;

/// How often the page gets news.
const EVERY: Duration = Duration::from_millis(500);
/// Open pages at one time.
const WATCHERS: usize = 64;

const HTML: &str = include_str!("../../dashboard/index.html");
const SCRIPT: &str = include_str!("../../dashboard/dashboard.js");
const STYLE: &str = include_str!("../../dashboard/dashboard.css");

/// Nothing but the page's own three files, and nobody may frame it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Keeps the snapshot fresh; dropping it stops that.
#[derive(Debug)]
pub struct Board {
    snapshot: watch::Receiver<Arc<str>>,
    task: JoinHandle<()>,
}

impl Drop for Board {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Board {
    /// Takes a snapshot (a JSON object) twice a second from now on.
    pub fn start(snapshot: impl Fn() -> BoxFuture<'static, String> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(Arc::from("{}"));
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(EVERY);
            loop {
                tick.tick().await;
                sender.send_replace(snapshot().await.into());
            }
        });
        Self {
            snapshot: receiver,
            task,
        }
    }
}

#[derive(Clone, Debug)]
struct Shared {
    board: Arc<Board>,
    watchers: Arc<Semaphore>,
}

/// The routes of the page.
pub fn board(board: Board) -> Router {
    let shared = Shared {
        board: Arc::new(board),
        watchers: Arc::new(Semaphore::new(WATCHERS)),
    };
    Router::new()
        .route(
            "/",
            get(|| async { file("text/html; charset=utf-8", HTML) }),
        )
        .route(
            "/dashboard.js",
            get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }),
        )
        .route(
            "/dashboard.css",
            get(|| async { file("text/css; charset=utf-8", STYLE) }),
        )
        .route("/status", get(status))
        .route("/events", get(events))
        .with_state(shared)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let nosniff = HeaderName::from_static("x-content-type-options");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (nosniff, HeaderValue::from_static("nosniff")),
    ];
    (headers, text).into_response()
}

async fn status(State(shared): State<Shared>) -> Response {
    let snapshot = Arc::clone(&shared.board.snapshot.borrow());
    (
        [(header::CONTENT_TYPE, "application/json")],
        snapshot.to_string(),
    )
        .into_response()
}

async fn events(State(shared): State<Shared>) -> Result<Response, Problem> {
    let permit = shared.watchers.clone().try_acquire_owned().map_err(|_| {
        let hint = "close another dashboard, or read /status";
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many dashboards are open",
            hint,
        )
    })?;
    let mut snapshot = shared.board.snapshot.clone();
    snapshot.mark_changed();
    let news = stream::unfold((snapshot, permit), |(mut snapshot, permit)| async move {
        snapshot.changed().await.ok()?;
        let text = Arc::clone(&snapshot.borrow_and_update());
        Some((
            Ok::<_, Infallible>(Event::default().data(&*text)),
            (snapshot, permit),
        ))
    });
    Ok(Sse::new(news.boxed())
        .keep_alive(KeepAlive::default())
        .into_response())
}
