//! A job's name, chosen by the client and therefore not trusted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;

/// One to 64 characters out of `A-Z a-z 0-9 _ -`: safe in a path, a log line and a page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct JobId(Arc<str>);

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a simulation id has 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")]
pub struct JobIdError;

impl JobId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into())).ok_or(JobIdError)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for hostile in [
            "",
            "..",
            "a/b",
            "a b",
            "a\0",
            "é",
            "%2e",
            "<b>",
            &"x".repeat(65),
        ] {
            assert_eq!(hostile.parse::<JobId>(), Err(JobIdError), "{hostile:?}");
        }
    }

    #[test]
    fn usual_names_are_kept_as_they_are() {
        for usual in ["1", "Run_7-b", &"x".repeat(64)] {
            assert_eq!(usual.parse::<JobId>().unwrap().as_str(), usual);
        }
    }
}
