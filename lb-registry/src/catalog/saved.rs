//! What survives a restart of the agent: services, checks with their state, and keys.
//!
//! Sessions do not: whoever held a lock has to take it again, as after the loss of an agent.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Catalog, Check, CheckDefinition, CheckStatus, Entry, Limits, ServiceDefinition};

/// A catalog as it is written to disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The last index, so that readers see it grow over a restart.
    pub index: u64,
    services: Vec<ServiceDefinition>,
    checks: Vec<SavedCheck>,
    keys: Vec<(String, Entry)>,
}

/// A check with its state, without the moments that it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedCheck {
    pub(super) definition: CheckDefinition,
    service: Option<String>,
    pub(super) status: CheckStatus,
    pub(super) output: String,
}

impl SavedCheck {
    pub(super) fn of(check: &Check) -> Self {
        Self {
            definition: check.definition.clone(),
            service: check.service.as_ref().map(|(id, _)| id.clone()),
            status: check.status,
            output: check.output.clone(),
        }
    }
}

impl Catalog {
    /// What is worth keeping.
    #[must_use]
    pub fn save(&self) -> Saved {
        let unlocked = |(key, entry): (&String, &Entry)| {
            (
                key.clone(),
                Entry {
                    session: None,
                    ..entry.clone()
                },
            )
        };
        Saved {
            index: self.indexes.last,
            services: self
                .services
                .values()
                .map(|service| service.definition.clone())
                .collect(),
            checks: self.checks.values().map(SavedCheck::of).collect(),
            keys: self.keys.iter().map(unlocked).collect(),
        }
    }

    /// A catalog with what was kept. TTLs start anew at `now`: a service gets the time of one TTL to come back.
    /// What does not fit the limits is left out.
    #[must_use]
    pub fn restore(limits: Limits, saved: Saved, now: Instant) -> Self {
        let mut catalog = Self::new(limits);
        catalog.indexes.last = saved.index.max(1);
        for service in saved.services {
            // Only a limit can refuse; what is left out registers again by itself.
            let _ = catalog.register(service, Vec::new(), false, now);
        }
        for SavedCheck {
            mut definition,
            service,
            status,
            output,
        } in saved.checks
        {
            let id = definition.id.clone();
            let asked = definition.status.replace(status);
            if catalog
                .register_check(definition, service.as_deref(), now)
                .is_ok()
                && let Some(check) = catalog.checks.get_mut(&id)
            {
                check.definition.status = asked;
                check.output = output;
            }
        }
        for (key, entry) in saved.keys.into_iter().take(limits.keys) {
            catalog.key_bytes += key.len() + entry.value.len();
            catalog.keys.insert(key, entry);
        }
        catalog.indexes.keys = catalog.indexes.last;
        catalog
    }
}
