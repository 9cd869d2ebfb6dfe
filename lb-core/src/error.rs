//! Why a pool could not be built or changed, and why a pick found nobody.

use crate::endpoint::EndpointId;

/// A configuration that cannot work. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The address of an endpoint is not a URI with a host.
    #[error("endpoint {id}: {uri:?} is not an absolute URI")]
    Uri {
        /// The endpoint.
        id: EndpointId,
        /// What was given as its address.
        uri: String,
    },
    /// A value lies outside its range.
    #[error("{what} must be {must}")]
    Range {
        /// The setting's name.
        what: &'static str,
        /// What it must be, as words.
        must: &'static str,
    },
    /// A background task was asked for outside of a tokio runtime.
    #[error("{what} needs a tokio runtime")]
    NoRuntime {
        /// The setting that needs it.
        what: &'static str,
    },
}

/// No endpoint can take this request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// No endpoint is known at all.
    #[error("no endpoint is known")]
    Empty,
    /// Endpoints are known, but each is draining, down, ejected, full, of
    /// weight zero, or was tried before.
    #[error("none of {known} endpoints is available")]
    NoneAvailable {
        /// How many endpoints are known.
        known: usize,
    },
    /// The upstream has as many requests as it takes, see
    /// [`UpstreamLimits`](crate::breaker::UpstreamLimits).
    #[error("the upstream has as many requests as it takes")]
    Full,
    /// The endpoint that was asked for by name is not a member.
    #[error("the endpoint is not a member")]
    Unknown,
}
