//! One lookup per key at a time, whoever asks and whoever gives up.
//!
//! A *flight* is the lookup of one key through the lower tiers and the loader.
//! No caller carries it: a caller that is dropped harms nobody. The board knows
//! the flight of each key. Whoever changes a key takes its flight off the board
//! under the same lock; the flight then still answers those who wait for it, but
//! nothing it found is kept, and later readers start a new one. So an
//! invalidation during a load wins.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::cache::LoadFn;
use crate::errand::{Carrier, Errand};
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
pub(crate) struct Flight<V>(Mutex<State<V>>);

enum State<V> {
    Flying(Waiters<V>),
    Landed(Outcome<V>),
}

/// Who waits for a flight; places of those who gave up are used again.
struct Waiters<V> {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    /// Somebody else than the caller who started the flight waits for it, or did.
    joined: bool,
    /// That caller carries the question.
    errand: Option<Arc<Errand>>,
    /// The loader of somebody who joined a flight that has none.
    load: Load<V>,
}

enum Load<V> {
    /// The flight has one of its own, or took one.
    Own,
    Wanted,
    Lent(LoadFn<V>),
    /// Too late: the flight ends without.
    Missed,
}

impl<V> Load<V> {
    /// `false` if whoever brings a loader now has to start a flight of their own.
    fn lend(&mut self, load: &mut Option<LoadFn<V>>) -> bool {
        match self {
            Self::Wanted => {
                *self = load.take().map_or(Self::Wanted, Self::Lent);
                true
            }
            Self::Missed => load.is_none(),
            Self::Own | Self::Lent(_) => true,
        }
    }
}

impl<V> Waiters<V> {
    /// Takes a place, or keeps the one that the waiter has.
    fn wait(&mut self, place: Option<usize>, waker: &Waker) -> usize {
        let place = place.or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        });
        match &mut self.wakers[place] {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
        place
    }

    fn leave(&mut self, place: usize) {
        self.wakers[place] = None;
        self.free.push(place);
    }
}

impl<V> Flight<V> {
    fn new(has_load: bool) -> Self {
        Self(Mutex::new(State::Flying(Waiters {
            wakers: Vec::new(),
            free: Vec::new(),
            joined: false,
            errand: None,
            load: if has_load { Load::Own } else { Load::Wanted },
        })))
    }

    fn lent_load(&self) -> Option<LoadFn<V>> {
        let State::Flying(Waiters { load, .. }) = &mut *lock(&self.0) else {
            return None;
        };
        match std::mem::replace(load, Load::Own) {
            Load::Lent(lent) => Some(lent),
            Load::Own => None,
            Load::Wanted | Load::Missed => {
                *load = Load::Missed;
                None
            }
        }
    }

    /// Waits for the outcome.
    pub(crate) fn landed(self: &Arc<Self>) -> Landing<V> {
        Landing {
            flight: Arc::clone(self),
            place: None,
            carrier: None,
        }
    }

    /// Remembers that the caller who started the flight carries the question; `true`
    /// if somebody has joined it already.
    pub(crate) fn is_carried_by(&self, errand: &Arc<Errand>) -> bool {
        match &mut *lock(&self.0) {
            State::Flying(waiters) => {
                waiters.errand = Some(Arc::clone(errand));
                waiters.joined
            }
            State::Landed(_) => false,
        }
    }

    /// Somebody joins, and lends a loader if the flight has none; `None` if it is too
    /// late for that. The question goes on even if nobody carries it: the errand is to
    /// be released.
    fn join(&self, load: &mut Option<LoadFn<V>>) -> Option<Option<Arc<Errand>>> {
        match &mut *lock(&self.0) {
            State::Flying(waiters) => waiters.load.lend(load).then(|| {
                waiters.joined = true;
                waiters.errand.take()
            }),
            State::Landed(_) => None,
        }
    }

    /// The first landing counts.
    fn land(&self, outcome: Outcome<V>) {
        let mut state = lock(&self.0);
        let State::Flying(waiters) = &mut *state else {
            return;
        };
        let wakers = std::mem::take(&mut waiters.wakers);
        let before = std::mem::replace(&mut *state, State::Landed(outcome));
        drop(state);
        drop(before);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The wait for a flight. Dropping it leaves the flight as it is.
#[must_use = "a wait is a future: await it"]
pub(crate) struct Landing<V> {
    flight: Arc<Flight<V>>,
    place: Option<usize>,
    carrier: Option<Carrier>,
}

impl<V> Landing<V> {
    /// The wait of a caller that carries the question itself.
    pub(crate) fn carrying(mut self, carrier: Option<Carrier>) -> Self {
        self.carrier = carrier;
        self
    }
}

impl<V> Future for Landing<V> {
    type Output = Outcome<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(Carrier(errand)) = &self.carrier {
            if errand.carry(cx) {
                return Poll::Pending;
            }
            self.carrier = None;
        }
        let place = self.place;
        let place = match &mut *lock(&self.flight.0) {
            State::Landed(outcome) => return Poll::Ready(outcome.clone()),
            State::Flying(waiters) => waiters.wait(place, cx.waker()),
        };
        self.place = Some(place);
        Poll::Pending
    }
}

impl<V> Drop for Landing<V> {
    fn drop(&mut self) {
        if let (Some(place), State::Flying(waiters)) = (self.place, &mut *lock(&self.flight.0)) {
            waiters.leave(place);
        }
    }
}

/// The flight of a key, in its shard.
type Find<K, V> = for<'a> fn(&'a Flights<K, V>, &K) -> Option<&'a Arc<Flight<V>>>;

