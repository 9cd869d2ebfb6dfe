//! Encrypted connections: whose certificates are trusted, and which one is ours.

use ::redis::cluster::ClusterClientBuilder;
use ::redis::{Client, ClientTlsConfig, ConnectionInfo, RedisResult, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};

use super::RedisBuilder;

/// What was said about certificates.
#[derive(Clone, Default)]
pub(super) struct Tls {
    roots: Option<Vec<u8>>,
    identity: Option<ClientTlsConfig>,
}

impl RedisBuilder {
    /// Trusts the certificate authorities in these PEM bytes, and no others; the
    /// address must begin with `rediss://`. Default: the public ones.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.roots = Some(pem.into());
        self
    }

    /// Shows this certificate chain, with its key, to servers that ask (mutual
    /// TLS). Both are PEM bytes. Default: none.
    pub fn identity(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.identity = Some(ClientTlsConfig {
            client_cert: certificate.into(),
            client_key: key.into(),
        });
        self
    }
}

impl Tls {
    fn certificates(&self) -> Option<TlsCertificates> {
        let some = self.roots.is_some() || self.identity.is_some();
        some.then(|| TlsCertificates {
            client_tls: self.identity.clone(),
            root_cert: self.roots.clone(),
        })
    }

    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        provide();
        match self.certificates() {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    pub(super) fn cluster(&self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        provide();
        match self.certificates() {
            Some(certificates) => builder.certs(certificates),
            None => builder,
        }
    }
}

/// The client takes its cryptography from the process, and panics if there is
/// none. Who has installed one keeps it.
fn provide() {
    if CryptoProvider::get_default().is_none() {
        let _another_thread_was_faster = ring::default_provider().install_default();
    }
}
