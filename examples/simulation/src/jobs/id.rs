//! Names of jobs, given by clients.

use std::fmt;
use std::sync::Arc;

/// A job's id: 1 to 64 letters, digits, `-` and `_`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobId(Arc<str>);

impl JobId {
    /// Reads an id; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
    fn hostile_ids_are_not_ids() {
        let long = "x".repeat(65);
        for text in [
            "",
            "../etc/passwd",
            "a b",
            "a/b",
            "é",
            "a\0",
            "a\n",
            "%2e",
            ".",
            &long,
        ] {
            assert_eq!(JobId::parse(text), None, "{text:?}");
        }
        assert!(JobId::parse(&long[..64]).is_some());
        assert!(JobId::parse("Job_1-b").is_some());
    }
}
