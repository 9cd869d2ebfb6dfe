//! One configuration type that names and tunes every policy.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    error::ConfigError,
    pick::Picker,
    policy::{LeastRequest, Policy, RoundRobin},
};

/// Any policy. With feature `serde` it reads `{"policy": "least_request", ...}`;
/// settings left out keep their defaults.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "policy", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum PolicyConfig {
    /// One after the other.
    RoundRobin(RoundRobin),
    /// Fewest requests in flight.
    LeastRequest(LeastRequest),
    /// A policy from outside this crate.
    #[cfg_attr(feature = "serde", serde(skip))]
    Custom(Arc<dyn Policy>),
}

impl PolicyConfig {
    fn policy(&self) -> &dyn Policy {
        match self {
            Self::RoundRobin(policy) => policy,
            Self::LeastRequest(policy) => policy,
            Self::Custom(policy) => policy.as_ref(),
        }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        LeastRequest::default().into()
    }
}

impl Policy for PolicyConfig {
    fn name(&self) -> &str {
        self.policy().name()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.policy().check()
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        self.policy().build(candidates, random)
    }
}

impl From<RoundRobin> for PolicyConfig {
    fn from(policy: RoundRobin) -> Self {
        Self::RoundRobin(policy)
    }
}

impl From<LeastRequest> for PolicyConfig {
    fn from(policy: LeastRequest) -> Self {
        Self::LeastRequest(policy)
    }
}
