//! The body of an answer, as it comes from a connection.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;

use super::transport::Transport;
use crate::proxy::rules::chunked::{Decoder, Piece};
use crate::proxy::rules::request::Framing;

/// The connection ended, or the coding broke, before the body was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Truncated;

/// What came.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// Reads one body to its end, and not a byte further.
#[derive(Debug)]
pub(crate) struct BodyReader {
    form: Form,
    bytes: Bytes,
    /// The connection has come to its end.
    eof: bool,
}

#[derive(Debug)]
enum Form {
    Length(u64),
    Chunked(Decoder),
    Close,
    Done,
}

impl BodyReader {
    /// `bytes` were read together with the head.
    pub(crate) fn new(framing: Framing, bytes: Bytes) -> Self {
        let form = match framing {
            Framing::Empty => Form::Done,
            Framing::Length(length) => Form::Length(length),
            Framing::Chunked => Form::Chunked(Decoder::default()),
            Framing::Close => Form::Close,
        };
        Self {
            form,
            bytes,
            eof: false,
        }
    }

    /// The whole of what is left, if it was read already.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        let whole = match self.form {
            Form::Done => Bytes::new(),
            Form::Length(left) if left <= self.bytes.len() as u64 => self
                .bytes
                .split_to(usize::try_from(left).unwrap_or(usize::MAX)),
            _ => return None,
        };
        self.form = Form::Done;
        Some(whole)
    }

    /// The body is over and nothing unasked followed it.
    pub(crate) fn is_clean(&self) -> bool {
        matches!(self.form, Form::Done) && self.bytes.is_empty()
    }

    /// The exact number of bytes to come, if known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.form {
            Form::Length(left) => Some(left),
            Form::Done => Some(0),
            _ => None,
        }
    }

    /// The next part; [`Part::End`] when the body is complete.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
    ) -> Poll<Result<Part, Truncated>> {
        loop {
            if let Some(part) = self.next()? {
                return Poll::Ready(Ok(part));
            }
            self.bytes = ready!(stream.poll_bytes(cx)).map_err(|_| Truncated)?;
            self.eof = self.bytes.is_empty();
            if self.eof
                && matches!(self.form, Form::Close)
                && let Some(fields) = stream.take_trailers()
            {
                self.form = Form::Done;
                return Poll::Ready(Ok(Part::Trailers(fields)));
            }
        }
    }

    fn next(&mut self) -> Result<Option<Part>, Truncated> {
        let part = match &mut self.form {
            Form::Done | Form::Length(0) => Part::End,
            Form::Close if self.eof => Part::End,
            _ if self.eof => return Err(Truncated),
            _ if self.bytes.is_empty() => return Ok(None),
            Form::Close => Part::Data(std::mem::take(&mut self.bytes)),
            Form::Length(left) => {
                let most = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(self.bytes.len());
                *left -= most as u64;
                Part::Data(self.bytes.split_to(most))
            }
            Form::Chunked(decoder) => match decoder.next(&mut self.bytes).map_err(|_| Truncated)? {
                Piece::NeedMore => return Ok(None),
                Piece::Data(data) => Part::Data(data),
                Piece::End(None) => Part::End,
                Piece::End(Some(fields)) => Part::Trailers(fields),
            },
        };
        if matches!(part, Part::End | Part::Trailers(_)) {
            self.form = Form::Done;
        }
        Ok(Some(part))
    }
}
