//! `x-lb-explain`: the answer says which endpoint gave it, why, and what was
//! tried before. For those who know the key only: it names endpoints.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::affinity::Session;
use crate::endpoint::{Endpoint, EndpointId};
use crate::policy::Policy as _;
use crate::pool::Pool;

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

    /// This endpoint was left for another one; `why` is a word.
    pub(crate) fn failed(&mut self, endpoint: &EndpointId, why: &str) {
        self.attempts += 1;
        if self.attempts <= MAX_TOLD {
            // Writing to a string cannot fail.
            let _ = write!(self.tried, " {endpoint}={why}");
        }
    }

    /// Says in an answer's head that it came from `endpoint`, and why from there.
    pub(crate) fn tell(
        &self,
        endpoint: &Endpoint,
        session: Option<&Session>,
        pool: &Pool,
        fields: &mut HeaderMap,
    ) {
        let policy = pool.policy();
        let bound = session.is_some_and(|session| session.holds(endpoint));
        let line = self.line(endpoint.id(), if bound { "session" } else { policy.name() });
        if let Ok(value) = HeaderValue::try_from(line) {
            fields.insert(EXPLAIN, value);
        }
    }

    /// `endpoint=sim-1; by=least_request; attempts=2; failed: sim-2=unreachable`.
    fn line(&self, endpoint: &EndpointId, by: &str) -> String {
        let attempts = self.attempts + 1;
        let mut line = format!("endpoint={endpoint}; by={by}; attempts={attempts}");
        if !self.tried.is_empty() {
            line.push_str("; failed:");
            line.push_str(&self.tried);
        }
        line
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
        explanation.failed(&"sim-2".into(), "unreachable");
        let expected = "endpoint=sim-1; by=least_request; attempts=2; failed: sim-2=unreachable";
        let line = explanation.line(&"sim-1".into(), "least_request");
        assert_eq!(line, expected);
    }
}
