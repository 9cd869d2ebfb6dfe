//! The handshake with one endpoint.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::stream::Stream;

/// Begins TLS on a socket.
#[derive(Clone)]
pub(crate) struct Connector {
    any: TlsConnector,
    http1: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Connector {
    pub(super) fn new(
        any: Arc<ClientConfig>,
        http1: Arc<ClientConfig>,
        name: Option<ServerName<'static>>,
    ) -> Self {
        Self {
            any: any.into(),
            http1: http1.into(),
            name,
        }
    }

    /// Shakes hands with the endpoint at `host`; `true`: both speak HTTP/2 now.
    /// For a `tunnel`, HTTP/1.1 is all that is offered.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
        tunnel: bool,
    ) -> io::Result<(Stream, bool)> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        let connector = if tunnel { &self.http1 } else { &self.any };
        let stream = connector.connect(name, stream).await.inspect_err(|error| {
            tracing::warn!(%error, host, "no encrypted connection to an endpoint");
        })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Stream::new(stream), http2))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
