//! Taking a service or the whole agent out of use without removing it.

use std::time::Instant;

use super::{Catalog, CatalogError, CheckDefinition, CheckKind};

/// Id of the check that takes the whole agent out of use.
pub(super) const NODE: &str = "_node_maintenance";

/// Id of the check that takes a service out of use.
pub(crate) fn check_id(service: &str) -> String {
    format!("{PREFIX}{service}")
}

/// `true` if this check says "do not use", whoever set it.
pub(crate) fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE || check_id.starts_with(PREFIX)
}

const PREFIX: &str = "_service_maintenance:";
const NO_REASON: &str = "Maintenance mode is enabled for this service, but no reason was provided. \
                         This is a default message.";
const NO_REASON_NODE: &str = "Maintenance mode is enabled for this node, but no reason was provided. \
                              This is a default message.";

impl Catalog {
    /// Takes a service out of use for a reason, or with `None` back into use.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownService`], [`CatalogError::Full`].
    pub fn set_maintenance(
        &mut self,
        service: &str,
        reason: Option<&str>,
        now: Instant,
    ) -> Result<(), CatalogError> {
        if !self.services.contains_key(service) {
            return Err(CatalogError::UnknownService(service.into()));
        }
        let id = check_id(service);
        match reason {
            None => self.deregister_check(&id, now).or(Ok(())),
            Some(_) if self.checks.contains_key(&id) => Ok(()),
            Some(reason) => {
                let check = definition(id, "Service Maintenance Mode", reason, NO_REASON);
                self.register_check(check, Some(service), now)
            }
        }
    }

    /// Takes the whole agent out of use for a reason, or with `None` back into use.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Full`].
    pub fn set_node_maintenance(
        &mut self,
        reason: Option<&str>,
        now: Instant,
    ) -> Result<(), CatalogError> {
        match reason {
            None => self.deregister_check(NODE, now).or(Ok(())),
            Some(_) if self.checks.contains_key(NODE) => Ok(()),
            Some(reason) => {
                let check =
                    definition(NODE.into(), "Node Maintenance Mode", reason, NO_REASON_NODE);
                self.register_check(check, None, now)
            }
        }
    }
}

fn definition(id: String, name: &str, reason: &str, default: &str) -> CheckDefinition {
    let mut check = CheckDefinition::new(CheckKind::Maintenance)
        .id(id)
        .name(name);
    check.notes = if reason.is_empty() { default } else { reason }.to_owned();
    check
}
