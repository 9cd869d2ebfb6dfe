//! `x-lb-explain`: the answer says which endpoint gave it, why, and what was
//! tried before. For those who know the key only: it names endpoints.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::ProxyError;
use crate::endpoint::EndpointId;

/// The key in a request, the explanation in its answer.
pub(crate) const EXPLAIN: HeaderName = HeaderName::from_static("x-lb-explain");

/// Attempts that are told, at most; each is an endpoint's name and a word.
const MAX_TOLD: usize = 8;

/// What will be told about one request.
#[derive(Debug, Default)]
pub(crate) struct Explanation {
    tried: String,
    attempts: usize,
}

impl Explanation {
    /// Takes the key out of a request: endpoints never see it. `Some` if it is
    /// the right one.
    pub(crate) fn asked(key: Option<&str>, headers: &mut HeaderMap) -> Option<Box<Self>> {
        let key = key?;
        let given = headers.remove(&EXPLAIN)?;
        is_equal(given.as_bytes(), key.as_bytes()).then(Box::default)
    }

    pub(crate) fn failed(&mut self, endpoint: &EndpointId, why: ProxyError) {
        self.attempts += 1;
        if self.attempts <= MAX_TOLD {
            // Writing to a string cannot fail.
            let _ = write!(self.tried, " {endpoint}={}", why.code());
        }
    }

    /// One line: `endpoint=sim-1; by=least_request; attempts=2; failed: sim-2=unreachable`.
    pub(crate) fn tell(&self, endpoint: &EndpointId, by: &str, fields: &mut HeaderMap) {
        let attempts = self.attempts + 1;
        let mut line = format!("endpoint={endpoint}; by={by}; attempts={attempts}");
        if !self.tried.is_empty() {
            line.push_str("; failed:");
            line.push_str(&self.tried);
        }
        if let Ok(value) = HeaderValue::try_from(line) {
            fields.insert(EXPLAIN, value);
        }
    }
}

/// Takes the same time wherever the two differ.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).map(|(a, b)| a ^ b);
    one.len() == other.len() && differences.fold(0, |all, bits| all | bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens_it_and_it_goes_no_further() {
        for (given, opens) in [
            ("secret", true),
            ("secreT", false),
            ("", false),
            ("secrets", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(EXPLAIN, given.parse().unwrap());
            let asked = Explanation::asked(Some("secret"), &mut headers);
            assert_eq!(asked.is_some(), opens, "{given}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn it_names_the_endpoint_the_reason_and_the_attempts() {
        let mut explanation = Explanation::default();
        explanation.failed(&"sim-2".into(), ProxyError::Unreachable);
        let mut fields = HeaderMap::new();
        explanation.tell(&"sim-1".into(), "least_request", &mut fields);
        let expected = "endpoint=sim-1; by=least_request; attempts=2; failed: sim-2=unreachable";
        assert_eq!(fields[EXPLAIN], expected);
    }
}
