//! The services of a pool's endpoints: made once per endpoint, then cloned.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;

use crate::endpoint::{Endpoint, Stats};
use crate::pool::Pool;
use crate::spread::ByAddress;

/// Makes the service of an endpoint; `None` if it has none.
pub(super) type Make<S> = Box<dyn Fn(&Endpoint) -> Option<S> + Send + Sync>;

pub(super) struct Services<S> {
    make: Make<S>,
    made: ArcSwap<Lives<S>>,
    /// Moves on with every new table.
    version: AtomicU64,
    /// Those that are not in `made` yet.
    fresh: Mutex<Fresh<S>>,
}

/// By the address of the statistics: another life or address of an endpoint has
/// others, and `Made` keeps the address from being used again.
type Lives<S> = ByAddress<Made<S>>;

#[derive(Clone)]
struct Made<S> {
    #[expect(dead_code, reason = "keeps the address of the statistics")]
    life: Weak<Stats>,
    service: S,
}

/// The table as one balanced service keeps it, which writes nothing that others share.
pub(super) struct Kept<S> {
    version: u64,
    table: Option<Arc<Lives<S>>>,
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
    made: Lives<S>,
    asked: usize,
}

impl<S: Clone> Services<S> {
    pub(super) fn new(make: Make<S>) -> Self {
        Self {
            make,
            made: ArcSwap::default(),
            version: AtomicU64::new(0),
            fresh: Mutex::new(Fresh {
                made: Lives::default(),
                asked: 0,
            }),
        }
    }

    /// The service of a member. Two requests at once may make it twice.
    #[inline]
    pub(super) fn get(&self, kept: &mut Kept<S>, endpoint: &Endpoint, pool: &Pool) -> Option<S> {
        // Acquire: as `look`, which moved it on after the table.
        let version = self.version.load(Ordering::Acquire);
        let life = life(endpoint);
        let known = kept.table.as_ref().filter(|_| kept.version == version);
        match known.and_then(|table| table.get(&life)) {
            Some(made) => Some(made.service.clone()),
            None => self.renew(kept, version, endpoint, pool),
        }
    }

    /// Not in the table that is kept. The second time the newer one is kept.
    #[inline(never)]
    fn renew(
        &self,
        kept: &mut Kept<S>,
        version: u64,
        endpoint: &Endpoint,
        pool: &Pool,
    ) -> Option<S> {
        let is_old = kept.table.is_none() || kept.version != version;
        if kept.asked && is_old {
            (kept.version, kept.table) = (version, Some(self.made.load_full()));
        }
        kept.asked = true;
        self.get_shared(endpoint, pool)
    }

    /// The same for a single request.
    pub(super) fn get_shared(&self, endpoint: &Endpoint, pool: &Pool) -> Option<S> {
        let life = life(endpoint);
        match self.made.load().get(&life) {
            Some(made) => Some(made.service.clone()),
            None => self.look(endpoint, life, pool),
        }
    }

    /// Among the fresh ones, or makes it. The table is built anew when these were asked for
    /// a quarter as often as it has entries: all that copying costs a few entries per request.
    #[cold]
    fn look(&self, endpoint: &Endpoint, life: usize, pool: &Pool) -> Option<S> {
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
            let due = 4 * fresh.asked > before.len() + fresh.made.len();
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

/// What tells the lives of endpoints apart.
#[inline]
fn life(endpoint: &Endpoint) -> usize {
    Arc::as_ptr(&endpoint.stats).addr()
}

/// Both, but for those whose endpoints left.
fn merged<S: Clone>(before: &Lives<S>, fresh: Lives<S>, pool: &Pool) -> Lives<S> {
    let address = |endpoint: &Arc<Endpoint>| (Arc::as_ptr(&endpoint.stats).addr(), ());
    let members: ByAddress<()> = pool.endpoints().iter().map(address).collect();
    let before = before.iter().map(|(life, made)| (*life, made.clone()));
    let all = before.chain(fresh);
    all.filter(|(life, _)| members.contains_key(life)).collect()
}
