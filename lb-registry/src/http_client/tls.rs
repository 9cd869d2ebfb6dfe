//! Connections with TLS: who is trusted is what the system trusts, or one file of certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{Origin, connections, tcp};

pub(super) const SCHEMES: [&str; 2] = ["http", "https"];

pub(super) type Connector = HttpsConnector<HttpConnector>;

/// The file holds no certificate that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate can be read from {file}: {reason}")]
pub struct InvalidCertificates {
    /// The file.
    pub file: PathBuf,
    /// Why not.
    pub reason: String,
}

/// Trusts what the system trusts. Without any such certificate every `https` connection fails, and says why.
pub(super) fn connector(tcp: HttpConnector) -> Connector {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    trusting(tcp, roots)
}

impl Origin {
    /// Trusts the certificates in this file (PEM) instead of the system's. Blocks while it reads.
    pub(crate) fn trusting(self, file: &Path) -> Result<Self, InvalidCertificates> {
        let invalid = |reason: String| InvalidCertificates {
            file: file.into(),
            reason,
        };
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| invalid(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        if roots.add_parsable_certificates(certificates).0 == 0 {
            return Err(invalid("there is none".into()));
        }
        Ok(Self {
            connections: connections(trusting(tcp(), roots)),
            ..self
        })
    }
}

fn trusting(mut tcp: HttpConnector, roots: RootCertStore) -> Connector {
    tcp.enforce_http(false);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("invariant: ring offers the cipher suites of TLS 1.2 and 1.3");
    HttpsConnectorBuilder::new()
        .with_tls_config(config.with_root_certificates(roots).with_no_client_auth())
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}
