//! The services of a pool's endpoints: made once per endpoint, then cloned.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use crate::endpoint::{Endpoint, Stats};
use crate::pool::{Counted, Pool};
use crate::spread::ByAddress;

/// Makes the service of an endpoint; `None` if it has none.
pub(super) type Make<S> = Box<dyn Fn(&Endpoint) -> Option<S> + Send + Sync>;

pub(super) struct Services<S> {
    make: Make<S>,
    made: ArcSwap<Table<S>>,
    /// Moves on with every new table.
    version: AtomicU64,
    /// Those that are not in `made` yet.
    fresh: Mutex<Fresh<S>>,
}

/// Services that were made.
struct Table<S> {
    /// By the place of their endpoints in the pool, as it was when this was built.
    made: Box<[Option<Made<S>>]>,
    /// Where each of them is.
    places: ByAddress<usize>,
}

#[derive(Clone)]
struct Made<S> {
    /// Its address tells the lives of an endpoint apart: another life or address has other
    /// statistics, and this keeps the address from being used again.
    life: Weak<Stats>,
    service: S,
}

/// The table as one balanced service keeps it, which writes nothing that others share.
pub(super) struct Kept<S> {
    version: u64,
    table: Option<Arc<Table<S>>>,
    /// It was asked before: keeping the table pays, as it does not for a single request.
    asked: bool,
}

impl<S> Kept<S> {
    pub(super) fn nothing() -> Self {
        Self {
            version: 0,
            table: None,
            asked: false,
        }
    }
}

/// Services that came since the table was built, and how often one of them was asked for.
struct Fresh<S> {
    made: ByAddress<Made<S>>,
    asked: usize,
}

impl<S: Clone> Services<S> {
    pub(super) fn new(make: Make<S>) -> Self {
        Self {
            make,
            made: ArcSwap::from_pointee(Table::of(Box::default())),
            version: AtomicU64::new(0),
            fresh: Mutex::new(Fresh {
                made: ByAddress::default(),
                asked: 0,
            }),
        }
    }

    /// The service of a member. Two requests at once may make it twice.
    #[inline]
    pub(super) fn get(&self, kept: &mut Kept<S>, counted: &Counted, pool: &Pool) -> Option<S> {
        // Acquire: as `look`, which moved it on after the table.
        let version = self.version.load(Ordering::Acquire);
        let known = kept.table.as_ref().filter(|_| kept.version == version);
        match known.and_then(|table| table.get(counted)) {
            Some(service) => Some(service.clone()),
            None => self.renew(kept, version, counted, pool),
        }
    }

    /// Not in the table that is kept. The second time the newer one is kept.
    #[inline(never)]
    fn renew(&self, kept: &mut Kept<S>, version: u64, counted: &Counted, pool: &Pool) -> Option<S> {
        let is_old = kept.table.is_none() || kept.version != version;
        if kept.asked && is_old {
            (kept.version, kept.table) = (version, Some(self.made.load_full()));
        }
        kept.asked = true;
        self.get_shared(counted, pool)
    }

    /// The same for a single request.
    pub(super) fn get_shared(&self, counted: &Counted, pool: &Pool) -> Option<S> {
        match self.made.load().get(counted) {
            Some(service) => Some(service.clone()),
            None => self.look(counted.endpoint(), pool),
        }
    }

    /// Among the fresh ones, or makes it. The table is built anew when these were asked for
    /// a quarter as often as it has entries: all that copying costs a few entries per request.
    #[cold]
    fn look(&self, endpoint: &Endpoint, pool: &Pool) -> Option<S> {
        let life = life(endpoint);
        let known = self.with_fresh(|fresh| fresh.made.get(&life).cloned());
        let made = match known {
            Some(made) => made,
            // Without the lock: it is somebody else's code.
            None => Made {
                life: Arc::downgrade(&endpoint.stats),
                service: (self.make)(endpoint)?,
            },
        };
        let service = made.service.clone();
        let replaced = self.with_fresh(|fresh| {
            fresh.made.entry(life).or_insert(made);
            fresh.asked += 1;
            let before = self.made.load();
            let due = 4 * fresh.asked > before.places.len() + fresh.made.len();
            due.then(|| {
                let fresh = std::mem::take(&mut fresh.made);
                let replaced = self.made.swap(Arc::new(merged(&before, fresh, pool)));
                // Release: who sees this number finds that table, or a later one.
                self.version.fetch_add(1, Ordering::Release);
                replaced
            })
        });
        // Not under the lock either: services go that somebody else wrote.
        drop(replaced);
        Some(service)
    }

    fn with_fresh<R>(&self, work: impl FnOnce(&mut Fresh<S>) -> R) -> R {
        // A service that panicked while it was cloned left a table that is whole.
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = work(&mut fresh);
        if fresh.made.is_empty() {
            fresh.asked = 0;
        }
        answer
    }
}

impl<S> Table<S> {
    fn of(made: Box<[Option<Made<S>>]>) -> Self {
        let place = |(place, made): (usize, &Option<Made<S>>)| Some((made.as_ref()?.life(), place));
        let places = made.iter().enumerate().filter_map(place).collect();
        Self { made, places }
    }

    /// The service of this request's endpoint.
    #[inline]
    fn get(&self, counted: &Counted) -> Option<&S> {
        let life = life(counted.endpoint());
        match self.made.get(counted.endpoint().seat().index as usize) {
            Some(Some(made)) if made.life() == life => Some(&made.service),
            _ => self.find(life).map(|made| &made.service),
        }
    }

    /// Members came or went since this was built: it may be at another place.
    #[inline(never)]
    fn find(&self, life: usize) -> Option<&Made<S>> {
        self.made.get(*self.places.get(&life)?)?.as_ref()
    }
}

impl<S> Made<S> {
    #[inline]
    fn life(&self) -> usize {
        self.life.as_ptr().addr()
    }
}

/// What tells the lives of endpoints apart.
#[inline]
fn life(endpoint: &Endpoint) -> usize {
    Arc::as_ptr(&endpoint.stats).addr()
}

/// Both, in the order of the members; without those whose endpoints left.
fn merged<S: Clone>(before: &Table<S>, mut fresh: ByAddress<Made<S>>, pool: &Pool) -> Table<S> {
    let service = |endpoint: &Arc<Endpoint>| {
        let life = life(endpoint);
        fresh.remove(&life).or_else(|| before.find(life).cloned())
    };
    Table::of(pool.endpoints().iter().map(service).collect())
}
