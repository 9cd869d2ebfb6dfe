//! What the passing of time does.

use std::time::Instant;

use super::{Catalog, CheckKind, CheckStatus, Probe};

/// What is to be done now, and when to ask again.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// Probes that are due.
    pub probes: Vec<Probe>,
    /// Services that were removed because they had been critical for too long.
    pub reaped: Vec<String>,
    /// When the next thing happens, if nothing else does before.
    pub next: Option<Instant>,
}

impl Catalog {
    /// Lets time pass up to `now`. O(checks + sessions).
    pub fn tick(&mut self, now: Instant) -> Tick {
        self.expire_ttls(now);
        let reaped = self.reap(now);
        self.expire_sessions(now);
        Tick {
            probes: self.due_probes(now),
            reaped,
            next: self.next_deadline(),
        }
    }

    fn expire_ttls(&mut self, now: Instant) {
        let is_over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let over: Vec<String> = self
            .checks
            .values()
            .filter(|check| {
                matches!(check.definition.kind, CheckKind::Ttl { .. }) && is_over(check.due)
            })
            .map(|check| check.id().to_owned())
            .collect();
        for id in over {
            self.expire_ttl(&id, now);
        }
    }

    pub(super) fn expire_ttl(&mut self, id: &str, now: Instant) {
        let Some(check) = self.checks.get_mut(id) else {
            return;
        };
        check.due = None;
        let output = match check.output.as_str() {
            "" => "TTL expired".to_owned(),
            // It has expired before and nobody has reported since.
            told if told.starts_with("TTL expired") => told.to_owned(),
            told => format!("TTL expired (last output before timeout follows): {told}"),
        };
        self.set_status(id, CheckStatus::Critical, &output, now);
    }

    fn reap(&mut self, now: Instant) -> Vec<String> {
        let mut dead = self.dead(now);
        dead.retain(|id| self.deregister(id, now).is_ok());
        dead
    }

    /// Services that have been critical for too long.
    pub(super) fn dead(&self, now: Instant) -> Vec<String> {
        let at_least = self.limits.deregister_after;
        let over = self
            .checks
            .values()
            .filter(|check| check.reap_at(at_least).is_some_and(|at| at <= now));
        let mut dead: Vec<String> = over
            .filter_map(|check| check.service.as_ref().map(|(id, _)| id.clone()))
            .collect();
        dead.dedup();
        dead
    }

    /// Probes that are due. Each is handed out once: its answer sets the next deadline.
    pub(super) fn due_probes(&mut self, now: Instant) -> Vec<Probe> {
        let due = self
            .checks
            .values_mut()
            .filter(|check| check.due.is_some_and(|due| due <= now));
        due.filter(|check| check.definition.kind.interval().is_some())
            .map(|check| {
                check.due = None;
                Probe {
                    check: check.definition.id.clone(),
                    kind: check.definition.kind.clone(),
                    generation: check.generation,
                }
            })
            .collect()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let at_least = self.limits.deregister_after;
        let checks = self
            .checks
            .values()
            .flat_map(|check| [check.due, check.reap_at(at_least)]);
        let sessions = self.sessions.values().map(super::Session::ends_at);
        checks.chain(sessions).flatten().min()
    }
}