/// Takes this flight of a key off the board; `false` if it is not there any more.
type TakeOff<K, V> = fn(&mut Flights<K, V>, &K, &Arc<Flight<V>>) -> bool;

/// The end of a flight, in the hands of whoever looks the key up: dropping it, by
/// a panic or a shutdown, releases all waiters.
pub(crate) struct Pilot<K, V> {
    board: Arc<Board<K, V>>,
    shard: usize,
    key: K,
    flight: Arc<Flight<V>>,
    /// Kept here, so that dropping asks nothing of the key's type.
    find: Find<K, V>,
    take_off: TakeOff<K, V>,
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
        lock(&self.shards[self.shard(key)])
    }

    fn shard(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize % self.shards.len()
    }

    /// Joins the flight of a key, or starts one: then the pilot is there too. Who joins
    /// a flight without a loader lends it this one, until [`Pilot::last_load`].
    pub(crate) fn join(
        self: &Arc<Self>,
        key: &K,
        load: &mut Option<LoadFn<V>>,
    ) -> (Arc<Flight<V>>, Option<Pilot<K, V>>) {
        let shard = self.shard(key);
        let mut flights = lock(&self.shards[shard]);
        if let Some(flight) = flights.get(key)
            && let Some(errand) = flight.join(load)
        {
            let flight = Arc::clone(flight);
            drop(flights);
            if let Some(errand) = errand {
                errand.release();
            }
            return (flight, None);
        }
        let flight = Arc::new(Flight::new(load.is_some()));
        flights.insert(key.clone(), Arc::clone(&flight));
        drop(flights);
        let pilot = Pilot {
            board: Arc::clone(self),
            shard,
            key: key.clone(),
            flight: Arc::clone(&flight),
            take_off,
            find: |flights, key| flights.get(key),
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

impl<K, V> Pilot<K, V> {
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Runs `keep` under the lock of the key if nobody has changed the key since
    /// the flight began. `true` if it ran.
    pub(crate) fn commit(&self, keep: impl FnOnce()) -> bool {
        let flights = lock(&self.board.shards[self.shard]);
        let current = self.is_on(&flights);
        if current {
            keep();
        }
        current
    }

    /// The loader of somebody who joined. If there is none, whoever brings one from now
    /// on starts a flight of their own.
    pub(crate) fn last_load(&self) -> Option<LoadFn<V>> {
        self.flight.lent_load()
    }

    /// Ends the flight with an outcome for all waiters.
    pub(crate) fn land(self, outcome: Outcome<V>) {
        self.take_off_board(|_| {});
        self.flight.land(outcome);
    }

    /// [`Self::commit`] and [`Self::land`] under one lock.
    pub(crate) fn commit_and_land(self, outcome: Outcome<V>, keep: impl FnOnce(&K)) -> bool {
        let current = self.take_off_board(keep);
        self.flight.land(outcome);
        current
    }

    fn is_on(&self, flights: &Flights<K, V>) -> bool {
        (self.find)(flights, &self.key).is_some_and(|on| Arc::ptr_eq(on, &self.flight))
    }

    /// `true`, and `keep` has run, if the flight was still on the board.
    fn take_off_board(&self, keep: impl FnOnce(&K)) -> bool {
        let mut flights = lock(&self.board.shards[self.shard]);
        let current = (self.take_off)(&mut flights, &self.key, &self.flight);
        if current {
            keep(&self.key);
        }
        current
    }
}

/// One search instead of two: hardly ever is it another flight, which is put back.
fn take_off<K: Hash + Eq, V>(
    flights: &mut Flights<K, V>,
    key: &K,
    flight: &Arc<Flight<V>>,
) -> bool {
    match flights.remove_entry(key) {
        Some((_, on)) if Arc::ptr_eq(&on, flight) => true,
        Some((key, other)) => {
            flights.insert(key, other);
            false
        }
        None => false,
    }
}

impl<K, V> Drop for Pilot<K, V> {
    fn drop(&mut self) {
        if matches!(*lock(&self.flight.0), State::Landed(_)) {
            return;
        }
        self.take_off_board(|_| {});
        let error = if std::thread::panicking() {
            CacheError::Panicked
        } else {
            CacheError::Dropped
        };
        self.flight.land(Err(error));
    }
}

/// A panic while the lock was held leaves the map whole: no entry is half written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
