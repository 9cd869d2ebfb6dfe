//! Interim heads between a request and its client's socket.
//!
//! hyper flushes a socket when it has written everything it had, and after each turn of
//! the request's service (hyper 1.12, `proto/h1/dispatch.rs`, `poll_loop`, and
//! `proto/h1/io.rs`, `Buffered::poll_flush`). The next service is called only when the
//! answer before it was given to the buffer as a whole. So at a flush the last byte of
//! that answer has left, and nothing of the next one has: there a head fits in. What a
//! full socket leaves of it goes before anything else is written.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite;

use crate::proxy::interim::Outlet;

/// Room for one head, shared by the connection and its request, which are one task.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The slot is not empty. Relaxed: a task sees its own writes; the lock orders the rest.
    occupied: AtomicBool,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Waiting(Bytes),
    /// Its first bytes have left.
    Begun(Bytes),
}

impl Outbox {
    /// There is something to write.
    #[inline]
    pub(super) fn is_occupied(&self) -> bool {
        self.occupied.load(Ordering::Relaxed)
    }

    /// Some bytes of a head have left, and the others must follow.
    pub(super) fn has_begun(&self) -> bool {
        matches!(*self.lock(), Slot::Begun(_))
    }

    /// Writes what there is. Wakes the task when it has left, because the request waits
    /// for that.
    #[cold]
    #[inline(never)]
    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        let mut slot = self.lock();
        while let Slot::Waiting(bytes) | Slot::Begun(bytes) = &mut *slot {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
            let rest = std::mem::take(bytes);
            *slot = if rest.is_empty() {
                self.occupied.store(false, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Slot::Empty
            } else {
                Slot::Begun(rest)
            };
        }
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Outbox {
    fn offer(&self, head: Bytes) {
        let mut slot = self.lock();
        if matches!(*slot, Slot::Empty) {
            *slot = Slot::Waiting(head);
            self.occupied.store(true, Ordering::Relaxed);
        }
    }

    fn is_waiting(&self) -> bool {
        self.is_occupied()
    }

    fn withdraw(&self) {
        let mut slot = self.lock();
        if matches!(*slot, Slot::Waiting(_)) {
            *slot = Slot::Empty;
            self.occupied.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

    fn send<S: AsyncWrite + Unpin>(outbox: &Outbox, stream: &mut S) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let sent = outbox.poll_send(&mut cx, stream);
        sent.map(|sent| sent.expect("the stream is open"))
            .is_ready()
    }

    #[tokio::test]
    async fn a_head_that_has_begun_to_leave_leaves_whole() {
        let (mut near, mut far) = tokio::io::duplex(10);
        let outbox = Outbox::default();
        outbox.offer(Bytes::from_static(HEAD));
        assert!(!outbox.has_begun() && outbox.is_waiting());
        assert!(!send(&outbox, &mut near), "ten bytes fit");
        assert!(outbox.has_begun());
        // Too late, and no second one gets in between.
        outbox.withdraw();
        outbox.offer(Bytes::from_static(b"other"));
        let mut seen = Vec::new();
        while outbox.is_waiting() {
            assert!(far.read_buf(&mut seen).await.expect("open") > 0);
            send(&outbox, &mut near);
        }
        drop(near);
        far.read_to_end(&mut seen).await.expect("open");
        assert_eq!(seen, HEAD);
    }

    #[test]
    fn a_head_that_has_not_begun_to_leave_can_be_withdrawn() {
        let (outbox, mut out) = (Outbox::default(), Vec::new());
        outbox.offer(Bytes::from_static(HEAD));
        outbox.withdraw();
        assert!(!outbox.is_waiting() && send(&outbox, &mut out));
        assert!(out.is_empty());
    }
}
