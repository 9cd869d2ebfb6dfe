//! Slow heads: closed without a timer per request.
//!
//! Each worker counts seconds. A connection notes the second in which the first
//! byte of a head came, and forgets it when the head is complete (the service
//! is called) or something is written. Once a second the worker closes those
//! whose head has been under way for too long. Idle connections have none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::ending::Ending;

/// Parts of an answer up to this size in all are written as one.
const JOINED_BYTES: usize = 1 << 10;

// All orderings here are relaxed: one thread owns a worker's connections, and
// the atomics only satisfy the types.

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The second in which a head was begun; 0 when none is under way.
    begun: AtomicU32,
    /// A request was received and nothing written since.
    busy: AtomicBool,
    clock: Arc<AtomicU32>,
    /// Beside its pace because both are told to the same connection.
    pub(super) ending: Ending,
}

impl Pace {
    /// A whole head has come.
    pub(super) fn head_complete(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
    }

    fn has_read(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 && !self.busy.load(Ordering::Relaxed) {
            self.begun
                .store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn has_written(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
    }
}

/// The connections of one worker.
#[derive(Debug)]
pub(super) struct Paces {
    /// Seconds, from 1.
    clock: Arc<AtomicU32>,
    limit: u32,
    connections: Vec<(Arc<Pace>, AbortHandle)>,
}

impl Paces {
    pub(super) fn new(limit: std::time::Duration) -> Self {
        let limit = u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1);
        Self {
            clock: Arc::new(AtomicU32::new(1)),
            limit,
            connections: Vec::new(),
        }
    }

    pub(super) fn pace(&self) -> Arc<Pace> {
        Arc::new(Pace {
            clock: Arc::clone(&self.clock),
            ..Pace::default()
        })
    }

    pub(super) fn watch(&mut self, pace: Arc<Pace>, task: AbortHandle) {
        self.connections.push((pace, task));
    }

    /// `true` while fewer than `most` connections are open. Looks closely only
    /// when there may be too many.
    pub(super) fn has_room(&mut self, most: usize) -> bool {
        if self.connections.len() >= most {
            self.connections.retain(|(_, task)| !task.is_finished());
        }
        self.connections.len() < most
    }

    /// Every connection is to finish what has begun, and end.
    pub(super) fn ask_to_finish(&self) {
        for (pace, _) in &self.connections {
            pace.ending.ask();
        }
    }

    /// One second is over: closes what is too slow.
    pub(super) fn tick(&mut self) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        self.connections.retain(|(pace, task)| {
            let begun = pace.begun.load(Ordering::Relaxed);
            if begun != 0 && now.saturating_sub(begun) > self.limit {
                task.abort();
            }
            !task.is_finished()
        });
    }
}

/// A client's socket that tells its pace.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) stream: TcpStream,
    pub(super) pace: Arc<Pace>,
}

impl Paced {
    /// Something has come that is not read yet.
    pub(super) fn begun(&self) {
        self.pace.has_read();
    }
}

/// All parts as one, where that is little: one piece costs the kernel so much
/// less than several that the copy pays.
fn join<'a>(parts: &[io::IoSlice<'_>], joined: &'a mut [u8; JOINED_BYTES]) -> Option<&'a [u8]> {
    let length = parts.iter().map(|part| part.len()).sum();
    let whole = joined.get_mut(..length)?;
    let mut rest = &mut *whole;
    for part in parts {
        let (start, end) = rest.split_at_mut_checked(part.len())?;
        start.copy_from_slice(part);
        rest = end;
    }
    Some(whole)
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.pace.has_read();
        }
        read
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pace.has_written();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pace.has_written();
        let mut joined = [0; JOINED_BYTES];
        match join(parts, &mut joined) {
            Some(whole) => Pin::new(&mut self.stream).poll_write(cx, whole),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
