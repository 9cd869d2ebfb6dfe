//! One endpoint: its name, its facts, and what is known of it.
//!
//! | type | what it is |
//! |------|------------|
//! | [`EndpointId`] | the stable name |
//! | [`EndpointSpec`] | what configuration or discovery asks for |
//! | [`Endpoint`] | a member of the pool: checked facts, shared statistics |
//! | [`Stats`] | counters and estimates; they survive changes of facts |
//! | [`Cause`] | independent reasons against it |
//! | [`Outcome`], [`Observer`] | how a request ended, and who is told |
//! | [`PeakEwma`] | response time as a peak-sensitive average |
//!
//! Statistics belong to a name *and* incarnation *and* address: changing a
//! weight keeps them, a restart under the same name begins anew.
//!
//! ```
//! use lb_core::{EndpointSpec, Pool};
//!
//! let pool = Pool::builder("simulation")
//!     .endpoints([EndpointSpec::new("sim-1", "http://10.0.0.1:8000").weight(2)])
//!     .build()?;
//! assert_eq!(pool.status().endpoints[0].weight, 2);
//! # Ok::<(), lb_core::ConfigError>(())
//! ```

mod cause;
mod estimates;
mod failure;
pub(crate) mod fleet;
mod id;
pub(crate) mod observers;
mod outcome;
mod peak_ewma;
pub(crate) mod reading;
mod spec;
pub(crate) mod stamped;
mod stats;
mod timing;
mod traffic;

use std::{collections::BTreeMap, sync::Arc};

use http::Uri;

use crate::error::ConfigError;

pub use self::{
    cause::Cause,
    id::EndpointId,
    outcome::{Observation, Observer, Outcome},
    peak_ewma::PeakEwma,
    spec::EndpointSpec,
    stats::Stats,
};
pub(crate) use self::{fleet::Fleet, id::SeededNames};

/// A member of a pool: facts that were checked, and shared statistics.
// What the end of a request looks at comes first, and so lies together.
#[derive(Debug)]
#[repr(C)]
pub struct Endpoint {
    pub(crate) stats: Arc<Stats>,
    seat: Seat,
    id: EndpointId,
    uri: Uri,
    incarnation: u64,
    weight: u32,
    zone: Option<Box<str>>,
    priority: u32,
    metadata: BTreeMap<String, String>,
}

/// Where threads keep what they know of an endpoint, for as long as it is the same member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Of its pool, among all.
    pub(crate) place: u8,
    /// Its own among the members of the pool.
    pub(crate) index: u32,
}

impl Endpoint {
    pub(crate) fn new(spec: EndpointSpec, uri: Uri, stats: Arc<Stats>, seat: Seat) -> Self {
        let EndpointSpec {
            id,
            incarnation,
            weight,
            zone,
            priority,
            metadata,
            ..
        } = spec;
        Self {
            stats,
            seat,
            id,
            uri,
            incarnation,
            weight,
            zone,
            priority,
            metadata,
        }
    }

    /// The same endpoint with another weight.
    pub(crate) fn with_weight(&self, weight: u32) -> Self {
        Self {
            stats: Arc::clone(&self.stats),
            seat: self.seat,
            id: self.id.clone(),
            uri: self.uri.clone(),
            incarnation: self.incarnation,
            weight,
            zone: self.zone.clone(),
            priority: self.priority,
            metadata: self.metadata.clone(),
        }
    }

    #[inline]
    pub(crate) fn seat(&self) -> Seat {
        self.seat
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &EndpointId {
        &self.id
    }

    /// Its address.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Which life of that name this is.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its share of the traffic relative to the others; 0 takes none.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Where it runs, if known.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.zone.as_deref()
    }

    /// Its priority tier; 0 is used first.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Facts that subsets select by.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Counters and estimates.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}

/// The address as a URI with scheme and host.
pub(crate) fn parse_uri(spec: &EndpointSpec) -> Result<Uri, ConfigError> {
    match spec.uri.parse::<Uri>() {
        Ok(uri) if uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty()) => {
            Ok(uri)
        }
        _ => Err(ConfigError::Uri {
            id: spec.id.clone(),
            uri: spec.uri.clone(),
        }),
    }
}
