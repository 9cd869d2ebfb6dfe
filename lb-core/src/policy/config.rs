//! One configuration type that names and tunes every policy.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    error::ConfigError,
    pick::Picker,
    policy::{
        ConsistentHash, LeastRequest, LeastResponseTime, Policy, Prequal, PriorityTiers, Random,
        ResourceBased, RoundRobin, Subset, WeightedRoundRobin, ZoneAware,
    },
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
    /// One after the other, by weight.
    WeightedRoundRobin(WeightedRoundRobin),
    /// Anybody, by weight.
    Random(Random),
    /// Fewest requests in flight.
    LeastRequest(LeastRequest),
    /// Quickest to answer.
    LeastResponseTime(LeastResponseTime),
    /// Most headroom: CPU, GPU, memory, active work.
    ResourceBased(ResourceBased),
    /// Requests in flight first, answer time second.
    Prequal(Prequal),
    /// Same key, same endpoint.
    ConsistentHash(ConsistentHash),
    /// The first tier as long as it can, the next for the rest.
    PriorityTiers(PriorityTiers),
    /// The own zone as far as it carries.
    ZoneAware(ZoneAware),
    /// Only endpoints with certain facts.
    Subset(Subset),
    /// A policy from outside this crate.
    #[cfg_attr(feature = "serde", serde(skip))]
    Custom(Arc<dyn Policy>),
}

/// Least request: needs neither reports nor tuning.
impl Default for PolicyConfig {
    fn default() -> Self {
        Self::LeastRequest(LeastRequest::default())
    }
}

impl PolicyConfig {
    fn policy(&self) -> &dyn Policy {
        match self {
            Self::RoundRobin(policy) => policy,
            Self::WeightedRoundRobin(policy) => policy,
            Self::Random(policy) => policy,
            Self::LeastRequest(policy) => policy,
            Self::LeastResponseTime(policy) => policy,
            Self::ResourceBased(policy) => policy,
            Self::Prequal(policy) => policy,
            Self::ConsistentHash(policy) => policy,
            Self::PriorityTiers(policy) => policy,
            Self::ZoneAware(policy) => policy,
            Self::Subset(policy) => policy,
            Self::Custom(policy) => policy.as_ref(),
        }
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

/// Each policy is a configuration by itself.
macro_rules! configures {
    ($($policy:ident),+ $(,)?) => {$(
        impl From<$policy> for PolicyConfig {
            fn from(policy: $policy) -> Self {
                Self::$policy(policy)
            }
        }
    )+};
}

configures!(
    RoundRobin,
    WeightedRoundRobin,
    Random,
    LeastRequest,
    LeastResponseTime,
    ResourceBased,
    Prequal,
    ConsistentHash,
    PriorityTiers,
    ZoneAware,
    Subset,
);
