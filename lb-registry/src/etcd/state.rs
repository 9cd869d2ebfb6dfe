//! From etcd's events to the catalog, and from a change of the catalog to a transaction. No socket, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::key::Key;
use crate::catalog::shared::{Record, Written};
use crate::catalog::{Catalog, CatalogError, CheckKind, Unit};
use crate::in_process::Change;

/// A transaction may have 128 operations; the rest is room for the leases.
const MOST_OPERATIONS: usize = 100;

/// What is known about etcd's side.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The units that are stored, each with the revision of its last write.
    units: BTreeMap<Unit, u64>,
    /// The leases of the TTL checks that somebody reports to.
    alive: BTreeMap<String, u64>,
    leader: Option<String>,
    revision: u64,
    /// Added to revisions to make indexes, so that those still grow after etcd began anew.
    offset: u64,
}

/// One change, or one thing that is there.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) key: Key,
    /// `None` if it is gone.
    pub(super) value: Option<Vec<u8>>,
    pub(super) lease: u64,
    pub(super) created: u64,
    pub(super) at: u64,
}

/// What to ask of etcd to make a change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Holds only if none of these was written after this revision; zero: if it does not exist.
    pub(super) unchanged: Vec<(Key, u64)>,
    /// To be written.
    pub(super) puts: Vec<(Key, Vec<u8>)>,
    /// To be removed.
    pub(super) deletes: Vec<Key>,
    /// TTL checks that need a new lease.
    pub(super) starts: Vec<(String, Duration)>,
    /// Leases to be renewed.
    pub(super) renewals: Vec<u64>,
}

// === impl Plan ===

impl Plan {
    /// `true` if nothing has to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty() && self.starts.is_empty()
    }

    /// `true` if there is nothing to do at all, as far as it is known here.
    pub(super) fn is_idle(&self) -> bool {
        self.is_empty() && self.renewals.is_empty()
    }
}

// === impl State ===

impl State {
    pub(super) fn is_led_by(&self, name: &str) -> bool {
        self.leader.as_deref() == Some(name)
    }

    pub(super) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// Up to which revision changes were taken in.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes in everything that is there at `revision`. What is not there is removed from the catalog, unless etcd has
    /// forgotten it: what is returned has to be stored again.
    pub(super) fn list(
        &mut self,
        catalog: &mut Catalog,
        mut events: Vec<Event>,
        revision: u64,
        now: Instant,
    ) -> Vec<Unit> {
        // Nothing was known, or an etcd that counts from one again is another one.
        let forgotten = self.revision == 0 || revision < self.revision;
        if revision < self.revision {
            self.offset = catalog.indexes().last();
            self.units.clear();
        }
        events.sort_by_key(|event| event.at);
        self.alive.clear();
        self.leader = None;
        let known = std::mem::take(&mut self.units);
        let (old, new): (Vec<Event>, Vec<Event>) = events.into_iter().partition(
            |event| matches!(&event.key, Key::Unit(unit) if known.get(unit) == Some(&event.at)),
        );
        for Event { key, at, .. } in old {
            if let Key::Unit(unit) = key {
                self.units.insert(unit, at);
            }
        }
        self.apply(catalog, new, now);
        self.revision = revision;
        let index = revision + self.offset;
        let missing = catalog
            .units()
            .into_iter()
            .filter(|unit| !self.units.contains_key(unit) && catalog.record(unit).is_some());
        let missing: Vec<Unit> = missing.collect();
        if !forgotten {
            for unit in &missing {
                catalog.remove_record(unit, index, now);
            }
        }
        for unit in self.units.keys() {
            self.expire_silent(catalog, unit, index, now);
        }
        catalog.complete_at(index);
        if forgotten { missing } else { Vec::new() }
    }

    /// Takes in changes in their order.
    pub(super) fn apply(&mut self, catalog: &mut Catalog, events: Vec<Event>, now: Instant) {
        let mut silent = Vec::new();
        // Leases first: a unit and the lease of its check come in one transaction.
        for event in &events {
            match (&event.key, &event.value) {
                (Key::Alive(check), Some(_)) => drop(self.alive.insert(check.clone(), event.lease)),
                (Key::Alive(check), None) => {
                    self.alive.remove(check);
                    silent.push((check.clone(), event.at));
                }
                (Key::Leader, name) => {
                    let name = name.as_deref().map(String::from_utf8_lossy);
                    self.leader = name.map(std::borrow::Cow::into_owned);
                }
                (Key::Unit(_) | Key::Barrier, _) => {}
            }
        }
        for event in events {
            self.revision = self.revision.max(event.at);
            if let Key::Unit(unit) = &event.key {
                self.take_over(catalog, unit, &event, now);
            }
        }
        for (check, at) in silent {
            if !self.alive.contains_key(&check) {
                catalog.expire(&check, at + self.offset, now);
            }
        }
    }

