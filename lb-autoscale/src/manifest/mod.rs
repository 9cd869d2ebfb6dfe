//! `autoscaling/v2` manifests, in and out, YAML or JSON.
//!
//! [`Manifest::parse`] applies the limits that the Kubernetes API server applies
//! and names the field of whatever it refuses. Fields it does not know are
//! listed, not swallowed; [`Spec::from_manifest`] refuses them. `status` and
//! the server's own metadata are accepted and left out.
//!
//! ```
//! use lb_autoscale::manifest::Manifest;
//!
//! let text = "
//! apiVersion: autoscaling/v2
//! kind: HorizontalPodAutoscaler
//! metadata: {name: forecast}
//! spec:
//!   scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: forecast}
//!   minReplicas: 3
//!   maxReplicas: 10
//!   metrics:
//!   - type: Resource
//!     resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}
//! ";
//! let manifest = Manifest::parse(text)?;
//! assert_eq!(manifest.spec.max_replicas(), 10);
//! assert_eq!(Manifest::parse(&manifest.to_yaml()?)?, manifest);
//!
//! let refused = Manifest::parse(&text.replace("70", "0")).unwrap_err();
//! assert_eq!(refused.field(), Some("spec.metrics[0].resource.target.averageUtilization"));
//! # Ok::<(), lb_autoscale::manifest::ManifestError>(())
//! ```
//!
//! # What it does not do
//!
//! One document per text: split a rendered chart first. Policies of this crate
//! (schedules, bursts, forecasts) have no place in a manifest and are not exported.

mod read;
mod write;

use std::collections::BTreeMap;

use crate::spec::{ObjectRef, Spec, SpecError};

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its `metadata`.
    pub metadata: Metadata,
    /// What is scaled.
    pub target: ObjectRef,
    /// How.
    pub spec: Spec,
    /// Paths of fields that `autoscaling/v2` does not have.
    pub unknown_fields: Vec<String>,
}

/// The parts of `metadata` that belong to the author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A manifest that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Neither YAML nor JSON.
    #[error("it is neither YAML nor JSON: {0}")]
    Syntax(String),
    /// Longer than any manifest: 1 MiB.
    #[error("it is longer than 1 MiB")]
    TooLong,
    /// A field that cannot be what it is.
    #[error(transparent)]
    Field(#[from] SpecError),
    /// A field that `autoscaling/v2` does not have; only [`Spec::from_manifest`] minds.
    #[error("{0}: autoscaling/v2 has no such field")]
    Unknown(String),
    /// It could not be written.
    #[error("it cannot be written: {0}")]
    Write(String),
}

const LONGEST: usize = 1 << 20;

impl ManifestError {
    /// The path of the field that is to blame.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Field(error) => Some(error.field()),
            Self::Unknown(path) => Some(path),
            Self::Syntax(_) | Self::TooLong | Self::Write(_) => None,
        }
    }
}

impl Manifest {
    /// Reads one document.
    ///
    /// # Errors
    ///
    /// [`ManifestError`]; [`ManifestError::field`] is the path of the first bad field.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > LONGEST {
            return Err(ManifestError::TooLong);
        }
        // JSON is YAML; one reader does for both.
        let document: serde_json::Value = serde_saphyr::from_str(text)
            .map_err(|error| ManifestError::Syntax(error.to_string()))?;
        read::manifest(&document)
    }

    /// The manifest as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        write::manifest(self)
    }

    /// The manifest as YAML.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Write`] if the writer fails.
    pub fn to_yaml(&self) -> Result<String, ManifestError> {
        serde_saphyr::to_string(&self.to_json())
            .map_err(|error| ManifestError::Write(error.to_string()))
    }
}

impl Spec {
    /// The specification of a manifest in which every field is known.
    ///
    /// # Errors
    ///
    /// [`ManifestError`], also for a field that `autoscaling/v2` does not have.
    pub fn from_manifest(text: &str) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(text)?;
        match manifest.unknown_fields.into_iter().next() {
            Some(path) => Err(ManifestError::Unknown(path)),
            None => Ok(manifest.spec),
        }
    }
}
