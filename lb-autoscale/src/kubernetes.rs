//! A Kubernetes workload as the thing that is scaled, by its `scale` subresource.
//!
//! Three requests per decision, no watch: read the scale, list the pods, and,
//! if the count changes, patch it with the resource version it was read at, so
//! that a concurrent edit is a conflict and not a fight. A target that a
//! HorizontalPodAutoscaler owns already is refused.
//!
//! ```
//! use lb_autoscale::kubernetes::{Kubernetes, Workload};
//!
//! let target = Workload::deployment("web", "simulation");
//! let fleet = Kubernetes::new("http://127.0.0.1:8001", target)?; // kubectl proxy
//! # let _ = fleet;
//! # Ok::<(), lb_autoscale::actuator::ActuatorError>(())
//! ```
//!
//! # What it does not do
//!
//! It speaks plain HTTP: run `kubectl proxy` beside it (or any proxy that adds
//! TLS and the service account). It names no victims to Kubernetes, which
//! chooses itself; a pod's deletion cost would have to be set by somebody else.

use http::{Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Decision;
use crate::actuator::{Actuator, ActuatorError};
use crate::fetch::Fetch;
use crate::inputs::{Phase, Pod};
use crate::source::Fleet;

/// What is scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Group and version in a path, for example `apps/v1`.
    pub api: String,
    /// The resource's plural, for example `deployments`.
    pub plural: String,
    /// The kind, for example `Deployment`.
    pub kind: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Workload {
    /// A Deployment.
    pub fn deployment(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            api: "apps/v1".into(),
            plural: "deployments".into(),
            kind: "Deployment".into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The client of one workload.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    fetch: Fetch,
    workload: Workload,
    version: Option<String>,
}

impl Kubernetes {
    /// `address` is an `http://` address of the API server or of a proxy to it.
    ///
    /// # Errors
    ///
    /// [`ActuatorError::Refused`] for any other address.
    pub fn new(address: &str, workload: Workload) -> Result<Self, ActuatorError> {
        let uri: Option<Uri> = address.parse().ok();
        let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        let uri = uri
            .ok_or_else(|| ActuatorError::Refused(format!("`{address}` is no http:// address")))?;
        Ok(Self {
            fetch: Fetch::new(&uri),
            workload,
            version: None,
        })
    }

    /// A bearer token for the API server.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.fetch.token(token.into());
        self
    }

    fn scale_path(&self) -> String {
        let Workload {
            api,
            plural,
            namespace,
            name,
            ..
        } = &self.workload;
        format!("/apis/{api}/namespaces/{namespace}/{plural}/{name}/scale")
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, String)>,
    ) -> Result<Value, ActuatorError> {
        let answer = self.fetch.send(method, path, body).await;
        let (status, body) =
            answer.map_err(|error| ActuatorError::Unavailable(error.to_string()))?;
        let said = || {
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            format!(
                "status {status}: {}",
                answer["message"].as_str().unwrap_or_default()
            )
        };
        match status {
            status if status.is_success() => serde_json::from_slice(&body)
                .map_err(|error| ActuatorError::Unavailable(format!("no JSON: {error}"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(ActuatorError::Forbidden(said()))
            }
            StatusCode::CONFLICT => Err(ActuatorError::Conflict(said())),
            StatusCode::NOT_FOUND => Err(ActuatorError::Refused(said())),
            _ => Err(ActuatorError::Unavailable(said())),
        }
    }

    /// Two autoscalers on one target would fight forever.
    async fn refuse_if_owned(&self) -> Result<(), ActuatorError> {
        let Workload {
            namespace,
            kind,
            name,
            ..
        } = &self.workload;
        let path = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers");
        let list = self.ask(Method::GET, &path, None).await?;
        let owner = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|owner| {
                let target = &owner["spec"]["scaleTargetRef"];
                target["kind"] == kind.as_str() && target["name"] == name.as_str()
            });
        owner.map_or(Ok(()), |owner| {
            let owner = owner["metadata"]["name"].as_str().unwrap_or_default();
            Err(ActuatorError::Refused(format!(
                "HorizontalPodAutoscaler {owner} owns {kind} {name}"
            )))
        })
    }

    async fn pods(&self, selector: &str) -> Result<Vec<Pod>, ActuatorError> {
        let selector = utf8_percent_encode(selector, NON_ALPHANUMERIC);
        let namespace = &self.workload.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
        let list = self.ask(Method::GET, &path, None).await?;
        Ok(list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(pod)
            .collect())
    }
}

fn pod(given: &Value) -> Pod {
    let status = &given["status"];
    let phase = match status["phase"].as_str() {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        _ => Phase::Pending,
    };
    let conditions = status["conditions"].as_array();
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    let mut pod = Pod::pending(given["metadata"]["name"].as_str().unwrap_or_default()).phase(phase);
    pod.ready = ready.map(|condition| condition["status"] == "True");
    pod.deleting = !given["metadata"]["deletionTimestamp"].is_null();
    pod
}

fn count(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or(0)).unwrap_or(u32::MAX)
}

impl Actuator for Kubernetes {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        let scale = self.ask(Method::GET, &self.scale_path(), None).await?;
        self.version = scale["metadata"]["resourceVersion"]
            .as_str()
            .map(str::to_owned);
        let pods = match scale["status"]["selector"].as_str() {
            Some(selector) => self.pods(selector).await?,
            None => Vec::new(),
        };
        Ok(Fleet {
            replicas: count(&scale["spec"]["replicas"]),
            status_replicas: Some(count(&scale["status"]["replicas"])),
            pods,
            fresh: false,
        })
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        self.refuse_if_owned().await?;
        let patch = json!({
            "metadata": { "resourceVersion": self.version },
            "spec": { "replicas": decision.desired },
        });
        let body = Some(("application/merge-patch+json", patch.to_string()));
        self.ask(Method::PATCH, &self.scale_path(), body)
            .await
            .map(|_| ())
    }
}
