//! Simulation -> gateway: is this a specification, and what is its one canonical spelling?
//!
//! A bad one is refused at the door, with the field and the hint of the simulation itself.

use http::StatusCode;
use montecarlo::spec::{Plan, Spec};

use crate::http::Problem;
use crate::ledger::JobSpec;

/// Reads and checks a specification.
///
/// # Errors
///
/// A [`Problem`] of status 400 for what is not JSON of this shape, 422 for what cannot be run.
pub fn check(body: &[u8]) -> Result<JobSpec, Problem> {
    let spec: Spec = serde_json::from_slice(body).map_err(|error| {
        let hint = r#"send {"inputs": {"x": {"distribution": "normal", "mean": 0, "std_dev": 1}}, "formula": "x", "iterations": 100000, "seed": 1}"#;
        Problem::new(StatusCode::BAD_REQUEST, error.to_string(), hint).field("body")
    })?;
    Plan::new(&spec).map_err(|wrong| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, wrong.message, wrong.hint).field(wrong.field)
    })?;
    let text = serde_json::to_string(&spec).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            "send numbers that are finite",
        )
    })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"inputs": {"x": {"distribution": "uniform", "min": 0, "max": 1}}, "formula": "x", "iterations": 1000, "seed": 1}"#;

    #[test]
    fn the_order_of_fields_does_not_make_another_job() {
        let turned = r#"{"seed": 1, "iterations": 1000, "formula": "x", "inputs": {"x": {"max": 1.0, "min": 0, "distribution": "uniform"}}}"#;
        assert_eq!(check(GOOD.as_bytes()), check(turned.as_bytes()));
        assert!(check(GOOD.as_bytes()).is_ok());
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_field() {
        let wrong = GOOD.replace("\"formula\": \"x\"", "\"formula\": \"x +\"");
        let problem = format!("{:?}", check(wrong.as_bytes()).unwrap_err());
        assert!(
            problem.contains("422") && problem.contains("formula"),
            "{problem}"
        );
    }
}
