//! The job's id out of a path, checked before anything else happens.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::Problem;
use crate::ledger::{JobId, JobIdError};

/// `{id}` of a route.
#[derive(Debug)]
pub(super) struct Id(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // What is not even text is as wrong as text with the wrong characters.
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::from(JobIdError))?;
        Ok(Self(text.parse()?))
    }
}
