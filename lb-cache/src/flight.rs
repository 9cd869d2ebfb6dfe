//! One lookup per key at a time, whoever asks and whoever gives up.
//!
//! A *flight* is the lookup of one key through the lower tiers and the loader,
//! in a task of its own: a caller that is dropped harms nobody. The board knows
//! the flight of each key. Whoever changes a key takes its flight off the board
//! under the same lock; the flight then still answers those who wait for it, but
//! nothing it found is kept, and later readers start a new one. So an
//! invalidation during a load wins.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::error::CacheError;

/// What a flight brings: the value, or that there is none.
pub(crate) type Outcome<V> = Result<Option<Arc<V>>, CacheError>;

const SHARDS: usize = 32;

/// The flights of all keys.
pub(crate) struct Board<K, V> {
    shards: Box<[Mutex<Flights<K, V>>]>,
    hasher: RandomState,
}

pub(crate) type Flights<K, V> = HashMap<K, Arc<Flight<V>>>;

/// One lookup under way.
pub(crate) struct Flight<V> {
    outcome: watch::Sender<Option<Outcome<V>>>,
}

impl<V> Flight<V> {
    /// Waits for the outcome.
    pub(crate) async fn landed(self: &Arc<Self>) -> Outcome<V> {
        let mut outcome = self.outcome.subscribe();
        let landed = outcome.wait_for(Option::is_some).await;
        // The sender lives as long as `self`, so `wait_for` cannot fail.
        landed
            .ok()
            .and_then(|landed| landed.clone())
            .unwrap_or(Err(CacheError::Dropped))
    }

    fn land(&self, outcome: Outcome<V>) {
        self.outcome.send_if_modified(|landed| {
            let first = landed.is_none();
            if first {
                *landed = Some(outcome);
            }
            first
        });
    }
}

/// The end of a flight that its task holds: dropping it, by a panic or a
/// shutdown, releases all waiters.
pub(crate) struct Pilot<K: Hash + Eq, V> {
    board: Arc<Board<K, V>>,
    key: K,
    flight: Arc<Flight<V>>,
}

impl<K: Hash + Eq + Clone, V> Board<K, V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(HashMap::new())).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The shard of a key, locked. Everything that changes what the local tier
    /// holds for this key happens under this lock.
    pub(crate) fn lock(&self, key: &K) -> MutexGuard<'_, Flights<K, V>> {
        let index = self.hasher.hash_one(key) as usize % self.shards.len();
        lock(&self.shards[index])
    }

    /// Joins the flight of a key, or starts one: then the pilot is there too.
    pub(crate) fn join(self: &Arc<Self>, key: &K) -> (Arc<Flight<V>>, Option<Pilot<K, V>>) {
        let mut flights = self.lock(key);
        if let Some(flight) = flights.get(key) {
            return (Arc::clone(flight), None);
        }
        let flight = Arc::new(Flight {
            outcome: watch::Sender::new(None),
        });
        flights.insert(key.clone(), Arc::clone(&flight));
        let pilot = Pilot {
            board: Arc::clone(self),
            key: key.clone(),
            flight: Arc::clone(&flight),
        };
        (flight, Some(pilot))
    }

    /// Takes all flights off the board.
    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            lock(shard).clear();
        }
    }

    /// The hash by which the board knows a key.
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// How many flights are on the board.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl<K: Hash + Eq + Clone, V> Pilot<K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Runs `keep` under the lock of the key if nobody has changed the key since
    /// the flight began. `true` if it ran.
    pub(crate) fn commit(&self, keep: impl FnOnce()) -> bool {
        let flights = self.board.lock(&self.key);
        let current = self.is_on(&flights);
        if current {
            keep();
        }
        current
    }

    /// Ends the flight with an outcome for all waiters.
    pub(crate) fn land(self, outcome: Outcome<V>) {
        self.take_off_board();
        self.flight.land(outcome);
    }
}

impl<K: Hash + Eq, V> Pilot<K, V> {
    fn is_on(&self, flights: &Flights<K, V>) -> bool {
        flights
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
    }

    fn take_off_board(&self) {
        let index = self.board.hasher.hash_one(&self.key) as usize % self.board.shards.len();
        let mut flights = lock(&self.board.shards[index]);
        if self.is_on(&flights) {
            flights.remove(&self.key);
        }
    }
}

impl<K: Hash + Eq, V> Drop for Pilot<K, V> {
    fn drop(&mut self) {
        self.take_off_board();
        let error = if std::thread::panicking() {
            CacheError::Panicked
        } else {
            CacheError::Dropped
        };
        self.flight.land(Err(error)); // Does nothing after a landing.
    }
}

/// A panic while the lock was held leaves the map whole: no entry is half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Arc<Board<u8, u8>> {
        Arc::new(Board::new())
    }

    #[tokio::test]
    async fn the_second_caller_joins_and_both_get_the_same_value() {
        let board = board();
        let (first, pilot) = board.join(&1);
        let (second, none) = board.join(&1);
        assert!(none.is_none());
        pilot.unwrap().land(Ok(Some(Arc::new(7))));
        assert_eq!(first.landed().await.unwrap().as_deref(), Some(&7));
        assert_eq!(second.landed().await.unwrap().as_deref(), Some(&7));
        assert_eq!(board.len(), 0);
    }

    #[tokio::test]
    async fn a_flight_taken_off_the_board_answers_its_waiters_but_keeps_nothing() {
        let board = board();
        let (flight, pilot) = board.join(&1);
        board.lock(&1).remove(&1);
        let pilot = pilot.unwrap();
        assert!(!pilot.commit(|| panic!("an outdated value was kept")));
        pilot.land(Ok(None));
        assert!(flight.landed().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_dropped_pilot_releases_the_waiters() {
        let board = board();
        let (flight, pilot) = board.join(&1);
        drop(pilot);
        assert!(matches!(flight.landed().await, Err(CacheError::Dropped)));
        assert!(board.join(&1).1.is_some(), "the key is free again");
    }
}
