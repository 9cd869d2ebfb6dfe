//! What a request must show to go to a certain arm.

use http::header::COOKIE;
use http::{HeaderMap, HeaderName};

/// What a request must show; see [`SplitBuilder::when`](super::SplitBuilder::when).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// `None`: a name that is none, refused when the split is built.
    Header(Option<HeaderName>, String),
    Cookie(String, String),
}

impl Match {
    /// A header of this name has exactly this value.
    #[must_use]
    pub fn header(name: &str, value: impl Into<String>) -> Self {
        Self(Kind::Header(name.parse().ok(), value.into()))
    }

    /// A cookie of this name has exactly this value. Clients write cookies as
    /// they like: nothing secret should follow from one.
    #[must_use]
    pub fn cookie(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(Kind::Cookie(name.into(), value.into()))
    }

    pub(super) fn is_valid(&self) -> bool {
        !matches!(self.0, Kind::Header(None, _))
    }

    /// Whether a request with these headers shows it.
    #[must_use]
    pub fn holds(&self, headers: &HeaderMap) -> bool {
        match &self.0 {
            Kind::Header(None, _) => false,
            Kind::Header(Some(name), wanted) => headers
                .get_all(name)
                .iter()
                .any(|value| value.as_bytes() == wanted.as_bytes()),
            Kind::Cookie(name, wanted) => headers
                .get_all(COOKIE)
                .iter()
                .flat_map(|field| field.as_bytes().split(|byte| *byte == b';'))
                .filter_map(|pair| {
                    let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
                    value.strip_prefix(b"=")
                })
                .any(|value| value == wanted.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_matches_as_a_whole() {
        let mut headers = HeaderMap::new();
        headers.append("x-tester", "no".parse().unwrap());
        headers.append("x-tester", "yes".parse().unwrap());
        headers.append(COOKIE, "beta=yes; a=b".parse().unwrap());
        assert!(Match::header("X-Tester", "yes").holds(&headers));
        assert!(!Match::header("x-tester", "ye").holds(&headers));
        assert!(Match::cookie("beta", "yes").holds(&headers));
        assert!(Match::cookie("a", "b").holds(&headers));
        assert!(!Match::cookie("eta", "yes").holds(&headers));
        assert!(!Match::cookie("beta", "yes; a").holds(&headers));
    }
}
