//! Checks that follow another service.

use std::time::Instant;

use super::{Catalog, Check, CheckKind, CheckStatus};

impl Catalog {
    /// Lets alias checks follow. A chain of aliases settles within its length; four links are followed.
    pub(super) fn follow_aliases(&mut self, now: Instant) {
        for _ in 0..4 {
            let news: Vec<_> = self
                .checks
                .values()
                .filter_map(|check| self.alias_news(check))
                .collect();
            if news.is_empty() {
                return;
            }
            for (id, status, output) in news {
                let Some(check) = self.checks.get_mut(&id) else {
                    continue;
                };
                if check.become_status(status, output, now) {
                    self.mark_check(&id);
                }
            }
        }
    }

    fn alias_news(&self, check: &Check) -> Option<(String, CheckStatus, String)> {
        let CheckKind::Alias { service } = &check.definition.kind else {
            return None;
        };
        let (status, output) = match self.services.get(service) {
            None => (
                CheckStatus::Critical,
                format!("Service {service} could not be found on node"),
            ),
            Some(other) => {
                let states = other.checks.iter().filter(|id| *id != check.id());
                let worst = states
                    .filter_map(|id| self.checks.get(id))
                    .map(|one| one.status)
                    .max();
                match worst {
                    None => (CheckStatus::Passing, "No checks found.".to_owned()),
                    Some(CheckStatus::Passing) => {
                        (CheckStatus::Passing, "All checks passing.".to_owned())
                    }
                    Some(status) => (
                        status,
                        format!("Aliased service {service:?} is {}", status.as_str()),
                    ),
                }
            }
        };
        (check.status != status).then(|| (check.id().to_owned(), status, output))
    }
}
