//! Registering, removing and reporting.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{
    Catalog, CatalogError, Check, CheckDefinition, CheckKind, CheckStatus, Service,
    ServiceDefinition,
};

impl Catalog {
    /// Registers a service with its checks, or replaces what was registered under its id.
    ///
    /// A check that is known keeps its state. Checks that are not named stay, unless `replace_checks`.
    /// Registering the same thing again changes nothing but the deadlines.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Full`] if a limit is reached; nothing has changed then.
    pub fn register(
        &mut self,
        definition: ServiceDefinition,
        checks: Vec<CheckDefinition>,
        replace_checks: bool,
        now: Instant,
    ) -> Result<(), CatalogError> {
        let checks = name_checks(&definition, checks);
        self.room_for(&definition.id, &checks)?;
        let (id, name) = (definition.id.clone(), definition.name.clone());
        self.put_service(definition);
        if replace_checks {
            let named: BTreeSet<&str> = checks.iter().map(|check| check.id.as_str()).collect();
            let known = self.services.get(&id).map(|service| service.checks.clone());
            for old in known
                .unwrap_or_default()
                .iter()
                .filter(|old| !named.contains(old.as_str()))
            {
                self.remove_check(old);
            }
        }
        for check in checks {
            self.put_check(check, Some((id.clone(), name.clone())), now);
        }
        self.follow_aliases(now);
        Ok(())
    }

    /// Removes a service with all its checks.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownService`].
    pub fn deregister(&mut self, id: &str, now: Instant) -> Result<(), CatalogError> {
        let service = self
            .services
            .remove(id)
            .ok_or_else(|| CatalogError::UnknownService(id.into()))?;
        let index = self.next_index();
        self.indexes.services = index;
        for check in &service.checks {
            self.checks.remove(check);
            self.indexes.checks = index;
        }
        self.forget_name(&service.definition.name, id);
        self.end_sessions_of_checks(&service.checks, now);
        self.follow_aliases(now);
        Ok(())
    }

    /// Registers one check, of a service or (with `None`) of the whole agent.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownService`], [`CatalogError::Full`].
    pub fn register_check(
        &mut self,
        definition: CheckDefinition,
        service: Option<&str>,
        now: Instant,
    ) -> Result<(), CatalogError> {
        let owner = match service {
            None => None,
            Some(id) => {
                let unknown = || CatalogError::UnknownService(id.into());
                let service = self.services.get(id).ok_or_else(unknown)?;
                Some((id.to_owned(), service.definition.name.clone()))
            }
        };
        if !self.checks.contains_key(&definition.id) && self.checks.len() >= self.limits.checks {
            return Err(CatalogError::Full {
                what: "checks",
                limit: self.limits.checks,
            });
        }
        self.put_check(definition, owner, now);
        self.follow_aliases(now);
        Ok(())
    }

    /// Removes one check.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownCheck`].
    pub fn deregister_check(&mut self, id: &str, now: Instant) -> Result<(), CatalogError> {
        if !self.checks.contains_key(id) {
            return Err(CatalogError::UnknownCheck(id.into()));
        }
        self.remove_check(id);
        self.end_sessions_of_checks(&BTreeSet::from([id.to_owned()]), now);
        self.follow_aliases(now);
        Ok(())
    }

    /// A service reports how it is; its TTL starts anew.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownCheck`], or [`CatalogError::NoTtl`] for a check of another kind.
    pub fn report(
        &mut self,
        id: &str,
        status: CheckStatus,
        output: &str,
        now: Instant,
    ) -> Result<(), CatalogError> {
        let check = self
            .checks
            .get_mut(id)
            .ok_or_else(|| CatalogError::UnknownCheck(id.into()))?;
        let CheckKind::Ttl { ttl } = check.definition.kind else {
            return Err(CatalogError::NoTtl(id.into()));
        };
        check.due = Some(now + ttl);
        self.set_status(id, status, output, now);
        Ok(())
    }

    /// Sets a check's state; only a new status moves an index.
    pub(super) fn set_status(&mut self, id: &str, status: CheckStatus, output: &str, now: Instant) {
        let output = truncated(output, self.limits.output_bytes);
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        if check.become_status(status, output, now) {
            self.mark_check(id);
            self.end_sessions_of_critical(id, now);
            self.follow_aliases(now);
        }
    }

    pub(super) fn next_index(&mut self) -> u64 {
        let next = self.pinned.unwrap_or(self.indexes.last + 1);
        self.indexes.last = self.indexes.last.max(next);
        next
    }

    fn room_for(&self, id: &str, checks: &[CheckDefinition]) -> Result<(), CatalogError> {
        let limits = &self.limits;
        if !self.services.contains_key(id) && self.services.len() >= limits.services {
            return Err(CatalogError::Full {
                what: "services",
                limit: limits.services,
            });
        }
        let new = checks
            .iter()
            .filter(|check| !self.checks.contains_key(&check.id))
            .count();
        if self.checks.len() + new > limits.checks {
            return Err(CatalogError::Full {
                what: "checks",
                limit: limits.checks,
            });
        }
        Ok(())
    }

