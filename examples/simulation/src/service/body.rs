//! Reads a specification out of a request, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::problem::Problem;
use crate::spec::Spec;

/// Largest body that is read.
pub(super) const MAX_BYTES: usize = 64 * 1024;
/// Longest time that a body may take.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The specification in the request's body.
pub(super) async fn spec(request: Request) -> Result<Spec, Problem> {
    let (parts, body) = request.into_parts();
    check_type(&parts.headers)?;
    let bytes = read(&parts.headers, body).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let hint = r#"send {"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}}, "formula": "x", "iterations": 100000, "seed": 1}"#;
        Problem::bad("body", format!("the body is not a specification: {error}"), hint)
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body is not JSON",
        "send content-type: application/json",
    ))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BYTES as u64) {
        return Err(too_large());
    }
    match timeout(MAX_TIME, Limited::new(body, MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::bad("body", "the body broke off", "send it again")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", MAX_TIME.as_secs()),
            "send it faster",
        )),
    }
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {MAX_BYTES} bytes"),
        "a specification of 32 inputs needs less than 8 KiB",
    )
}
