//! Prometheus as a source: one instant query per metric, over its HTTP API.
//!
//! A query that fails, returns no series or returns NaN is a failed reading,
//! with the reason in the decision; it never counts as zero. An instant query
//! answers with values up to five minutes old as if they were of now, so where
//! age matters give the metric a freshness query
//! ([`Prometheus::fresh_by`]) and a limit
//! ([`Metric::stale_after`](crate::spec::Metric::stale_after)).
//!
//! ```
//! use lb_autoscale::prometheus::Prometheus;
//!
//! let source = Prometheus::new("http://127.0.0.1:9090")?
//!     .query("active_simulations", "sum(simulation_active)")
//!     .fresh_by("active_simulations", "min(timestamp(simulation_active))")
//!     .per_pod("cpu", "rate(process_cpu_seconds_total[1m])", "instance");
//! # let _ = source;
//! # Ok::<(), lb_autoscale::prometheus::PrometheusError>(())
//! ```
//!
//! # What it does not do
//!
//! No TLS and no authentication: put a local agent or proxy in front.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::fetch::Fetch;
use crate::inputs::{Observation, PodSample, Reading};
use crate::source::{Fleet, MetricSource, Observations};
use crate::spec::Spec;
use crate::{Quantity, UnixMillis};

/// Queries by metric id.
#[derive(Clone, Debug)]
pub struct Prometheus {
    fetch: Fetch,
    queries: BTreeMap<String, Query>,
}

#[derive(Clone, Debug)]
struct Query {
    text: String,
    pod_label: Option<String>,
    freshness: Option<String>,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusError {
    /// Not an `http://` address.
    #[error("`{0}` is no http:// address")]
    Address(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// The server's address, for example `http://127.0.0.1:9090`.
    ///
    /// # Errors
    ///
    /// [`PrometheusError::Address`] unless it begins with `http://`.
    pub fn new(address: &str) -> Result<Self, PrometheusError> {
        let uri: Option<Uri> = address.parse().ok();
        let uri = uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        let uri = uri.ok_or_else(|| PrometheusError::Address(address.to_owned()))?;
        Ok(Self {
            fetch: Fetch::new(&uri),
            queries: BTreeMap::new(),
        })
    }

    /// A metric whose series are summed.
    #[must_use]
    pub fn query(mut self, id: impl Into<String>, text: impl Into<String>) -> Self {
        let query = Query {
            text: text.into(),
            pod_label: None,
            freshness: None,
        };
        self.queries.insert(id.into(), query);
        self
    }

    /// A metric with one series per pod, which `label` names.
    #[must_use]
    pub fn per_pod(
        mut self,
        id: impl Into<String>,
        text: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        let query = Query {
            text: text.into(),
            pod_label: Some(label.into()),
            freshness: None,
        };
        self.queries.insert(id.into(), query);
        self
    }

    /// A query for the Unix time, in seconds, of the metric's oldest sample.
    #[must_use]
    pub fn fresh_by(mut self, id: &str, text: impl Into<String>) -> Self {
        if let Some(query) = self.queries.get_mut(id) {
            query.freshness = Some(text.into());
        }
        self
    }

    async fn read(&self, query: &Query) -> Result<Observation, String> {
        let data = self.ask(&query.text).await?;
        let mut observation = match &query.pod_label {
            Some(label) => Observation::pods(samples(data, label)?),
            None => Observation::from(Reading::Values(values(data)?)),
        };
        if let Some(freshness) = &query.freshness {
            let times = values(self.ask(freshness).await?)?;
            let oldest = times
                .into_iter()
                .min()
                .ok_or("no series says how old it is")?;
            observation = observation.at(UnixMillis::from_millis(oldest.milli()));
        }
        Ok(observation)
    }

    async fn ask(&self, text: &str) -> Result<Data, String> {
        let query = utf8_percent_encode(text, NON_ALPHANUMERIC);
        let answer = self
            .fetch
            .send(Method::GET, &format!("/api/v1/query?query={query}"), None)
            .await;
        let (status, body) = answer.map_err(|error| error.to_string())?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| format!("status {status} without a Prometheus answer: {error}"))?;
        match (status, answer) {
            (
                StatusCode::OK,
                Answer {
                    data: Some(data), ..
                },
            ) => Ok(data),
            (status, Answer { error, .. }) => {
                Err(format!("status {status}: {}", error.unwrap_or_default()))
            }
        }
    }
}

fn number(text: &str) -> Result<Quantity, String> {
    let value = text.parse::<f64>().ok().and_then(Quantity::from_f64);
    value.ok_or_else(|| format!("the value is {text}"))
}

/// All values; one that is not a number spoils the sum.
fn values(data: Data) -> Result<Vec<Quantity>, String> {
    match data {
        Data::Scalar((_, value)) => Ok(vec![number(&value)?]),
        Data::Vector(series) if series.is_empty() => Err("the query returned no series".into()),
        Data::Vector(series) => series
            .iter()
            .map(|series| number(&series.value.1))
            .collect(),
        Data::Other => Err("the query must return an instant vector or a scalar".into()),
    }
}

/// One sample per pod; a pod whose value is not a number is missing.
fn samples(data: Data, label: &str) -> Result<Vec<PodSample>, String> {
    let Data::Vector(series) = data else {
        return Err("the query must return an instant vector".into());
    };
    series
        .into_iter()
        .filter_map(|series| Some((number(&series.value.1).ok()?, series.metric)))
        .map(|(value, metric)| {
            let pod = metric
                .get(label)
                .ok_or_else(|| format!("a series has no label {label}"))?;
            Ok(PodSample::new(Arc::from(pod.as_str()), value))
        })
        .collect()
}

impl MetricSource for Prometheus {
    async fn observe(&mut self, spec: &Spec, _fleet: &Fleet) -> Observations {
        let mut observed = Observations::new();
        for (id, query) in &self.queries {
            let reading = self.read(query).await;
            if let Err(reason) = &reading {
                tracing::warn!(spec = spec.name(), metric = id, "{reason}");
            }
            observed.insert(id.clone(), reading.unwrap_or_else(Observation::failed));
        }
        observed
    }
}
