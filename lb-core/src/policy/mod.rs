//! Every balancing policy: who gets the next request.
//!
//! A policy is plain configuration. [`Policy::build`] turns it into a
//! [`Picker`] whenever members or weights change; the
//! picker then chooses without a lock. [`PolicyConfig`] names and tunes all of
//! them and can be changed at run time with
//! [`Pool::set_policy`](crate::Pool::set_policy).
//!
//! ```
//! use lb_core::{Pool, policy::{LeastRequest, RoundRobin}};
//!
//! let pool = Pool::builder("simulation").policy(RoundRobin::default()).build()?;
//! pool.set_policy(LeastRequest::default().scan_up_to(64))?;
//! assert_eq!(pool.status().policy, "least_request");
//! # Ok::<(), lb_core::ConfigError>(())
//! ```

mod config;
mod draw;
mod group;
mod hash;
mod least_request;
mod least_response_time;
mod prequal;
mod random;
mod resource_based;
mod round_robin;
mod subset;
mod tiers;
mod weighted_round_robin;
mod zone;

use std::{fmt, sync::Arc};

use crate::{candidates::Candidates, error::ConfigError, pick::Picker};

pub use self::{
    config::PolicyConfig,
    hash::{
        ConsistentHash, HashAlgorithm, HashRing, KetamaRing, MaglevTable, Rendezvous, ketama_key,
    },
    least_request::LeastRequest,
    least_response_time::LeastResponseTime,
    prequal::Prequal,
    random::Random,
    resource_based::{Combine, ResourceBased},
    round_robin::RoundRobin,
    subset::{Subset, SubsetFallback},
    tiers::{PriorityTiers, priority_spill},
    weighted_round_robin::{SmoothWeights, WeightedRoundRobin},
    zone::ZoneAware,
};

/// Builds pickers. Implement it to bring a policy of your own (an example is in
/// [`candidates`](crate::candidates)), and hand it over as [`PolicyConfig::Custom`].
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Its name in status and configuration, snake case.
    fn name(&self) -> &str;

    /// Whether the configuration can work.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that cannot.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// A picker for these endpoints. `random` seeds what starts at random.
    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker>;
}

/// A stable hash of a request's key (xxh3), the same on every gateway and in
/// every release.
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
