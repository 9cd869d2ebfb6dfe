//! Same key, same endpoint.

mod ketama;
mod maglev;
mod rendezvous;
mod ring;

use std::{fmt, sync::Arc};

use crate::{
    candidates::Candidates,
    error::ConfigError,
    pick::{PickCx, Picker},
    policy::Policy,
};

pub use self::{
    ketama::{KetamaRing, ketama_key},
    maglev::MaglevTable,
    rendezvous::Rendezvous,
    ring::HashRing,
};

/// The same key goes to the same endpoint, on every gateway and after every
/// restart, and few keys move when the members change.
///
/// Keys come in with [`PickCx::hash`]; endpoints are placed by name, never by
/// their position in a list. An endpoint that cannot take a request keeps its
/// place: its keys go to others until it can again, and tables are not rebuilt.
///
/// With a [`bound`](Self::bound) no endpoint gets more than that multiple of its
/// fair share of the requests in flight; what is over goes to the next in the
/// key's order (Mirrokni and others, "Consistent hashing with bounded loads").
///
/// Cost: O(1) for ring, ketama and Maglev; O(n) for rendezvous, and with a bound.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ConsistentHash {
    /// How keys find their endpoints. Default: Maglev of 65,537 places.
    pub algorithm: HashAlgorithm,
    /// At most this multiple of the fair share, at least 1. Default: no bound.
    pub bound: Option<f64>,
}

/// How keys find their endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// Envoy's ring of xxh64 points: only a lost endpoint's keys move.
    Ring {
        /// Points per unit of weight.
        points: u32,
    },
    /// nginx's `hash ... consistent`, point by point. Endpoints are named by
    /// host and port of their address, keys are hashed by [`ketama_key`].
    Ketama,
    /// Envoy's Maglev table: the most even one; a few more keys move.
    Maglev {
        /// Places in the table, a prime well above the number of endpoints.
        table_size: u32,
    },
    /// Highest random weight: even, only a lost endpoint's keys move, O(n).
    Rendezvous,
}

impl Default for HashAlgorithm {
    fn default() -> Self {
        Self::Maglev { table_size: 65_537 }
    }
}

impl ConsistentHash {
    /// A ring with `points` per unit of weight; 160 are usual.
    #[must_use]
    pub fn ring(points: u32) -> Self {
        Self {
            algorithm: HashAlgorithm::Ring { points },
            bound: None,
        }
    }

    /// nginx's ketama ring.
    #[must_use]
    pub fn ketama() -> Self {
        Self {
            algorithm: HashAlgorithm::Ketama,
            bound: None,
        }
    }

    /// A Maglev table of 65,537 places.
    #[must_use]
    pub fn maglev() -> Self {
        Self::default()
    }

    /// Highest random weight.
    #[must_use]
    pub fn rendezvous() -> Self {
        Self {
            algorithm: HashAlgorithm::Rendezvous,
            bound: None,
        }
    }

    /// No endpoint gets more than this multiple of its fair share, at least 1.
    /// Default: no bound.
    #[must_use]
    pub fn bound(mut self, multiple: f64) -> Self {
        self.bound = Some(multiple);
        self
    }
}

impl Policy for ConsistentHash {
    fn name(&self) -> &'static str {
        match self.algorithm {
            HashAlgorithm::Ring { .. } => "ring_hash",
            HashAlgorithm::Ketama => "ketama",
            HashAlgorithm::Maglev { .. } => "maglev",
            HashAlgorithm::Rendezvous => "rendezvous",
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self
            .bound
            .is_some_and(|bound| !bound.is_finite() || bound < 1.0)
        {
            return Err(ConfigError::Range {
                what: "bound",
                must: "at least 1",
            });
        }
        match self.algorithm {
            HashAlgorithm::Ring { points: 0 } => Err(ConfigError::Range {
                what: "points",
                must: "at least 1",
            }),
            HashAlgorithm::Maglev { table_size } if !maglev::is_size(table_size) => {
                Err(ConfigError::Range {
                    what: "table_size",
                    must: "a prime from 3 to 5,000,011",
                })
            }
            _ => Ok(()),
        }
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        let members: Vec<u32> = (0..candidates.len() as u32)
            .filter(|index| candidates.weight(*index as usize) > 0)
            .collect();
        let named = || {
            members.iter().map(|i| {
                (
                    candidates.endpoint(*i as usize).id().as_str(),
                    candidates.weight(*i as usize),
                )
            })
        };
        let table: Box<dyn Table> = match self.algorithm {
            HashAlgorithm::Ring { points } => Box::new(HashRing::new(named(), points)),
            HashAlgorithm::Maglev { table_size } => Box::new(MaglevTable::new(named(), table_size)),
            HashAlgorithm::Rendezvous => Box::new(Rendezvous::new(named())),
            HashAlgorithm::Ketama => {
                let address = |i: &u32| ketama::address(candidates.endpoint(*i as usize).uri());
                let named: Vec<_> = members
                    .iter()
                    .map(|i| (address(i), candidates.weight(*i as usize)))
                    .collect();
                Box::new(KetamaRing::new(
                    named
                        .iter()
                        .map(|(address, weight)| (address.as_str(), *weight)),
                ))
            }
        };
        Arc::new(HashPicker {
            table,
            members: members.into(),
            bound: self.bound,
        })
    }
}

/// Places of endpoints, numbered as they were given.
pub(crate) trait Table: fmt::Debug + Send + Sync {
    /// The first owner in this key's order that `admits` lets through; looks
    /// at a bounded number of places.
    fn find(&self, key: u64, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize>;
}

#[derive(Debug)]
struct HashPicker {
    table: Box<dyn Table>,
    members: Box<[u32]>,
    bound: Option<f64>,
}

impl Picker for HashPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let key = cx.key();
        let found = match self.bound {
            None => self.table.find(key, &mut |owner| {
                candidates.admits_key(self.members[owner] as usize, cx)
            }),
            Some(multiple) => {
                let bound = Bound::new(candidates, multiple);
                let admits = |index: usize| {
                    bound.admits(candidates, index) && candidates.admits_key(index, cx)
                };
                let found = self
                    .table
                    .find(key, &mut |owner| admits(self.members[owner] as usize));
                // Few are left below the bound: look at everybody.
                return found
                    .map(|owner| self.members[owner] as usize)
                    .or_else(|| candidates.around(key).find(|index| admits(*index)))
                    .or_else(|| candidates.any(cx));
            }
        };
        match found {
            Some(owner) => Some(self.members[owner] as usize),
            // The same key falls back to the same endpoint.
            None => candidates
                .around(key)
                .find(|index| candidates.admits_key(*index, cx))
                .or_else(|| candidates.any(cx)),
        }
    }
}

/// The most requests in flight that each endpoint may have.
struct Bound {
    per_weight: f64,
}

impl Bound {
    fn new(candidates: &Candidates, multiple: f64) -> Self {
        let sum = |what: &dyn Fn(usize) -> u32| -> f64 {
            candidates
                .available()
                .iter()
                .map(|index| f64::from(what(*index as usize)))
                .sum()
        };
        let in_flight = sum(&|index| candidates.stats(index).in_flight());
        let weights = sum(&|index| candidates.weight(index)).max(1.0);
        // A quotient a hair above a whole number is that number.
        let share = (in_flight + 1.0) / weights * (1.0 - 1e-12);
        Self {
            per_weight: multiple * share,
        }
    }

    fn admits(&self, candidates: &Candidates, index: usize) -> bool {
        let most = (self.per_weight * f64::from(candidates.weight(index))).ceil();
        f64::from(candidates.stats(index).in_flight()) < most
    }
}
