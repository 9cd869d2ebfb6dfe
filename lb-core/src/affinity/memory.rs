//! Where keys went lately: a bounded table that forgets the least recently used.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Binding;
use crate::endpoint::{Endpoint, EndpointId};

const SHARDS: usize = 16;

/// Keys and their endpoints, in two generations per shard: when the young one is
/// full it becomes the old one, and the old one is forgotten. A hit moves a key
/// back among the young, so what is in use stays.
#[derive(Debug)]
pub(super) struct Memory {
    shards: [Mutex<Generations>; SHARDS],
    per_generation: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Seat>,
    old: HashMap<u64, Seat>,
}

#[derive(Clone, Debug)]
struct Seat {
    id: EndpointId,
    incarnation: u64,
    /// Seconds since 1970 of the last request.
    seen: u64,
}

impl Memory {
    /// Room for `sessions` keys at most.
    pub(super) fn new(sessions: usize) -> Self {
        Self {
            shards: Default::default(),
            per_generation: sessions.div_ceil(2 * SHARDS),
        }
    }

    /// Where this key went within the last `idle_seconds`.
    pub(super) fn get(&self, key: u64, now: u64, idle_seconds: u64) -> Option<Binding> {
        let mut shard = self.shard(key);
        let seat = match shard.young.get_mut(&key) {
            Some(seat) => seat,
            None => {
                let seat = shard.old.remove(&key)?;
                self.make_room(&mut shard);
                shard.young.entry(key).or_insert(seat)
            }
        };
        if seat.seen + idle_seconds <= now {
            shard.young.remove(&key);
            return None;
        }
        seat.seen = seat.seen.max(now);
        Some(Binding {
            id: seat.id.clone(),
            incarnation: seat.incarnation,
            expires_minute: (seat.seen + idle_seconds) / 60,
            former_key: false,
        })
    }

    /// From now on this key goes there.
    pub(super) fn put(&self, key: u64, endpoint: &Endpoint, now: u64) {
        let mut shard = self.shard(key);
        shard.old.remove(&key);
        if !shard.young.contains_key(&key) {
            self.make_room(&mut shard);
        }
        let seat = Seat {
            id: endpoint.id().clone(),
            incarnation: endpoint.incarnation(),
            seen: now,
        };
        shard.young.insert(key, seat);
    }

    fn make_room(&self, shard: &mut Generations) {
        if shard.young.len() >= self.per_generation {
            shard.old = std::mem::take(&mut shard.young);
        }
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Generations> {
        // High bits: the maps within use their own hash of all of them.
        let shard = &self.shards[(key >> 60) as usize % SHARDS];
        // A panic while it was held leaves whole seats.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |shard: &Mutex<Generations>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Pool, policy::hash_key};

    fn endpoint() -> Arc<Endpoint> {
        let pool = Pool::builder("test").endpoints(["http://10.0.0.1:80"]);
        pool.build().unwrap().endpoints().remove(0)
    }

    fn key(client: u32) -> u64 {
        hash_key(&client.to_be_bytes())
    }

    #[test]
    fn a_million_clients_cost_no_more_than_was_allowed() {
        let (memory, endpoint) = (Memory::new(10_000), endpoint());
        for client in 0..1_000_000 {
            memory.put(key(client), &endpoint, 0);
            assert!(memory.get(key(0), 0, 10).is_some(), "in use, so it stays");
        }
        assert!(memory.len() <= 10_016, "{}", memory.len());
        assert!(memory.get(key(999_999), 0, 10).is_some());
        assert!(memory.get(key(1), 0, 10).is_none());
    }

    #[test]
    fn a_key_without_requests_is_forgotten_in_time() {
        let (memory, endpoint) = (Memory::new(10), endpoint());
        memory.put(1, &endpoint, 100);
        assert!(memory.get(1, 109, 10).is_some());
        assert!(memory.get(1, 118, 10).is_some(), "it was used at 109");
        assert!(memory.get(1, 128, 10).is_none());
        assert_eq!(memory.len(), 0);
    }
}
