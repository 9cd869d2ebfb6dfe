//! Slow heads: closed without a timer per request.
//!
//! Each worker counts seconds. A connection notes the second in which the first
//! byte of a head came, and forgets it when the head is complete (the service
//! is called) or something is written. Once a second the worker closes those
//! whose head has been under way for too long. Idle connections have none. What
//! belongs to a body, or to a frame of HTTP/2, is no head: those have limits of
//! their own.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::ending::Ending;
use super::outbox::Outbox;
use crate::proxy::interim::Outlet;

/// Parts of an answer up to this size in all are written as one.
const JOINED_BYTES: usize = 1 << 10;
/// What is read away at once.
const LINGER_BYTES: usize = 8 << 10;

// All orderings here are relaxed: one thread owns a worker's connections, and
// the atomics only satisfy the types.

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The second in which a head was begun; 0 when none is under way.
    begun: AtomicU32,
    /// A request was received and nothing written since.
    busy: AtomicBool,
    /// Bodies under way, and one for good if heads come in frames.
    bodies: AtomicU32,
    /// A body was not read to its end: the client may still be sending it.
    cut: AtomicBool,
    clock: Arc<AtomicU32>,
    /// Beside its pace because both are told to the same connection.
    pub(super) ending: Ending,
    outbox: Outbox,
}

impl Pace {
    /// A whole head has come.
    pub(super) fn head_complete(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
        // What was cut before has come to its end, or there would be no further head.
        self.cut.store(false, Ordering::Relaxed);
    }

    /// What comes from now on belongs to a body.
    pub(super) fn body_begins(&self) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    /// It is over, and was read as a `whole`, or nobody wants the rest.
    pub(super) fn body_ends(&self, whole: bool) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
        if !whole {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// The client speaks HTTP/2, which tells heads from everything else by itself.
    pub(super) fn speaks_http2(&self) {
        self.body_begins();
        self.begun.store(0, Ordering::Relaxed);
    }

    fn has_read(&self) {
        let expected =
            !self.busy.load(Ordering::Relaxed) && self.bodies.load(Ordering::Relaxed) == 0;
        if expected && self.begun.load(Ordering::Relaxed) == 0 {
            self.begun
                .store(self.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn has_written(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.begun.store(0, Ordering::Relaxed);
    }
}

impl Outlet for Pace {
    fn offer(&self, head: Bytes) {
        self.outbox.offer(head);
    }

    fn is_waiting(&self) -> bool {
        self.outbox.is_waiting()
    }

    fn withdraw(&self) {
        self.outbox.withdraw();
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

    /// Reads away what the client still sends. A socket that is closed over unread bytes
    /// resets the connection, and may take the answer back with it (RFC 9112, 9.6). That
    /// takes as long as a head may, at most.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pace.ending.is_asked() {
            // A server that ends waits for nobody's rest.
            return Poll::Ready(Ok(()));
        }
        self.pace.busy.store(false, Ordering::Relaxed);
        self.pace.has_read();
        let mut away = [0; LINGER_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut away);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Ready to write: an interim head that has begun to leave goes first.
    #[inline]
    fn poll_clear(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.has_written();
        if self.pace.outbox.is_occupied() {
            return self.poll_begun(cx);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    #[inline(never)]
    fn poll_begun(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.pace.outbox.has_begun() {
            return self.pace.outbox.poll_send(cx, &mut self.stream);
        }
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes all parts as one, where that is little: one piece costs the kernel so much
/// less than several that the copy pays. `None` where it is not.
fn write_joined<T>(parts: &[io::IoSlice<'_>], write: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    (length <= JOINED_BYTES).then(|| {
        JOINED.with_borrow_mut(|joined| {
            joined.clear();
            parts.iter().for_each(|part| joined.extend_from_slice(part));
            write(joined)
        })
    })
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
        ready!(self.poll_clear(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_clear(cx))?;
        let stream = &mut self.stream;
        write_joined(parts, |whole| Pin::new(&mut *stream).poll_write(cx, whole))
            .unwrap_or_else(|| Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.as_mut().get_mut();
        if this.pace.outbox.is_occupied() {
            ready!(this.pace.outbox.poll_send(cx, &mut this.stream))?;
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.pace.cut.load(Ordering::Relaxed) {
            return self.poll_linger(cx);
        }
        Poll::Ready(Ok(()))
    }
}
