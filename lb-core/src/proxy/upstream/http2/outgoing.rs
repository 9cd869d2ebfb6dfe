//! The request's half of a stream: what is sent, as the connection has room.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::SendStream;
use http::HeaderMap;

use super::session::to_io;
use crate::proxy::rules::http2::{BodyForm, Step};

/// Body bytes taken in before the connection has room for them, at most.
const AHEAD: usize = 16 << 10;

/// How far the request is.
pub(super) enum Outgoing {
    Head,
    Body(Upload),
    Ended,
}

/// A body on its way.
pub(super) struct Upload {
    send: SendStream<Bytes>,
    form: BodyForm,
    /// Bytes taken in, in the form of HTTP/1.1.
    input: Bytes,
    /// Data that waits for room, and whether it is the last.
    data: Bytes,
    last: bool,
}

impl Outgoing {
    /// What follows a head that was sent.
    pub(super) fn after_head(send: SendStream<Bytes>, form: BodyForm) -> Self {
        if form.is_empty() {
            return Self::Ended;
        }
        Self::Body(Upload {
            send,
            form,
            input: Bytes::new(),
            data: Bytes::new(),
            last: false,
        })
    }

    /// Takes some of `bytes` in, once all before them have left.
    pub(super) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pump(cx))?;
        let Self::Body(upload) = self else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let count = bytes.len().min(AHEAD);
        upload.input = Bytes::copy_from_slice(&bytes[..count]);
        // What has no room yet goes with the next write, flush or read.
        if let Poll::Ready(sent) = self.poll_pump(cx) {
            sent?;
        }
        Poll::Ready(Ok(count))
    }

    /// Sends what was taken in, as the connection has room.
    pub(super) fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Body(upload) = self else {
            return Poll::Ready(Ok(()));
        };
        if ready!(upload.poll_send(cx))? {
            *self = Self::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a tunnel's upward half.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pump(cx))?;
        if let Self::Body(upload) = self {
            upload.send.send_data(Bytes::new(), true).map_err(to_io)?;
            *self = Self::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

impl Upload {
    /// Ready when everything taken in was sent; `true` when it was the end.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            while self.data.has_remaining() {
                let room = ready!(poll_room(&mut self.send, self.data.len(), cx))?;
                let piece = self.data.split_to(room.min(self.data.len()));
                let ends = self.last && !self.data.has_remaining();
                self.send.send_data(piece, ends).map_err(to_io)?;
                if ends {
                    return Poll::Ready(Ok(true));
                }
            }
            let step = self.form.next(&mut self.input);
            match step.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))? {
                Step::NeedMore => return Poll::Ready(Ok(false)),
                Step::Data(data, last) => (self.data, self.last) = (data, last),
                Step::End(trailers) => {
                    self.end(trailers)?;
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> io::Result<()> {
        match trailers {
            Some(trailers) => self.send.send_trailers(trailers),
            None => self.send.send_data(Bytes::new(), true),
        }
        .map_err(to_io)
    }
}

/// Room for at least one byte.
fn poll_room(
    send: &mut SendStream<Bytes>,
    wanted: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted);
    while send.capacity() == 0 {
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    Poll::Ready(Ok(send.capacity()))
}
