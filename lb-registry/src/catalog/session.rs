//! Sessions: who may hold a lock, and for how long without a sign of life.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Catalog, CatalogError, CheckStatus};

/// What happens to the keys that a session holds when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behavior {
    /// They are unlocked.
    #[default]
    Release,
    /// They are removed.
    Delete,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The id.
    pub id: String,
    /// For humans.
    pub name: String,
    /// How long nobody may lock its keys after it was ended from outside.
    pub lock_delay: Duration,
    /// What happens to its keys.
    pub behavior: Behavior,
    /// Longest silence; `None` lives until it is destroyed. As in Consul, it ends after twice this.
    pub ttl: Option<Duration>,
    /// Checks that end it when they turn critical or disappear.
    pub checks: Vec<String>,
    /// The index at which it appeared.
    pub create_index: u64,
    renewed: Instant,
}

impl Session {
    /// A session without TTL and checks, with Consul's lock delay of 15 seconds.
    #[must_use]
    pub fn new(id: impl Into<String>, now: Instant) -> Self {
        Self {
            id: id.into(),
            name: String::new(),
            lock_delay: Duration::from_secs(15),
            behavior: Behavior::Release,
            ttl: None,
            checks: Vec::new(),
            create_index: 0,
            renewed: now,
        }
    }

    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ttl.map(|ttl| self.renewed + ttl * 2)
    }
}

impl Catalog {
    /// Adds a session.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownCheck`] for a check that does not exist, [`CatalogError::Full`].
    pub fn create_session(&mut self, mut session: Session) -> Result<(), CatalogError> {
        if let Some(missing) = session
            .checks
            .iter()
            .find(|id| !self.checks.contains_key(*id))
        {
            return Err(CatalogError::UnknownCheck(missing.clone()));
        }
        if self.sessions.len() >= self.limits.sessions {
            return Err(CatalogError::Full {
                what: "sessions",
                limit: self.limits.sessions,
            });
        }
        session.create_index = self.next_index();
        self.indexes.sessions = session.create_index;
        self.sessions.insert(session.id.clone(), session);
        Ok(())
    }

    /// The session with this id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&Session> {
        self.sessions.get(id)
    }

    /// All sessions, ordered by id.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    /// A sign of life.
    ///
    /// # Errors
    ///
    /// [`CatalogError::UnknownSession`].
    pub fn renew_session(&mut self, id: &str, now: Instant) -> Result<&Session, CatalogError> {
        let unknown = || CatalogError::UnknownSession(id.into());
        let session = self.sessions.get_mut(id).ok_or_else(unknown)?;
        session.renewed = now;
        Ok(session)
    }

    /// Ends a session and lets go of its keys.
    pub fn destroy_session(&mut self, id: &str, now: Instant) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        self.indexes.sessions = self.next_index();
        let holds = |entry: &super::Entry| entry.session.as_deref() == Some(id);
        let held: Vec<String> = self
            .keys
            .iter()
            .filter(|(_, entry)| holds(entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in held {
            match session.behavior {
                Behavior::Delete => self.remove_key(&key),
                Behavior::Release => self.unlock(&key, now + session.lock_delay),
            }
        }
    }

    fn unlock(&mut self, key: &str, locked_out_until: Instant) {
        let index = self.next_index();
        self.indexes.keys = index;
        if let Some(entry) = self.keys.get_mut(key) {
            entry.session = None;
            entry.modify_index = index;
            entry.locked_out_until = Some(locked_out_until);
        }
    }

    pub(super) fn expire_sessions(&mut self, now: Instant) {
        self.end_sessions(now, |session| session.ends_at().is_some_and(|at| at <= now));
    }

    pub(super) fn end_sessions_of_checks(&mut self, checks: &BTreeSet<String>, now: Instant) {
        self.end_sessions(now, |session| {
            session.checks.iter().any(|id| checks.contains(id))
        });
    }

    pub(super) fn end_sessions_of_critical(&mut self, check: &str, now: Instant) {
        let critical = self
            .checks
            .get(check)
            .is_some_and(|one| one.status == CheckStatus::Critical);
        if critical {
            self.end_sessions(now, |session| session.checks.iter().any(|id| id == check));
        }
    }

    fn end_sessions(&mut self, now: Instant, is_over: impl Fn(&Session) -> bool) {
        let over: Vec<String> = self
            .sessions
            .values()
            .filter(|session| is_over(session))
            .map(|one| one.id.clone())
            .collect();
        for id in over {
            self.destroy_session(&id, now);
        }
    }
}
