//! The body of a balanced answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::pool::Ending;

pin_project! {
    /// An endpoint's body, which counts as in flight until it has ended, or the
    /// few words of an answer without an endpoint.
    pub struct BalanceBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Endpoint { #[pin] body: B, ending: Ending },
        Own { text: Option<Box<Bytes>> },
    }
}

impl<B: Body> BalanceBody<B> {
    #[inline]
    pub(super) fn endpoint(body: B, ending: Ending) -> Self {
        Self {
            kind: Kind::Endpoint { body, ending },
        }
    }

    pub(super) fn own(text: Bytes) -> Self {
        Self {
            kind: Kind::Own {
                text: Some(Box::new(text)),
            },
        }
    }
}

/// A body of your own, for layers around the service that answer by themselves.
impl<B: Body> From<Bytes> for BalanceBody<B> {
    fn from(text: Bytes) -> Self {
        Self::own(text)
    }
}

impl<B: Body<Data = Bytes>> Body for BalanceBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Endpoint { body, ending } => {
                let frame = ready!(body.poll_frame(cx));
                if !matches!(frame, Some(Ok(_))) {
                    *ending = Ending::NOTHING;
                }
                Poll::Ready(frame)
            }
            KindProj::Own { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(*text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Endpoint { body, .. } => body.is_end_stream(),
            Kind::Own { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Endpoint { body, .. } => body.size_hint(),
            Kind::Own { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

impl<B> fmt::Debug for BalanceBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::Empty;

    use super::*;

    /// Up to here a move is a few instructions in line, beyond it a call.
    #[test]
    fn an_answer_without_a_body_is_moved_in_line() {
        assert!(size_of::<Response<BalanceBody<Empty<Bytes>>>>() <= 128);
    }
}
