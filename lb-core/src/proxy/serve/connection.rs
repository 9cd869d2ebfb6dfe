//! One client's connection: which version it speaks, and its life.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::ServeOptions;
use super::pace::{Pace, Paced};
use super::worker::Front;

/// How the first bytes of HTTP/2 differ from every method of HTTP/1.
const PREFACE: &[u8] = b"PRI ";
/// Between two looks at a preface of which only one or two bytes have come.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How connections of either version are served.
#[derive(Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(options: &ServeOptions) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(64 << 10);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .max_concurrent_streams(options.max_streams)
            .max_header_list_size(32 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { http1, http2 }
    }

    /// Serves one connection to its end; after an order to finish, only what
    /// has begun.
    pub(super) async fn serve(self: Arc<Self>, stream: Paced, front: Front, pace: Arc<Pace>) {
        let http2 = match speaks_http2(&stream).await {
            Ok(http2) => http2,
            Err(error) => {
                tracing::debug!(%error, "a client left before it spoke");
                return;
            }
        };
        let stream = TokioIo::new(stream);
        // Boxed: each takes the room of its own version, and only once.
        let served = if http2 {
            pace.speaks_http2();
            let connection = Box::pin(self.http2.serve_connection(stream, front));
            drop(self);
            drive(connection, &pace, |connection| {
                connection.graceful_shutdown();
            })
            .await
        } else {
            let connection = Box::pin(self.http1.serve_connection(stream, front).with_upgrades());
            drop(self);
            drive(connection, &pace, |connection| {
                connection.graceful_shutdown();
            })
            .await
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a client's connection ended");
        }
    }
}

/// Drives a connection to its end, and asks it to finish when it is time.
async fn drive<C>(
    mut connection: Pin<Box<C>>,
    pace: &Arc<Pace>,
    finish: impl Fn(Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut told = false;
    let waker = Waker::from(Arc::clone(pace));
    poll_fn(|cx| {
        pace.ending.belongs_to(cx.waker());
        let cx = &mut Context::from_waker(&waker);
        loop {
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(served);
            }
            if told || !pace.ending.is_asked() {
                return Poll::Pending;
            }
            told = true;
            finish(connection.as_mut());
        }
    })
    .await
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(stream: &Paced) -> io::Result<bool> {
    loop {
        let mut start = [0; PREFACE.len()];
        let count = stream.stream.peek(&mut start).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(&start[..count]) {
            return Ok(false);
        }
        if count == PREFACE.len() {
            return Ok(true);
        }
        stream.begun();
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
