//! What is trusted, and who we are.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::connector::Connector;
use crate::proxy::ReverseProxy;

/// How endpoints are spoken to over TLS; see
/// [`ReverseProxy::upstream_tls`]. Cheap to clone.
#[derive(Clone)]
pub struct UpstreamTls {
    pub(super) connector: Connector,
}

/// Says what is trusted. Made by [`UpstreamTls::builder`].
#[derive(Clone, Default)]
pub struct UpstreamTlsBuilder {
    roots: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    name: Option<String>,
    http1_only: bool,
}

/// Why TLS towards endpoints cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamTlsError {
    /// No root certificate was given: nobody could be trusted.
    #[error("no root certificate was given")]
    NoRoots,
    /// A root certificate cannot be read.
    #[error("a root certificate cannot be read: {why}")]
    Roots {
        /// What is wrong with it.
        why: String,
    },
    /// The certificate or key of this proxy cannot be used.
    #[error("the certificate or key of this proxy cannot be used: {why}")]
    Identity {
        /// What is wrong with it.
        why: String,
    },
    /// The name is neither a DNS name nor an address.
    #[error("{name:?} is no name that a certificate can bear")]
    Name {
        /// The name that was given.
        name: String,
    },
}

impl UpstreamTls {
    /// Begins with nobody trusted.
    #[must_use]
    pub fn builder() -> UpstreamTlsBuilder {
        UpstreamTlsBuilder::default()
    }
}

impl UpstreamTlsBuilder {
    /// Certificates of authorities, in PEM, added to those before. Debian keeps
    /// the public ones in `/etc/ssl/certs/ca-certificates.crt`. Default: none.
    #[must_use]
    pub fn roots(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.roots.extend_from_slice(pem.as_ref());
        self.roots.push(b'\n');
        self
    }

    /// The certificate that this proxy shows to endpoints that ask for one, with
    /// those that vouch for it, and its key (PKCS#8, PKCS#1 or SEC1), in PEM.
    /// Default: none.
    #[must_use]
    pub fn identity(mut self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((certificates.into(), key.into()));
        self
    }

    /// The name that every endpoint's certificate must bear, and that endpoints
    /// are told. Default: the host of each endpoint's address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Offers HTTP/1.1 alone. Default: HTTP/2 and HTTP/1.1.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// # Errors
    ///
    /// [`UpstreamTlsError`], for whatever is missing or cannot be read.
    pub fn build(self) -> Result<UpstreamTls, UpstreamTlsError> {
        let roots = read_roots(&self.roots)?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("invariant: the provider has suites for both versions")
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some((certificates, key)) => {
                let certificates = read_certificates(&certificates).map_err(identity_error)?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(identity_error)?;
                let config = config.with_client_auth_cert(certificates, key);
                config.map_err(identity_error)?
            }
        };
        let name = self.name.map(read_name).transpose()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        if !self.http1_only {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(UpstreamTls {
            connector: Connector::new(Arc::new(config), http1, name),
        })
    }
}

fn read_roots(pem: &[u8]) -> Result<RootCertStore, UpstreamTlsError> {
    let roots_error = |why: &dyn fmt::Display| UpstreamTlsError::Roots {
        why: why.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(pem).map_err(|why| roots_error(&why))? {
        roots.add(certificate).map_err(|why| roots_error(&why))?;
    }
    if roots.is_empty() {
        return Err(UpstreamTlsError::NoRoots);
    }
    Ok(roots)
}

fn read_certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, tokio_rustls::rustls::pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn read_name(name: String) -> Result<ServerName<'static>, UpstreamTlsError> {
    ServerName::try_from(name.clone()).map_err(|_| UpstreamTlsError::Name { name })
}

fn identity_error(why: impl fmt::Display) -> UpstreamTlsError {
    UpstreamTlsError::Identity {
        why: why.to_string(),
    }
}

impl ReverseProxy {
    /// How endpoints with an `https` address are spoken to. Default: not at all,
    /// such an endpoint counts as unreachable.
    #[must_use]
    pub fn upstream_tls(self, tls: UpstreamTls) -> Self {
        self.with(|config| config.tls_connector = Some(tls.connector))
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").finish_non_exhaustive()
    }
}

/// Without the key.
impl fmt::Debug for UpstreamTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTlsBuilder")
            .field("server_name", &self.name)
            .field("http1_only", &self.http1_only)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_roots_nothing_is_built() {
        let built = UpstreamTls::builder().build();
        assert!(matches!(built, Err(UpstreamTlsError::NoRoots)));
    }

    #[test]
    fn what_is_no_certificate_is_named_as_such() {
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let built = UpstreamTls::builder().roots(text).build();
        assert!(matches!(built, Err(UpstreamTlsError::Roots { .. })));
    }

    #[test]
    fn a_key_is_never_shown() {
        let builder = UpstreamTls::builder().identity("certificate", "a secret key");
        assert!(!format!("{builder:?}").contains("secret"));
    }
}
