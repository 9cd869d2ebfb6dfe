//! Parts of a catalog that several catalogs share: each is written as a whole and read as a whole.
//!
//! A change is first made on a [scratch](Catalog::scratch) copy of the units that it touches; what the scratch then
//! holds is stored somewhere, and every catalog that shares the unit [takes it over](Catalog::put_record). So the
//! rules of registration are the same whether a catalog is shared or not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::saved::SavedCheck;
use super::{
    Catalog, CatalogError, Check, CheckKind, CheckStatus, Entry, Outcome, Probe, ServiceDefinition,
    Unit,
};

/// A unit as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// Of a service, or of the agent if there is no service.
    Checked {
        /// The service.
        service: Option<ServiceDefinition>,
        /// Its checks.
        checks: Vec<SavedCheck>,
    },
    /// Of a key. Sessions are not shared, so it has no lock.
    Entry {
        /// The value in base64: as a list of numbers it would be larger than what is stored at once.
        value: String,
        /// A number for the client's use.
        flags: u64,
    },
}

/// The indexes that a unit was created and last written at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// When it appeared.
    pub(crate) created: u64,
    /// When it was last written.
    pub(crate) at: u64,
}

impl Catalog {
    /// A catalog with these units alone and with as much room as this one has. In it no TTL runs, so those that run
    /// after a change are those that the change [has begun](Self::started).
    pub(crate) fn scratch(&self, units: &[Unit]) -> Self {
        let mut scratch = Self::new(self.limits);
        scratch.indexes.last = self.indexes.last;
        for unit in units {
            match unit {
                Unit::Service(id) => scratch.copy_service(self, id),
                Unit::Agent => {
                    scratch.agent_checks = self.agent_checks.clone();
                    scratch.copy_checks(self, &self.agent_checks);
                }
                Unit::Key(key) => {
                    if let Some(entry) = self.keys.get(key) {
                        scratch.key_bytes += key.len() + entry.value.len();
                        scratch.keys.insert(key.clone(), entry.clone());
                    }
                }
            }
        }
        let limits = &mut scratch.limits;
        limits.services -= (self.services.len() - scratch.services.len()).min(limits.services);
        limits.checks -= (self.checks.len() - scratch.checks.len()).min(limits.checks);
        limits.keys -= (self.keys.len() - scratch.keys.len()).min(limits.keys);
        limits.kv_bytes -= (self.key_bytes - scratch.key_bytes).min(limits.kv_bytes);
        scratch
    }

    fn copy_service(&mut self, from: &Self, id: &str) {
        let Some(service) = from.services.get(id) else {
            return;
        };
        let name = service.definition.name.clone();
        self.by_name.entry(name).or_default().insert(id.to_owned());
        self.services.insert(id.to_owned(), service.clone());
        self.copy_checks(from, &service.checks);
    }

    fn copy_checks(&mut self, from: &Self, ids: &BTreeSet<String>) {
        for check in ids.iter().filter_map(|id| from.checks.get(id)) {
            let copy = Check {
                due: None,
                ..check.clone()
            };
            self.checks.insert(check.id().to_owned(), copy);
        }
    }

    /// TTL checks that have been registered or reported since this scratch was made, with their TTLs.
    pub(crate) fn started(&self) -> impl Iterator<Item = (&str, Duration)> {
        let running = self.checks.values().filter(|check| check.due.is_some());
        running.filter_map(|check| Some((check.id(), check.ttl()?)))
    }

    /// `true` for one of those.
    pub(crate) fn is_started(&self, check: &str) -> bool {
        self.checks
            .get(check)
            .is_some_and(|check| check.due.is_some())
    }

    /// A unit as it is to be stored; `None` if there is nothing of it.
    pub(crate) fn record(&self, unit: &Unit) -> Option<Record> {
        let (service, checks) = match unit {
            Unit::Key(key) => {
                return self.keys.get(key).map(|entry| Record::Entry {
                    value: STANDARD.encode(&entry.value),
                    flags: entry.flags,
                });
            }
            Unit::Service(id) => {
                let service = self.services.get(id)?;
                (Some(service.definition.clone()), &service.checks)
            }
            Unit::Agent if self.agent_checks.is_empty() => return None,
            Unit::Agent => (None, &self.agent_checks),
        };
        let checks = checks.iter().filter_map(|id| self.checks.get(id));
        Some(Record::Checked {
            service,
            checks: checks.map(saved).collect(),
        })
    }

    /// The TTL checks of a unit, with their TTLs.
    pub(crate) fn ttls_of(&self, unit: &Unit) -> Vec<(String, Duration)> {
        let ids = match unit {
            Unit::Service(id) => self.services.get(id).map(|service| &service.checks),
            Unit::Agent => Some(&self.agent_checks),
            Unit::Key(_) => None,
        };
        let checks = ids.into_iter().flatten();
        checks
            .filter_map(|id| Some((id.clone(), self.checks.get(id)?.ttl()?)))
            .collect()
    }

    /// Takes over a unit as it is stored. All that changes gets the index of the record.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Full`] if this catalog has less room than the one that wrote it.
    pub(crate) fn put_record(
        &mut self,
        unit: &Unit,
        record: Record,
        written: Written,
        now: Instant,
    ) -> Result<(), CatalogError> {
        self.at_index(written.at, |catalog| match (unit, record) {
            (Unit::Key(key), Record::Entry { value, flags }) => {
                // What is no base64 was not written by us; an empty value is the least surprising one.
                let value = STANDARD.decode(value).unwrap_or_default();
                catalog.put_entry(key, value, flags, written);
                Ok(())
            }
            (Unit::Key(_), _) | (_, Record::Entry { .. }) => Ok(()),
            (_, Record::Checked { service, checks }) => {
                catalog.put_checked(service, checks, written, now)
            }
        })
    }

