//! The client's body, which tells its connection when it is over.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::doorbell::hold;
use super::pace::Pace;

/// hyper's body. As long as it is there, what comes from the client is no head.
#[derive(Debug)]
pub(super) struct ClientBody {
    body: Incoming,
    /// Told, if this is more than an empty body.
    pace: Option<Arc<Pace>>,
    ended: bool,
}

impl ClientBody {
    /// Over HTTP/2 bodies are no matter of the connection.
    pub(super) fn new(body: Incoming, version: Version, pace: &Arc<Pace>) -> Self {
        let told = version != Version::HTTP_2 && !body.is_end_stream();
        let pace = told.then(|| Arc::clone(pace));
        if let Some(pace) = &pace {
            pace.body_begins();
        }
        Self {
            body,
            pace,
            ended: false,
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.as_mut().get_mut();
        let polled = match &this.pace {
            Some(pace) => {
                let (polled, woken) = hold(|| Pin::new(&mut this.body).poll_frame(cx));
                // After the last piece nobody waits for room.
                if woken && !this.body.is_end_stream() {
                    pace.ending.wake();
                }
                polled
            }
            None => Pin::new(&mut this.body).poll_frame(cx),
        };
        this.ended |= match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.body_ends(self.ended || self.body.is_end_stream());
        }
    }
}