    fn take_over(&mut self, catalog: &mut Catalog, unit: &Unit, event: &Event, now: Instant) {
        let written = Written {
            created: event.created + self.offset,
            at: event.at + self.offset,
        };
        let Some(value) = &event.value else {
            self.units.remove(unit);
            catalog.remove_record(unit, written.at, now);
            return;
        };
        self.units.insert(unit.clone(), event.at);
        let taken = serde_json::from_slice::<Record>(value)
            .map_err(|error| error.to_string())
            .and_then(|record| {
                let put = catalog.put_record(unit, record, written, now);
                put.map_err(|error| error.to_string())
            });
        if let Err(error) = taken {
            tracing::warn!(?unit, error, "a record was left out");
        }
        self.expire_silent(catalog, unit, written.at, now);
    }

    /// Whoever wrote the unit may not have known yet that nobody reports to its checks any more.
    fn expire_silent(&self, catalog: &mut Catalog, unit: &Unit, index: u64, now: Instant) {
        for (check, _) in catalog.ttls_of(unit) {
            if !self.alive.contains_key(&check) {
                catalog.expire(&check, index, now);
            }
        }
    }

    /// What to ask of etcd so that `change` happens to these units.
    ///
    /// # Errors
    ///
    /// What `change` returns, and [`CatalogError::Full`] for more than fits into one transaction.
    pub(super) fn plan(
        &self,
        catalog: &Catalog,
        units: &[Unit],
        change: Change<'_>,
        now: Instant,
    ) -> Result<Plan, CatalogError> {
        let before = catalog.scratch(units);
        let mut after = before.clone();
        change(&mut after, now)?;
        let mut plan = Plan::default();
        for unit in units {
            self.plan_unit(&mut plan, unit, &before, &after);
        }
        for (check, ttl) in after.started() {
            let kind = CheckKind::Ttl { ttl };
            let same = before
                .check(check)
                .is_some_and(|old| old.definition.kind == kind);
            match self.alive.get(check).filter(|_| same) {
                Some(lease) => plan.renewals.push(*lease),
                None => plan.starts.push((check.to_owned(), ttl)),
            }
        }
        let operations = plan.puts.len() + plan.deletes.len() + plan.starts.len();
        if operations > MOST_OPERATIONS {
            return Err(CatalogError::Full {
                what: "operations of one change",
                limit: MOST_OPERATIONS,
            });
        }
        Ok(plan)
    }

    fn plan_unit(&self, plan: &mut Plan, unit: &Unit, before: &Catalog, after: &Catalog) {
        let key = Key::Unit(unit.clone());
        let revision = self.units.get(unit).copied().unwrap_or(0);
        plan.unchanged.push((key.clone(), revision));
        let record = after.record(unit);
        // What is stored may still say "passing" of a check whose lease has ended.
        let revived = after
            .ttls_of(unit)
            .iter()
            .any(|(check, _)| after.is_started(check) && !self.alive.contains_key(check));
        if before.record(unit) == record && !revived {
            return;
        }
        match record {
            None => plan.deletes.push(key),
            Some(record) => plan.puts.push((key, encoded(&record))),
        }
        let checks = before.ttls_of(unit).into_iter().map(|(check, _)| check);
        let gone = checks.filter(|check| after.check(check).is_none());
        let bound = gone.filter(|check| self.alive.contains_key(check));
        plan.deletes.extend(bound.map(Key::Alive));
    }

    /// What to ask of etcd to store a unit that it does not have. TTLs begin anew.
    pub(super) fn plan_again(&self, catalog: &Catalog, unit: &Unit) -> Option<Plan> {
        let key = Key::Unit(unit.clone());
        let record = catalog.record(unit)?;
        Some(Plan {
            unchanged: vec![(key.clone(), 0)],
            puts: vec![(key, encoded(&record))],
            starts: catalog.ttls_of(unit),
            ..Plan::default()
        })
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    // Only maps with keys that are no strings fail, and there are none.
    serde_json::to_vec(record).unwrap_or_default()
}
