//! Who is a member, and whose counters to keep.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Instant,
};

use http::Uri;

use crate::{
    endpoint::{Cause, Endpoint, EndpointId, EndpointSpec, Fleet, Seat, Stats, parse_uri},
    error::ConfigError,
};

/// The members by name, and those that left but still have requests running.
#[derive(Debug)]
pub(crate) struct Members {
    /// Where threads keep the pool.
    place: u8,
    current: BTreeMap<EndpointId, Arc<Endpoint>>,
    left: Vec<Left>,
}

/// A former member. Its counters live while its requests do.
#[derive(Debug)]
struct Left {
    id: EndpointId,
    incarnation: u64,
    uri: Uri,
    stats: Weak<Stats>,
}

impl Left {
    fn new(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id().clone(),
            incarnation: endpoint.incarnation(),
            uri: endpoint.uri().clone(),
            stats: Arc::downgrade(&endpoint.stats),
        }
    }

    /// The counters, while a request runs. None begins any more.
    fn running(&self) -> Option<Arc<Stats>> {
        self.stats.upgrade().filter(|stats| !stats.is_idle())
    }
}

impl Members {
    /// None so far.
    pub(crate) fn new(place: u8) -> Self {
        Self {
            place,
            current: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    /// The members in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.current.values()
    }

    pub(crate) fn get(&self, id: &EndpointId) -> Option<&Arc<Endpoint>> {
        self.current.get(id)
    }

    /// Statistics of every life of that name that may still have requests.
    pub(crate) fn running(&self, id: &EndpointId) -> Vec<Arc<Stats>> {
        let current = self
            .current
            .get(id)
            .map(|endpoint| Arc::clone(&endpoint.stats));
        let left = self
            .left
            .iter()
            .filter(|left| left.id == *id)
            .filter_map(Left::running);
        current.into_iter().chain(left).collect()
    }

    pub(crate) fn set_weight(&mut self, id: &EndpointId, weight: u32) -> bool {
        let Some(endpoint) = self.current.get_mut(id) else {
            return false;
        };
        *endpoint = Arc::new(endpoint.with_weight(weight));
        true
    }

    /// Makes `specs` the members. Checks all before it changes any. Returns those
    /// that leave: let them take requests until the new members are known.
    pub(crate) fn replace(
        &mut self,
        specs: Vec<EndpointSpec>,
        fleet: &Arc<Fleet>,
        now: Instant,
    ) -> Result<Vec<Arc<Endpoint>>, ConfigError> {
        let mut wanted: BTreeMap<EndpointId, (EndpointSpec, Uri)> = BTreeMap::new();
        for spec in specs {
            let uri = parse_uri(&spec)?;
            let older = wanted
                .get(&spec.id)
                .is_none_or(|(other, _)| other.incarnation <= spec.incarnation);
            if older {
                wanted.insert(spec.id.clone(), (spec, uri));
            }
        }
        self.left.retain(|left| left.running().is_some());
        let mut before = std::mem::take(&mut self.current);
        for ((id, (spec, uri)), index) in wanted.into_iter().zip(0..) {
            let place = self.place;
            let seat = Seat { place, index };
            let stats = self.take_stats(&mut before, &spec, &uri, fleet, now);
            stats.set_causes(Cause::Removed.bit(), false, now);
            stats.set_causes(Cause::Draining.bit(), spec.draining, now);
            let endpoint = Endpoint::new(spec, uri, stats, seat);
            self.current.insert(id, Arc::new(endpoint));
        }
        let leaving: Vec<_> = before.into_values().collect();
        self.left.extend(leaving.iter().map(|it| Left::new(it)));
        Ok(leaving)
    }

    /// The counters that this endpoint had, or new ones.
    fn take_stats(
        &mut self,
        before: &mut BTreeMap<EndpointId, Arc<Endpoint>>,
        spec: &EndpointSpec,
        uri: &Uri,
        fleet: &Arc<Fleet>,
        now: Instant,
    ) -> Arc<Stats> {
        if let Some(old) = before.get(&spec.id)
            && old.incarnation() == spec.incarnation
            && old.uri() == uri
        {
            let stats = Arc::clone(&old.stats);
            before.remove(&spec.id);
            return stats;
        }
        let same = |left: &Left| {
            left.id == spec.id && left.incarnation == spec.incarnation && left.uri == *uri
        };
        let back = self
            .left
            .iter()
            .position(same)
            .map(|at| self.left.swap_remove(at));
        back.and_then(|left| left.running())
            .unwrap_or_else(|| Arc::new(Stats::new(0, now, fleet)))
    }
}
