//! The request on its way to an endpoint: head and body, in as few writes as
//! possible, and kept for a second attempt while it is small.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::scratch;
use crate::observe;
use crate::proxy::ProxyError;
use crate::proxy::rules::head::{write_chunk_size, write_last_chunk};
use crate::proxy::rules::request::Framing;

/// A request up to this size, head included, can be sent twice.
const REPLAY_BYTES: usize = 64 << 10;
/// A piece of the body larger than this is written from where it lies.
const COPY_BYTES: usize = 4 << 10;

/// Why a request could not be sent to its end.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client's body is at fault.
    Client(ProxyError),
    /// The connection to the endpoint is.
    Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The client waits for a word before it sends its body.
    Held,
    Open,
    Ended,
}

/// A request that is being sent.
#[derive(Debug)]
pub(crate) struct Upload<B: Body> {
    body: Option<B>,
    framing: Framing,
    source: Source,
    /// Body bytes that may still come: the length, or the limit.
    left: u64,
    /// Serialised bytes; those before `written` were sent.
    out: Vec<u8>,
    written: usize,
    /// A large piece that follows `out`.
    large: Option<B::Data>,
    /// `out` holds everything from the first byte on.
    rewindable: bool,
    first_chunk: bool,
    /// A first look at the body found nothing: give it one more turn, because
    /// head and body then leave in one write.
    patience: bool,
    /// At least one byte reached a socket.
    sent: bool,
}

