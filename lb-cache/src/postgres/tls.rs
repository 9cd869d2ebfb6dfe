//! Encrypted connections to PostgreSQL, by rustls.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use super::PostgresTier;
use crate::source::BoxFuture;
use crate::tier::TierError;

impl PostgresTier {
    /// As [`PostgresTier::new`], but every connection is encrypted, and its
    /// server's certificate must name the host and come from one of the
    /// authorities in `roots` (PEM). Never falls back to a plain connection.
    ///
    /// # Errors
    ///
    /// If the description or the certificates are none.
    pub fn with_tls(
        description: &str,
        connections: usize,
        roots: &[u8],
    ) -> Result<Self, TierError> {
        let mut config: tokio_postgres::Config = description.parse().map_err(TierError::failed)?;
        config.ssl_mode(SslMode::Require);
        Self::over(config, Tls::trusting(roots)?, connections)
    }
}

#[derive(Clone)]
struct Tls(Arc<ClientConfig>);

impl Tls {
    fn trusting(roots: &[u8]) -> Result<Self, TierError> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(roots) {
            let certificate = certificate.map_err(|error| TierError::failed(error.to_string()))?;
            store.add(certificate).map_err(TierError::failed)?;
        }
        if store.is_empty() {
            return Err(TierError::failed(
                "no certificate authority in the PEM bytes",
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TierError::failed)?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, InvalidDnsNameError> {
        let host = ServerName::try_from(host)?.to_owned();
        Ok(Handshake(TlsConnector::from(Arc::clone(&self.0)), host))
    }
}

struct Handshake(TlsConnector, ServerName<'static>);

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Encrypted>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Self(connector, host) = self;
        Box::pin(async move { connector.connect(host, socket).await.map(Encrypted) })
    }
}

struct Encrypted(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Encrypted {
    /// None: the password exchange is not bound to the channel.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
