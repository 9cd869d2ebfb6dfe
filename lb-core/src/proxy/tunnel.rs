//! Raw bytes in both directions, until both have ended.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::upstream::scratch;
use crate::clock;

/// Two streams and what is under way between them.
///
/// Each direction holds at most one piece that was read and not yet written, so
/// a slow reader slows the sender down. The end of one side is passed on as a
/// half-close; the tunnel ends when both sides have ended, when either fails, or
/// when nothing has moved for the idle limit. A tunnel at rest owns no buffer.
pub(crate) struct Tunnel<A, B> {
    client: A,
    endpoint: B,
    upward: Flow,
    downward: Flow,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    moved: bool,
}

/// How a tunnel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// Both sides closed.
    Closed,
    /// One side broke off.
    Broken,
    /// Nothing moved for the limit.
    Idle,
}

/// One direction.
#[derive(Debug)]
enum Flow {
    /// Bytes on their way; empty: read more.
    Open(Bytes),
    /// The source has ended; the sink is being told.
    Closing,
    Closed,
}

impl<A, B> Tunnel<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// `early` came from the endpoint together with its 101.
    pub(crate) fn new(client: A, endpoint: B, early: Bytes, idle: Duration) -> Self {
        Self {
            client,
            endpoint,
            upward: Flow::Open(Bytes::new()),
            downward: Flow::Open(early),
            idle,
            sleep: Box::pin(tokio::time::sleep_until(Instant::from_std(
                clock::now() + idle,
            ))),
            moved: false,
        }
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let moved = &mut self.moved;
        let up = self
            .upward
            .poll_move(cx, &mut self.client, &mut self.endpoint, moved)?;
        let down = self
            .downward
            .poll_move(cx, &mut self.endpoint, &mut self.client, moved)?;
        if up.is_ready() && down.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl<A, B> Future for Tunnel<A, B>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    type Output = TunnelEnd;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let this = self.get_mut();
        match this.poll_both(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(TunnelEnd::Closed),
            Poll::Ready(Err(_)) => return Poll::Ready(TunnelEnd::Broken),
            Poll::Pending => {}
        }
        if std::mem::take(&mut this.moved) {
            let limit = Instant::from_std(clock::now() + this.idle);
            this.sleep.as_mut().reset(limit);
        }
        this.sleep.as_mut().poll(cx).map(|()| TunnelEnd::Idle)
    }
}

impl Flow {
    /// Moves bytes until one side has to be waited for. Ready when closed.
    fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        moved: &mut bool,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self {
                Self::Closed => return Poll::Ready(Ok(())),
                Self::Closing => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx))?;
                    *self = Self::Closed;
                }
                Self::Open(bytes) if bytes.is_empty() => {
                    // What was written before must leave before waiting for more.
                    ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                    *bytes = ready!(scratch::poll_read(source, cx))?;
                    *moved = true;
                    if bytes.is_empty() {
                        *self = Self::Closing;
                    }
                }
                Self::Open(bytes) => {
                    let written = ready!(Pin::new(&mut *sink).poll_write(cx, bytes))?;
                    if written == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    bytes.advance(written);
                    *moved = true;
                }
            }
        }
    }
}

/// The tunnels of one proxy. They end with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnels(Arc<Mutex<JoinSet<()>>>);

impl Tunnels {
    /// Runs `tunnel` until it ends by itself, or with the last clone of the proxy.
    pub(crate) fn spawn(&self, tunnel: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(tunnel);
    }

    /// Tunnels that are open.
    pub(crate) fn count(&self) -> usize {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }

    /// Ends every tunnel at once.
    pub(crate) fn abort(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .abort_all();
    }
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