impl<B> Upload<B>
where
    B: Body + Unpin,
{
    /// A request whose head is in `out` already. `limit` bounds a body of
    /// unknown length.
    pub(crate) fn new(
        out: Vec<u8>,
        body: B,
        framing: Framing,
        limit: Option<u64>,
        held: bool,
    ) -> Self {
        let (source, left) = match framing {
            Framing::Empty | Framing::Close | Framing::Length(0) => (Source::Ended, 0),
            Framing::Length(length) => (Source::Open, length),
            Framing::Chunked => (Source::Open, limit.unwrap_or(u64::MAX)),
        };
        let held = held && source == Source::Open;
        Self {
            body: Some(body),
            framing,
            source: if held { Source::Held } else { source },
            left,
            out,
            written: 0,
            large: None,
            rewindable: true,
            first_chunk: true,
            patience: !held && source == Source::Open,
            sent: false,
        }
    }

    /// The endpoint, or the clock, said that the body may come.
    pub(crate) fn release(&mut self) {
        if self.source == Source::Held {
            self.source = Source::Open;
        }
    }

    /// The client waits for a word before it sends its body.
    pub(crate) fn is_held(&self) -> bool {
        self.source == Source::Held
    }

    /// Everything was written.
    pub(crate) fn is_finished(&self) -> bool {
        self.source == Source::Ended && self.large.is_none() && self.written == self.out.len()
    }

    /// The proxy waits for the client, not for the endpoint.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.source == Source::Open && self.large.is_none() && self.written == self.out.len()
    }

    /// Bytes that may still come, and bytes that are still to be written.
    pub(crate) fn position(&self) -> (u64, usize) {
        let large = self.large.as_ref().map_or(0, Buf::remaining);
        (self.left, self.out.len() - self.written + large)
    }

    /// At least one byte of this attempt reached a socket.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent
    }

    /// The request can be sent from its first byte on.
    pub(crate) fn is_rewindable(&self) -> bool {
        self.rewindable
    }

    /// Takes over what is left to send; this one counts as finished.
    pub(crate) fn split(&mut self) -> Self {
        let source = std::mem::replace(&mut self.source, Source::Ended);
        Self {
            body: self.body.take(),
            source,
            out: std::mem::take(&mut self.out),
            written: std::mem::take(&mut self.written),
            large: self.large.take(),
            rewindable: false,
            ..*self
        }
    }

    /// The same request once more, if every byte of it is at hand.
    pub(crate) fn twin(&self) -> Option<Self> {
        let whole = self.rewindable && self.source == Source::Ended && self.large.is_none();
        whole.then(|| Self {
            body: None,
            large: None,
            out: self.out.clone(),
            written: 0,
            sent: false,
            ..*self
        })
    }

    /// Writes over bytes of a head of which nothing was sent.
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let place = self.out.get_mut(at..at + bytes.len());
        if let Some(place) = place.filter(|_| self.written == 0) {
            place.copy_from_slice(bytes);
        }
    }

    /// Starts over, for another endpoint.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
        self.sent = false;
    }

    /// Sends as much as possible. `Ready` when all of it was written, or when
    /// it cannot be.
    pub(crate) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            let waiting = self.fill(cx)?;
            if self.large.is_none() && self.written == self.out.len() {
                if self.source == Source::Ended {
                    return Poll::Ready(Ok(()));
                }
                if waiting {
                    return Poll::Pending;
                }
                continue;
            }
            if waiting && std::mem::take(&mut self.patience) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_write(cx, stream) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(UploadError::Endpoint)),
                Poll::Ready(Ok(count)) => self.advance(count),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes body pieces in until there is enough to write. `true` when the
    /// body has nothing now.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<bool, UploadError> {
        while self.source == Source::Open
            && self.large.is_none()
            && self.out.len() - self.written < COPY_BYTES * 4
        {
            let client = |fault| Err(UploadError::Client(fault));
            let Some(body) = &mut self.body else {
                return Ok(true);
            };
            // A body that panics costs its request, not whatever else the connection carries.
            let mut polled = None;
            observe::guarded("request body", || {
                polled = Some(Pin::new(body).poll_frame(cx));
            });
            match polled {
                Some(Poll::Pending) => return Ok(true),
                Some(Poll::Ready(Some(Ok(frame)))) => self.take_frame(frame)?,
                Some(Poll::Ready(Some(Err(_)))) => return client(ProxyError::InvalidBody),
                Some(Poll::Ready(None)) => self.end(None)?,
                None => return client(ProxyError::Internal),
            }
        }
        Ok(self.source == Source::Held)
    }

    fn take_frame(&mut self, frame: Frame<B::Data>) -> Result<(), UploadError> {
        match frame.into_data() {
            Ok(data) => self.take_data(data),
            Err(frame) => frame
                .into_trailers()
                .map_or(Ok(()), |fields| self.end(Some(&fields))),
        }
    }

    fn take_data(&mut self, mut data: B::Data) -> Result<(), UploadError> {
        let size = data.remaining();
        if size == 0 {
            return Ok(());
        }
        let Some(left) = self.left.checked_sub(size as u64) else {
            let fault = match self.framing {
                Framing::Chunked => ProxyError::BodyTooLarge,
                _ => ProxyError::AmbiguousFraming,
            };
            return Err(UploadError::Client(fault));
        };
        self.left = left;
        if self.framing == Framing::Chunked {
            write_chunk_size(&mut self.out, size, self.first_chunk);
            self.first_chunk = false;
        } else if left == 0 {
            // The length is reached: nothing may follow, so do not wait for the end.
            self.source = Source::Ended;
        }
        if size > COPY_BYTES && (!self.rewindable || self.out.len() + size > REPLAY_BYTES) {
            self.rewindable = false;
            self.large = Some(data);
            return Ok(());
        }
        while data.has_remaining() {
            let piece = data.chunk();
            self.out.extend_from_slice(piece);
            let length = piece.len();
            data.advance(length);
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) -> Result<(), UploadError> {
        if self.framing == Framing::Chunked {
            write_last_chunk(&mut self.out, self.first_chunk, trailers);
        } else if self.left > 0 {
            return Err(UploadError::Client(ProxyError::InvalidBody));
        }
        self.source = Source::Ended;
        Ok(())
    }

    fn poll_write<S: AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        let pending = &self.out[self.written..];
        match &self.large {
            Some(data) if pending.is_empty() => stream.poll_write(cx, data.chunk()),
            Some(data) => {
                let parts = [IoSlice::new(pending), IoSlice::new(data.chunk())];
                stream.poll_write_vectored(cx, &parts)
            }
            None => stream.poll_write(cx, pending),
        }
    }

    fn advance(&mut self, count: usize) {
        self.sent = true;
        let from_out = count.min(self.out.len() - self.written);
        self.written += from_out;
        if let Some(data) = &mut self.large {
            data.advance(count - from_out);
            if !data.has_remaining() {
                self.large = None;
            }
        }
        if self.written == self.out.len() {
            self.rewindable &= self.out.len() <= REPLAY_BYTES;
            if !self.rewindable {
                self.out.clear();
                self.written = 0;
            }
        }
    }
}

impl<B: Body> Drop for Upload<B> {
    fn drop(&mut self) {
        scratch::give_back(std::mem::take(&mut self.out));
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
