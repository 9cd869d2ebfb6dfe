//! Reading the head of an answer from a connection.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

use super::scratch;
use super::transport::Transport;
use crate::proxy::rules::response::{Answer, InvalidAnswer, parse};

/// Bytes of an answer's head, at most.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Interim answers before the final one, at most.
const MAX_INTERIM: u8 = 100;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// The connection ended before the first byte.
    Closed,
    /// The connection ended within the head.
    Truncated,
    /// What came is no answer.
    Invalid,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Read {
    /// `100 (Continue)`: the body is wanted.
    Continue,
    /// Something in passing, which the client is told.
    Interim(Answer),
    /// The final answer.
    Final(Answer),
}

/// A head that may arrive in pieces.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    bytes: Bytes,
    interim: u8,
}

impl AnswerReader {
    /// At least one byte of an answer came.
    pub(crate) fn has_begun(&self) -> bool {
        !self.bytes.is_empty() || self.interim > 0
    }

    /// Reads until a head is complete; its fields replace those in `fields`.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Transport,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Poll<Result<Read, AnswerError>> {
        if let Transport::Http2(stream) = stream {
            return stream.poll_answer(cx, method, fields, &mut self.interim);
        }
        loop {
            if let Some(read) = self.parse(method, fields)? {
                return Poll::Ready(Ok(read));
            }
            let more = ready!(stream.poll_bytes(cx));
            let more = more.map_err(|_| self.ended())?;
            if more.is_empty() {
                return Poll::Ready(Err(self.ended()));
            }
            self.append(more)?;
        }
    }

    /// What was read beyond the final answer's head.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    fn ended(&self) -> AnswerError {
        if self.has_begun() {
            AnswerError::Truncated
        } else {
            AnswerError::Closed
        }
    }

    fn append(&mut self, more: Bytes) -> Result<(), AnswerError> {
        if self.bytes.is_empty() {
            self.bytes = more;
            return Ok(());
        }
        if self.bytes.len() + more.len() > MAX_HEAD_BYTES {
            return Err(AnswerError::Invalid);
        }
        let mut joined = BytesMut::with_capacity(self.bytes.len() + more.len());
        joined.extend_from_slice(&self.bytes);
        joined.extend_from_slice(&more);
        self.bytes = joined.freeze();
        Ok(())
    }

    fn parse(
        &mut self,
        method: &Method,
        fields: &mut HeaderMap,
    ) -> Result<Option<Read>, AnswerError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let parsed =
            scratch::with_vocabulary(|vocabulary| parse(&self.bytes, method, fields, vocabulary));
        let Some(answer) = parsed.map_err(|InvalidAnswer| AnswerError::Invalid)? else {
            return Ok(None);
        };
        self.bytes.advance(answer.length);
        if answer.status.is_informational() && answer.status != StatusCode::SWITCHING_PROTOCOLS {
            return in_passing(answer, &mut self.interim).map(Some);
        }
        Ok(Some(Read::Final(answer)))
    }
}

/// What an interim answer means. `seen` counts them: without end there is no answer.
#[cold]
pub(super) fn in_passing(answer: Answer, seen: &mut u8) -> Result<Read, AnswerError> {
    *seen += 1;
    if *seen > MAX_INTERIM {
        return Err(AnswerError::Invalid);
    }
    Ok(match answer.status {
        // It answers the expectation, and the server in front gives its own.
        StatusCode::CONTINUE => Read::Continue,
        _ => Read::Interim(answer),
    })
}
