//! What a pod is given to find and use the API.

use std::path::{Path, PathBuf};

use super::Kubernetes;
use crate::{InvalidCertificates, InvalidUrl};

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A pod's way to the API is not there, or not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InClusterError {
    /// This process does not run in a pod.
    #[error("{0} is not set: this is no pod")]
    NoPod(&'static str),
    /// The address makes no URL.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The certificate of the API cannot be read.
    #[error(transparent)]
    Certificate(#[from] InvalidCertificates),
    /// The namespace cannot be read.
    #[error("{file} cannot be read")]
    Namespace {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Kubernetes {
    /// The API of the cluster that this pod runs in, with the pod's own token and namespace. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`InClusterError`], also outside of a pod.
    pub fn in_cluster() -> Result<Self, InClusterError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self::of_pod(variable, Path::new(SERVICE_ACCOUNT))
    }

    fn of_pod(
        variable: impl Fn(&str) -> Option<String>,
        account: &Path,
    ) -> Result<Self, InClusterError> {
        let needed = |name| variable(name).ok_or(InClusterError::NoPod(name));
        let host = needed("KUBERNETES_SERVICE_HOST")?;
        let port = needed("KUBERNETES_SERVICE_PORT")?;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        let file = account.join("namespace");
        let namespace = std::fs::read_to_string(&file)
            .map_err(|source| InClusterError::Namespace { file, source })?;
        Ok(Self::new(&format!("https://{host}:{port}"))?
            .ca_file(account.join("ca.crt"))?
            .namespace(namespace.trim())
            .token_file(account.join("token")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_a_pod_it_says_so() {
        let found = Kubernetes::of_pod(|_| None, Path::new("/nowhere"));
        assert!(matches!(
            found,
            Err(InClusterError::NoPod("KUBERNETES_SERVICE_HOST"))
        ));
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let account = tempfile::tempdir().unwrap();
        std::fs::write(account.path().join("namespace"), "production\n").unwrap();
        std::fs::write(account.path().join("ca.crt"), "nothing").unwrap();
        let variable = |name: &str| {
            let value = if name.ends_with("HOST") {
                "::1"
            } else {
                "6443"
            };
            Some(value.to_owned())
        };
        let found = Kubernetes::of_pod(variable, account.path());
        assert!(matches!(found, Err(InClusterError::Certificate(_))));
    }
}