    fn put_service(&mut self, definition: ServiceDefinition) {
        let (id, name) = (definition.id.clone(), definition.name.clone());
        let old = self.services.get(&id);
        if old.is_some_and(|old| old.definition == definition) {
            return;
        }
        let (create_index, checks) = old
            .map(|old| (old.create_index, old.checks.clone()))
            .unwrap_or_default();
        let renamed = old
            .map(|old| old.definition.name.clone())
            .filter(|old| *old != name);
        let index = self.next_index();
        self.indexes.services = index;
        let create_index = if create_index == 0 {
            index
        } else {
            create_index
        };
        let service = Service {
            definition,
            create_index,
            modify_index: index,
            checks,
        };
        self.services.insert(id.clone(), service);
        if let Some(old_name) = renamed {
            self.forget_name(&old_name, &id);
            for check in self.checks.values_mut() {
                if let Some((owner, service)) = &mut check.service
                    && *owner == id
                {
                    service.clone_from(&name);
                }
            }
        }
        self.by_name.entry(name.clone()).or_default().insert(id);
        self.mark_service(&name, index);
    }

    fn put_check(
        &mut self,
        definition: CheckDefinition,
        owner: Option<(String, String)>,
        now: Instant,
    ) {
        let id = definition.id.clone();
        let mut check = Check::new(definition, owner, now);
        self.generations += 1;
        check.generation = self.generations;
        let old_owner = self.checks.get(&id).map(|old| old.service.clone());
        let same = self
            .checks
            .get(&id)
            .is_some_and(|old| old.definition == check.definition && old.service == check.service);
        if let Some(old) = self.checks.get(&id) {
            check.status = old.status;
            check.output.clone_from(&old.output);
            check.critical_since = old.critical_since;
            check.create_index = old.create_index;
            check.modify_index = old.modify_index;
        }
        self.detach(&id);
        match check
            .service
            .as_ref()
            .map(|(service, _)| self.services.get_mut(service))
        {
            Some(Some(service)) => drop(service.checks.insert(id.clone())),
            Some(None) => {}
            None => drop(self.agent_checks.insert(id.clone())),
        }
        self.checks.insert(id.clone(), check);
        if !same {
            self.mark_check(&id);
        }
        if let Some(Some((_, name))) = old_owner.filter(|_| !same) {
            self.mark_service(&name, self.indexes.last);
        }
    }

    pub(super) fn remove_check(&mut self, id: &str) {
        self.detach(id);
        let Some(check) = self.checks.remove(id) else {
            return;
        };
        let index = self.next_index();
        self.indexes.checks = index;
        match check.service {
            Some((_, name)) => self.mark_service(&name, index),
            None => self.mark_all(index),
        }
    }

    /// Takes a check off the list of its service or of the agent. A check may be registered anew for another.
    fn detach(&mut self, id: &str) {
        self.agent_checks.remove(id);
        let owner = self.checks.get(id).and_then(|check| check.service.as_ref());
        if let Some((service, _)) = owner
            && let Some(service) = self.services.get_mut(service)
        {
            service.checks.remove(id);
        }
    }

    /// A check changed: its service's index moves, or every service's if it belongs to the agent.
    pub(super) fn mark_check(&mut self, id: &str) {
        let index = self.next_index();
        self.indexes.checks = index;
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        check.modify_index = index;
        if check.create_index == 0 {
            check.create_index = index;
        }
        match check.service.as_ref().map(|(_, name)| name.clone()) {
            Some(name) => self.mark_service(&name, index),
            None => self.mark_all(index),
        }
    }

    fn mark_all(&mut self, index: u64) {
        let names: Vec<String> = self.by_name.keys().cloned().collect();
        for name in names {
            self.mark_service(&name, index);
        }
    }

    pub(super) fn mark_service(&mut self, name: &str, index: u64) {
        if self.by_name.contains_key(name) {
            self.indexes.by_service.insert(name.to_owned(), index);
        }
        self.touched.insert(name.to_owned());
    }

    fn forget_name(&mut self, name: &str, id: &str) {
        let index = self.indexes.last;
        let gone = self.by_name.get_mut(name).is_none_or(|ids| {
            ids.remove(id);
            ids.is_empty()
        });
        if gone {
            self.by_name.remove(name);
            self.indexes.by_service.remove(name);
            self.indexes.extinction = Some(index);
        }
        self.mark_service(name, index);
    }
}

/// Fills in the ids and names that were left out: `service:<id>`, or `service:<id>:<n>` for several.
fn name_checks(
    service: &ServiceDefinition,
    mut checks: Vec<CheckDefinition>,
) -> Vec<CheckDefinition> {
    let several = checks.len() > 1;
    for (position, check) in checks.iter_mut().enumerate() {
        if check.id.is_empty() {
            check.id = match several {
                true => format!("service:{}:{}", service.id, position + 1),
                false => format!("service:{}", service.id),
            };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name);
        }
    }
    checks
}

fn truncated(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
