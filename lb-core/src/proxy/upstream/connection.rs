//! One connection to an endpoint.

use std::io;
use std::time::Instant;

use http::Uri;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};

use crate::breaker::Slot;

/// A connection, on loan to one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// It has carried a request before, so the endpoint may close it any time.
    pub(crate) reused: bool,
    /// When it was last used.
    pub(crate) since: Instant,
    /// A socket belongs to the runtime that made it.
    pub(crate) runtime: runtime::Id,
    /// Its place among the connections of the upstream.
    place: Option<Slot>,
}

impl Connection {
    /// Connects to the host and port of `uri`. Anything but `http` is refused:
    /// an endpoint that asks for encryption never gets plain text.
    pub(crate) async fn open(uri: Uri, now: Instant) -> io::Result<Self> {
        if uri.scheme_str().is_some_and(|scheme| scheme != "http") {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let host = uri.host().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await?;
        // Small heads and last chunks must not wait for an acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            reused: false,
            since: now,
            runtime: Handle::current().id(),
            place: None,
        })
    }

    /// Holds `place` until it is closed.
    pub(crate) fn counted(mut self, place: Slot) -> Self {
        self.place = Some(place);
        self
    }

    /// The stream alone, and the place that counts as long as it is open.
    pub(crate) fn into_stream(self) -> (TcpStream, Option<Slot>) {
        (self.stream, self.place)
    }

    /// `true` while the endpoint has neither closed nor sent anything unasked.
    /// No system call unless the socket reported something.
    pub(crate) fn is_quiet(&self) -> bool {
        let answer = self.stream.try_read(&mut [0]);
        answer.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}
