//! Reads a specification out of a request, within bounds of size and time:
//! JSON, or a table of inputs with the rest in the query.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::time::timeout;

use super::problem::Problem;
use crate::csv::Rows;
use montecarlo::spec::Spec;

/// Largest body that is read.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Longest time that a body may take.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Beside a table of inputs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    formula: String,
    iterations: u64,
    seed: u64,
}

/// The specification in the request.
pub(super) async fn spec(request: Request) -> Result<Spec, Problem> {
    let (parts, body) = request.into_parts();
    let length = content_length(&parts.headers);
    if length.is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(too_large());
    }
    let read = async {
        match media_type(&parts.headers).as_str() {
            "" | "application/json" => from_json(body).await,
            "text/csv" => from_csv(&parts.uri, body).await,
            _ => Err(unsupported()),
        }
    };
    timeout(MAX_TIME, read)
        .await
        .unwrap_or_else(|_| Err(too_slow()))
}

async fn from_json(body: Body) -> Result<Spec, Problem> {
    let collected = Limited::new(body, MAX_BYTES).collect().await;
    let bytes = collected.map_err(|error| broken(&*error))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| {
        let hint = r#"send {"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}}, "formula": "x", "iterations": 100000, "seed": 1}"#;
        Problem::bad("body", format!("the body is not a specification: {error}"), hint)
    })
}

/// Row by row as it arrives; no more than one row is kept as text.
async fn from_csv(uri: &Uri, body: Body) -> Result<Spec, Problem> {
    let Query(rest) = Query::<Rest>::try_from_uri(uri).map_err(|error| {
        let hint = "beside a table, give formula, iterations and seed in the query";
        Problem::bad("query", error.body_text(), hint)
    })?;
    let mut rows = Rows::default();
    let mut body = Limited::new(body, MAX_BYTES);
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|error| broken(&*error))?.into_data();
        rows.feed(&data.unwrap_or_else(|_trailers| Bytes::new()))?;
    }
    Ok(Spec {
        inputs: rows.finish()?,
        formula: rest.formula,
        iterations: rest.iterations,
        seed: rest.seed,
    })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Without parameters, in lower case; empty if there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map_or("", |value| value.to_str().unwrap_or("unreadable"));
    let essence = text.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

fn broken(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    if error.is::<LengthLimitError>() {
        too_large()
    } else {
        Problem::bad("body", "the body broke off", "send it again")
    }
}

fn unsupported() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body is neither JSON nor CSV",
        "send content-type: application/json, or text/csv with formula, iterations and seed in the query",
    )
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        format!("the body did not arrive within {} s", MAX_TIME.as_secs()),
        "send it faster",
    )
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {MAX_BYTES} bytes"),
        "a specification of 32 inputs needs less than 8 KiB",
    )
}