    fn put_checked(
        &mut self,
        service: Option<ServiceDefinition>,
        checks: Vec<SavedCheck>,
        written: Written,
        now: Instant,
    ) -> Result<(), CatalogError> {
        let id = service.as_ref().map(|service| service.id.clone());
        let known = id.as_ref().and_then(|id| self.services.get(id));
        if let Some(id) = &id
            && known.is_some_and(|known| known.create_index != written.created)
        {
            // Removed and registered anew while nobody looked: it is another one, if only by its beginning.
            self.deregister(id, now)?;
        }
        let named: BTreeSet<&str> = checks
            .iter()
            .map(|one| one.definition.id.as_str())
            .collect();
        let known = match &id {
            Some(id) => self.services.get(id).map(|service| service.checks.clone()),
            None => Some(self.agent_checks.clone()),
        };
        let gone: Vec<String> = known.into_iter().flatten().collect();
        for check in gone.iter().filter(|id| !named.contains(id.as_str())) {
            self.remove_check(check);
        }
        if let Some(definition) = service {
            self.register(definition, Vec::new(), false, now)?;
        }
        if let Some(service) = id.as_ref().and_then(|id| self.services.get_mut(id)) {
            service.create_index = written.created;
        }
        for saved in checks {
            let check = saved.definition.id.clone();
            let owner = id.as_deref();
            // What is known already keeps its place in the order of probes.
            let known = self.checks.get(&check).is_some_and(|old| {
                old.definition == saved.definition
                    && old.service.as_ref().map(|(id, _)| id.as_str()) == owner
            });
            if !known {
                self.register_check(saved.definition, owner, now)?;
            }
            let derived = self.checks.get(&check).is_some_and(Check::is_alias);
            if !derived {
                self.set_status(&check, saved.status, &saved.output, now);
            }
        }
        Ok(())
    }

    fn put_entry(&mut self, key: &str, value: Vec<u8>, flags: u64, written: Written) {
        self.remove_key(key);
        self.indexes.keys = self.next_index();
        self.key_bytes += key.len() + value.len();
        let entry = Entry {
            value,
            flags,
            create_index: written.created,
            modify_index: written.at,
            ..Entry::default()
        };
        self.keys.insert(key.to_owned(), entry);
    }

    /// A unit is not stored any more.
    pub(crate) fn remove_record(&mut self, unit: &Unit, index: u64, now: Instant) {
        self.at_index(index, |catalog| match unit {
            // One that is not there is removed already.
            Unit::Service(id) => drop(catalog.deregister(id, now)),
            Unit::Key(key) => catalog.remove_key(key),
            Unit::Agent => {
                for check in catalog.agent_checks.clone() {
                    catalog.remove_check(&check);
                }
            }
        });
    }

    /// Nobody has reported to this TTL check for too long.
    pub(crate) fn expire(&mut self, check: &str, index: u64, now: Instant) {
        self.at_index(index, |catalog| catalog.expire_ttl(check, now));
    }

    /// Every unit that is here.
    pub(crate) fn units(&self) -> Vec<Unit> {
        let services = self.services.keys().cloned().map(Unit::Service);
        let keys = self.keys.keys().cloned().map(Unit::Key);
        services.chain([Unit::Agent]).chain(keys).collect()
    }

    /// What has not been mentioned up to this index does not exist: watchers of it are answered with this index.
    pub(crate) fn complete_at(&mut self, index: u64) {
        self.indexes.last = self.indexes.last.max(index);
        self.indexes.extinction = Some(self.indexes.last);
    }

    /// Probes that are due, and services that have been critical for too long.
    pub(crate) fn duties(&mut self, now: Instant) -> (Vec<Probe>, Vec<String>) {
        (self.due_probes(now), self.dead(now))
    }

    /// Takes in the answer to a probe, except for the state that follows from it: that one is returned if it is new.
    pub(crate) fn judge(
        &mut self,
        probe: &Probe,
        outcome: &Outcome,
        now: Instant,
    ) -> Option<CheckStatus> {
        let check = self.checks.get_mut(&probe.check)?;
        if check.generation != probe.generation {
            return None;
        }
        check.due = probe.kind.interval().map(|interval| now + interval);
        let status = check.weigh(outcome.status);
        (status != check.status || check.output.is_empty()).then_some(status)
    }

    /// Sets what a probe has found.
    pub(crate) fn found(&mut self, check: &str, status: CheckStatus, output: &str, now: Instant) {
        self.set_status(check, status, output, now);
    }

    /// All changes that `change` makes get this index.
    fn at_index<T>(&mut self, index: u64, change: impl FnOnce(&mut Self) -> T) -> T {
        self.pinned = Some(index);
        let result = change(self);
        self.pinned = None;
        result
    }
}

fn saved(check: &Check) -> SavedCheck {
    let mut saved = SavedCheck::of(check);
    if check.is_alias() {
        // It follows from the other service and would be another copy of the truth.
        saved.status = CheckStatus::Critical;
        saved.output.clear();
    }
    saved
}

impl Check {
    fn ttl(&self) -> Option<Duration> {
        match self.definition.kind {
            CheckKind::Ttl { ttl } => Some(ttl),
            _ => None,
        }
    }

    fn is_alias(&self) -> bool {
        matches!(self.definition.kind, CheckKind::Alias { .. })
    }
}
