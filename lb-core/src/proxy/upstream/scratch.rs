//! Buffers that a thread lends while it reads, and keeps for the next request.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use crate::proxy::rules::vocabulary::Vocabulary;

/// One read at most. A smaller buffer splits common answers into two reads.
const READ_BYTES: usize = 32 << 10;
/// Up to this size a read is stored beside others, without an allocation.
const SMALL_BYTES: usize = 2 << 10;
/// Room for small reads. A reader that is slow to finish holds this much.
const SHELF_BYTES: usize = 16 << 10;
/// Write buffers kept per thread.
const KEPT: usize = 64;
/// A buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 16 << 10;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SHELF: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    static WRITE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static VOCABULARY: RefCell<Vocabulary> = const { RefCell::new(Vocabulary::new()) };
}

/// Lends the names that this thread has read.
pub(crate) fn with_vocabulary<T>(read: impl FnOnce(&mut Vocabulary) -> T) -> T {
    VOCABULARY.with_borrow_mut(read)
}

/// Reads once. The bytes are copied out at their exact size, so that a waiting
/// connection owns no buffer at all. Empty at the end of the stream.
pub(crate) fn poll_read<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    READ.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            buffer.resize(READ_BYTES, 0);
        }
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        Poll::Ready(Ok(store(read.filled())))
    })
}

/// A copy of `bytes`. Small ones share a block, which is used again once
/// everybody has let go of it.
fn store(bytes: &[u8]) -> Bytes {
    if bytes.len() > SMALL_BYTES {
        return Bytes::copy_from_slice(bytes);
    }
    SHELF.with_borrow_mut(|shelf| {
        if shelf.capacity() < bytes.len() {
            shelf.reserve(SHELF_BYTES);
        }
        shelf.extend_from_slice(bytes);
        shelf.split().freeze()
    })
}

/// An empty buffer to serialise into.
pub(crate) fn take() -> Vec<u8> {
    WRITE
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| Vec::with_capacity(2 << 10))
}

/// Gives a buffer back to this thread.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES && buffer.capacity() > 0 {
        buffer.clear();
        WRITE.with_borrow_mut(|kept| {
            if kept.len() < KEPT {
                kept.push(buffer);
            }
        });
    }
}
