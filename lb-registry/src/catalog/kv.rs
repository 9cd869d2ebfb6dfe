//! Keys, values and locks: as much as leader election and small configuration need.

use std::time::Instant;

use super::{Catalog, CatalogError};

/// One key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// A number for the client's use.
    pub flags: u64,
    /// How often the key was locked.
    pub lock_index: u64,
    /// The session that holds the lock.
    pub session: Option<String>,
    /// The index at which the key appeared.
    pub create_index: u64,
    /// The index of the last change.
    pub modify_index: u64,
    /// Nobody may lock it before this moment.
    #[serde(skip)]
    pub(super) locked_out_until: Option<Instant>,
}

impl Entry {
    fn is_locked_out(&self, now: Instant) -> bool {
        self.locked_out_until.is_some_and(|until| now < until)
    }
}

/// On which condition a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvWrite<'a> {
    /// Always.
    Always,
    /// If the modify index is this one; zero: if the key does not exist.
    IfIndex(u64),
    /// If this session gets the lock.
    Acquire(&'a str),
    /// If this session holds the lock, which it gives up.
    Release(&'a str),
}

impl Catalog {
    /// The entry of a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<&Entry> {
        self.keys.get(key)
    }

    /// All entries whose key begins with `prefix`, ordered.
    pub fn keys<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let from = self.keys.range::<str, _>((
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        ));
        from.take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (key.as_str(), entry))
    }

    /// `true` while nobody may lock the key, because a session lost it just now.
    #[must_use]
    pub fn is_locked_out(&self, key: &str, now: Instant) -> bool {
        self.keys
            .get(key)
            .is_some_and(|entry| entry.is_locked_out(now))
    }

    /// Writes a value; `false` if the condition does not hold. What changes nothing moves no index.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Full`], [`CatalogError::UnknownSession`].
    pub fn put_key(
        &mut self,
        key: &str,
        value: Vec<u8>,
        flags: u64,
        write: KvWrite<'_>,
        now: Instant,
    ) -> Result<bool, CatalogError> {
        let old = self.keys.get(key);
        self.room_for_key(key, value.len(), old)?;
        let mut entry = old.cloned().unwrap_or_default();
        match write {
            KvWrite::Always => {}
            KvWrite::IfIndex(index) if index != entry.modify_index => return Ok(false),
            KvWrite::IfIndex(_) => {}
            KvWrite::Acquire(session) => {
                self.session_exists(session)?;
                if !acquire(&mut entry, session, now) {
                    return Ok(false);
                }
            }
            KvWrite::Release(session) => {
                self.session_exists(session)?;
                if entry.session.as_deref() != Some(session) {
                    return Ok(false);
                }
                entry.session = None;
            }
        }
        let is_same = |old: &Entry| {
            let lock = |one: &Entry| (one.lock_index, one.session.clone());
            (&old.value, old.flags) == (&value, flags) && lock(old) == lock(&entry)
        };
        if old.is_some_and(is_same) {
            return Ok(true);
        }
        let index = self.next_index();
        self.indexes.keys = index;
        if entry.create_index == 0 {
            entry.create_index = index;
            self.key_bytes += key.len();
        }
        self.key_bytes = self.key_bytes + value.len() - entry.value.len();
        entry.modify_index = index;
        entry.value = value;
        entry.flags = flags;
        self.keys.insert(key.to_owned(), entry);
        Ok(true)
    }

    /// Removes a key; `false` only if `if_index` is given and is not its modify index. A key that is not there is gone.
    pub fn delete_key(&mut self, key: &str, if_index: Option<u64>) -> bool {
        let found = self.keys.get(key).map(|entry| entry.modify_index);
        let unexpected = |index| found.is_some_and(|found| found != index);
        if if_index.is_some_and(unexpected) {
            return false;
        }
        self.remove_key(key);
        true
    }

    /// Removes all keys that begin with `prefix`.
    pub fn delete_keys(&mut self, prefix: &str) {
        let keys: Vec<String> = self.keys(prefix).map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            self.remove_key(&key);
        }
    }

    pub(super) fn remove_key(&mut self, key: &str) {
        if let Some(entry) = self.keys.remove(key) {
            self.key_bytes -= key.len() + entry.value.len();
            self.indexes.keys = self.next_index();
        }
    }

    fn room_for_key(
        &self,
        key: &str,
        bytes: usize,
        old: Option<&Entry>,
    ) -> Result<(), CatalogError> {
        let limits = &self.limits;
        let full = |what, limit| Err(CatalogError::Full { what, limit });
        if old.is_none() && self.keys.len() >= limits.keys {
            return full("keys", limits.keys);
        }
        // A key that is there counts already.
        let before = old.map_or(0, |entry| key.len() + entry.value.len());
        if self.key_bytes - before + bytes + key.len() > limits.kv_bytes {
            return full("bytes of keys and values", limits.kv_bytes);
        }
        Ok(())
    }

    fn session_exists(&self, id: &str) -> Result<(), CatalogError> {
        match self.sessions.contains_key(id) {
            true => Ok(()),
            false => Err(CatalogError::UnknownSession(id.into())),
        }
    }
}

fn acquire(entry: &mut Entry, session: &str, now: Instant) -> bool {
    if entry.is_locked_out(now) {
        return false;
    }
    match entry.session.as_deref() {
        Some(holder) => holder == session,
        None => {
            entry.session = Some(session.to_owned());
            entry.lock_index += 1;
            true
        }
    }
}
