//! Who may do what: one token that may do everything, or no rules at all.

use http::{HeaderMap, header};

use super::query::Query;
use super::reply::Failure;

/// The rules. Without a token everybody may do everything, as in Consul without ACLs.
#[derive(Clone, Default)]
pub(super) struct AccessControl {
    pub(super) token: Option<String>,
}

/// What the caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// Came without a token where one is needed: sees empty lists, changes nothing.
    Anonymous,
    /// Came with a token that does not exist.
    Unknown,
}

impl AccessControl {
    pub(super) fn of(&self, headers: &HeaderMap, query: &Query) -> Access {
        let Some(needed) = &self.token else {
            return Access::Full;
        };
        match given(headers, query) {
            None => Access::Anonymous,
            Some(token) if same(token.as_bytes(), needed.as_bytes()) => Access::Full,
            Some(_) => Access::Unknown,
        }
    }
}

/// The query parameter wins over the header, which wins over the bearer token.
fn given<'a>(headers: &'a HeaderMap, query: &'a Query) -> Option<&'a str> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || {
        header(header::AUTHORIZATION)?
            .strip_prefix("Bearer ")
            .map(str::trim)
    };
    let own = header(http::HeaderName::from_static("x-consul-token"));
    query
        .filled("token")
        .or(own.filter(|token| !token.is_empty()))
        .or_else(bearer)
}

/// Compares without telling by its duration how much is equal.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differs) == 0 && a.len() == b.len()
}

impl Access {
    pub(super) fn must_be_known(self) -> Result<(), Failure> {
        match self {
            Self::Unknown => Err(Failure::forbidden("ACL not found")),
            Self::Full | Self::Anonymous => Ok(()),
        }
    }

    pub(super) fn is_full(self) -> bool {
        self == Self::Full
    }

    pub(super) fn must_be_full(self) -> Result<(), Failure> {
        match self {
            Self::Full => Ok(()),
            _ => Err(Failure::forbidden("Permission denied")),
        }
    }

    pub(super) fn must_write_service(self, name: &str) -> Result<(), Failure> {
        match self {
            Self::Full => Ok(()),
            _ => Err(Failure::forbidden(format!(
                "Permission denied: Missing service:write on {name}"
            ))),
        }
    }
}
