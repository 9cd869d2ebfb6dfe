//! One connection to an endpoint.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::Uri;
use http::uri::Scheme;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};

use super::http2::{Session, Unsent};
use super::transport::Transport;
use crate::breaker::Slot;
use crate::proxy::tls;

/// A connection, or a stream on a shared one, on loan to one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: Transport,
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
    /// Connects to the host and port of `uri`, and speaks what its scheme says:
    ///
    /// | scheme  | below           | version                            |
    /// |---------|-----------------|------------------------------------|
    /// | `http`  | plain           | HTTP/1.1                           |
    /// | `h2c`   | plain           | HTTP/2, known beforehand           |
    /// | `https` | TLS             | agreed on; HTTP/1.1 for a `tunnel` |
    ///
    /// Anything else is refused: an endpoint that asks for encryption never gets
    /// plain text.
    pub(crate) async fn open(
        uri: Uri,
        tls: Option<tls::Connector>,
        tunnel: bool,
        now: Instant,
    ) -> io::Result<Self> {
        let transport = match uri.scheme_str() {
            Some("http") | None => Transport::Plain(dial(&uri, 80).await?),
            Some("h2c") => {
                let stream = Transport::Plain(dial(&uri, 80).await?);
                let session = Session::open(stream, Scheme::HTTP, tunnel).await?;
                return Ok(Self::on(&session, false, now));
            }
            Some("https") => {
                let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
                let stream = dial(&uri, 443).await?;
                let (stream, http2) = tls.connect(bare_host(&uri), stream, tunnel).await?;
                let stream = Transport::Tls(Box::new(stream));
                if http2 {
                    let session = Session::open(stream, Scheme::HTTPS, tunnel).await?;
                    return Ok(Self::on(&session, false, now));
                }
                stream
            }
            Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self {
            stream: transport,
            reused: false,
            since: now,
            runtime: Handle::current().id(),
            place: None,
        })
    }

    /// A stream on a shared connection.
    pub(crate) fn on(session: &Arc<Session>, reused: bool, now: Instant) -> Self {
        Self {
            stream: Transport::Http2(Box::new(session.stream())),
            reused,
            since: now,
            runtime: session.runtime,
            place: None,
        }
    }

    /// The connection that others may share.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.stream {
            Transport::Http2(stream) => Some(stream.session()),
            Transport::Plain(_) | Transport::Tls(_) => None,
        }
    }

    /// Why the endpoint has provably not looked at the request, if it said so.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        match &self.stream {
            Transport::Http2(stream) => stream.unsent(),
            Transport::Plain(_) | Transport::Tls(_) => None,
        }
    }

    /// Holds `place` until it is closed.
    pub(crate) fn counted(mut self, place: Slot) -> Self {
        match &self.stream {
            Transport::Http2(stream) => stream.session().counted(place),
            Transport::Plain(_) | Transport::Tls(_) => self.place = Some(place),
        }
        self
    }

    /// The stream alone, and the place that counts as long as it is open.
    pub(crate) fn into_stream(self) -> (Transport, Option<Slot>) {
        (self.stream, self.place)
    }
}

async fn dial(uri: &Uri, default_port: u16) -> io::Result<TcpStream> {
    let port = uri.port_u16().unwrap_or(default_port);
    let stream = TcpStream::connect((bare_host(uri), port)).await?;
    // Small heads and last chunks must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The host without the brackets of an IPv6 address.
fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host)
}
