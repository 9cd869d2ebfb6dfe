//! Kubernetes as the registry: the EndpointSlices of a Service, listed and then watched.
//!
//! Kubernetes itself knows who is there, so there is nothing to register; [`Merge`](crate::Merge) adds what
//! instances register elsewhere (version, zone, metadata, health): it recognises them by their address and port.
//!
//! All slices of a Service are merged. An endpoint that several slices name counts once, the ready one first; a pod with
//! addresses of both families counts by its IPv4 address. What
//! is not `ready` is critical; what terminates and still serves is draining; an unset condition counts as true, as
//! the API says. Slices of type FQDN are skipped.
//!
//! The watch asks for bookmarks and begins anew from a list when its version is too old (410, as a status or in the
//! stream); the set stays as it is until the whole list is there. Failures are weathered as
//! [`fail_static`](mod@crate::fail_static) says.
//!
//! # Who may ask
//!
//! Inside a cluster, [`Kubernetes::in_cluster`] takes address, certificate, namespace and token from where a pod finds
//! them; its service account needs `list` and `watch` on `endpointslices` and nothing else. Elsewhere,
//! [`Kubernetes::new`] takes the URL of an API server, with [`ca_file`](Kubernetes::ca_file) and
//! [`token_file`](Kubernetes::token_file), or that of `kubectl proxy`. Client certificates are not supported.
//!
//! ```no_run
//! use lb_registry::{Discovery, Kubernetes};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Kubernetes::in_cluster()?.port_name("http");
//! let watch = registry.watch("simulation");
//! # Ok(())
//! # }
//! ```

mod follow;
mod in_cluster;
pub mod slices;

use std::path::{Path, PathBuf};

pub use self::in_cluster::InClusterError;
use crate::fail_static::Settings;
use crate::http_client::Origin;
use crate::{Discovery, InvalidCertificates, InvalidUrl, Watch};

/// Kubernetes as the registry. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Kubernetes {
    origin: Origin,
    namespace: String,
    port_name: Option<String>,
    token_file: Option<PathBuf>,
    fail_static: Settings,
    snapshots: Option<PathBuf>,
}

impl Kubernetes {
    /// The API behind this URL. Connects on first use.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`].
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            origin: Origin::new(url)?,
            namespace: "default".into(),
            port_name: None,
            token_file: None,
            fail_static: Settings::default(),
            snapshots: None,
        })
    }

    /// Trusts the certificates in this file (PEM), which is read now. Default: what the system trusts.
    ///
    /// # Errors
    ///
    /// [`InvalidCertificates`].
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Result<Self, InvalidCertificates> {
        self.origin = self.origin.trusting(path.as_ref())?;
        Ok(self)
    }

    /// The namespace. Default: `default`.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Which of several ports of a Service to use. Default: the first one.
    #[must_use]
    pub fn port_name(mut self, name: impl Into<String>) -> Self {
        self.port_name = Some(name.into());
        self
    }

    /// Sends the token in this file, read anew for every request because it rotates. Default: none is sent.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// How much to protect the sets that are followed. Default: [`Settings::default`].
    #[must_use]
    pub fn fail_static(mut self, settings: Settings) -> Self {
        self.fail_static = settings;
        self
    }

    /// Keeps the latest set of each followed service in this folder, and starts with it until the first live
    /// answer. Default: nothing is kept.
    #[must_use]
    pub fn snapshots(mut self, folder: impl Into<PathBuf>) -> Self {
        self.snapshots = Some(folder.into());
        self
    }
}

impl Discovery for Kubernetes {
    fn watch(&self, service: &str) -> Watch {
        follow::start(self.clone(), service)
    }
}
