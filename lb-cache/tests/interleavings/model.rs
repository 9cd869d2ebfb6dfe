//! Law: the same for whole caches, against a plain list of versions.
//!
//! Two processes share one tier that fails, freezes and comes back. They look up
//! one key or many, load for a moment or for ever, in vain or not at all,
//! invalidate, clear level by level, and let time pass. Whatever they see must
//! have been true since the last invalidation of their own that had completed;
//! their books must balance; and in the end nothing is left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_cache::tier::{Chaos, ChaosTier};
use lb_cache::{BoxError, CacheError, Level, Loaded, Local, TieredCache};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::jumpy::{Broken, Jumpy, pause};
use crate::subject::Done;

const KEYS: u8 = 3;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
enum Step {
    Load(u8, Kind),
    Get(u8),
    Many(Vec<u8>),
    Insert(u8),
    /// The value changes, or is gone, and the key is invalidated.
    Change(u8, bool),
    Clear,
    ClearLevel(Level),
    Tier(Chaos),
    Wait(u64),
}

/// What a loader does with the truth it has found.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Lives(Duration),
    Fails,
}

fn step(inserts: bool) -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    let lives = [Duration::ZERO, SECOND, Duration::MAX].map(Kind::Lives);
    let kind = prop_oneof![
        3 => Just(Kind::Plain),
        2 => proptest::sample::select(lives.to_vec()),
        1 => Just(Kind::Fails),
    ];
    let moods = vec![
        Chaos::Well,
        Chaos::Well,
        Chaos::Failing,
        Chaos::Frozen,
        Chaos::Deaf,
    ];
    let levels = vec![Level::Local, Level::Shared, Level::Database];
    prop_oneof![
        8 => (key.clone(), kind).prop_map(|(key, kind)| Step::Load(key, kind)),
        3 => key.clone().prop_map(Step::Get),
        3 => proptest::collection::vec(key.clone(), 0..6).prop_map(Step::Many),
        4 => (key.clone(), any::<bool>()).prop_map(|(key, there)| Step::Change(key, there)),
        1 => Just(Step::Clear),
        1 => proptest::sample::select(levels).prop_map(Step::ClearLevel),
        2 => proptest::sample::select(moods).prop_map(Step::Tier),
        3 => proptest::sample::select(vec![1, 100, 3_000, 11_000]).prop_map(Step::Wait),
        3 => key.prop_map(move |key| if inserts { Step::Insert(key) } else { Step::Get(key) }),
    ]
}

/// What several actors do, one script each.
fn scripts(inserts: bool) -> impl Strategy<Value = Vec<Vec<Step>>> {
    let script = proptest::collection::vec(step(inserts), 1..14);
    proptest::collection::vec(script, 2..5)
}

/// Every version of every key, and whether there was a value.
#[derive(Clone, Default)]
struct Truth(Arc<Mutex<BTreeMap<u8, Vec<bool>>>>);

impl Truth {
    fn of<T>(&self, key: u8, look: impl FnOnce(&mut Vec<bool>) -> T) -> T {
        let mut all = self.0.lock().expect("nobody panics here");
        look(all.entry(key).or_insert_with(|| vec![true]))
    }

    /// The newest version, and whether there is a value.
    fn newest(&self, key: u8) -> (u64, bool) {
        self.of(key, |versions| {
            (versions.len() as u64 - 1, versions[versions.len() - 1])
        })
    }

    fn change(&self, key: u8, there: bool) -> u64 {
        self.of(key, |versions| versions.push(there));
        self.newest(key).0
    }

    /// May a reader see this, who began when `floor` was the oldest version that may be seen?
    fn allows(&self, key: u8, floor: u64, seen: Option<u64>) -> Done<()> {
        self.of(key, |versions| {
            let mut versions = versions.iter().zip(0..);
            let fits = versions.any(|(there, version)| {
                version >= floor && seen.map_or(!there, |seen| *there && seen == version)
            });
            let refused = format!("key {key}: {seen:?} after {floor} was invalidated");
            fits.then_some(()).ok_or(refused)
        })
    }

    async fn load(self, key: u8, kind: Kind) -> Result<Loaded<u64>, BoxError> {
        pause().await;
        let (version, there) = self.newest(key);
        pause().await;
        let loaded = if there {
            Loaded::value(version)
        } else {
            Loaded::absent()
        };
        match kind {
            Kind::Plain => Ok(loaded),
            Kind::Lives(ttl) => Ok(loaded.ttl(ttl)),
            Kind::Fails => Err("down".into()),
        }
    }
}

/// One process: its cache, and what it knows to be over.
#[derive(Clone)]
struct Process {
    cache: TieredCache<u8, u64>,
    tier: ChaosTier<Jumpy>,
    truth: Truth,
    floors: Arc<[AtomicU64; KEYS as usize]>,
    lookups: Arc<AtomicU64>,
}

impl Process {
    fn new(tier: &ChaosTier<Jumpy>, truth: &Truth) -> Self {
        let source = truth.clone();
        let cache = TieredCache::builder("model")
            .local(Local::weight(100).with_ttl(10 * SECOND))
            .weigher(|_, version| *version as u32 % 7 + 1)
            .serve_stale(5 * SECOND, SECOND)
            .refresh_at(0.5)
            .negative(2 * SECOND, 10)
            .load_timeouts(Duration::ZERO, 2 * SECOND)
            .shared(tier.clone(), 20 * SECOND)
            .source(move |key: u8| source.clone().load(key, Kind::Plain))
            .virtual_time()
            .build();
        Self {
            cache: cache.expect("a valid policy"),
            tier: tier.clone(),
            truth: truth.clone(),
            floors: Arc::default(),
            lookups: Arc::default(),
        }
    }

    fn floor(&self, key: u8) -> u64 {
        self.floors[usize::from(key)].load(Ordering::SeqCst)
    }

    fn raise(&self, key: u8, version: u64) {
        self.floors[usize::from(key)].fetch_max(version, Ordering::SeqCst);
    }

    fn check(&self, key: u8, floor: u64, seen: Result<Option<u64>, CacheError>) -> Done<()> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        match seen {
            Ok(seen) => self.truth.allows(key, floor, seen),
            Err(CacheError::Absent) => self.truth.allows(key, floor, None),
            Err(CacheError::Load(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn act(self, steps: Vec<Step>) -> Done<()> {
        for step in steps {
            pause().await;
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&self, step: Step) -> Done<()> {
        match step {
            Step::Load(key, kind) => {
                let (floor, truth) = (self.floor(key), self.truth.clone());
                let load = move || truth.load(key, kind);
                let seen = self.cache.get_or_load(&key, load).await;
                self.check(key, floor, seen.map(|seen| Some(*seen)))?;
            }
            Step::Get(key) => self.many(&[key]).await?,
            Step::Many(keys) => self.many(&keys).await?,
            Step::Insert(key) => {
                let version = self.truth.change(key, true);
                written(self.cache.insert(key, version).await)?;
            }
            Step::Change(key, there) => {
                let version = self.truth.change(key, there);
                written(self.cache.invalidate(&key).await)?;
                self.raise(key, version);
            }
            Step::Clear => {
                let newest = (0..KEYS).map(|key| (key, self.truth.newest(key).0));
                let newest: Vec<_> = newest.collect();
                written(self.cache.clear().await)?;
                newest
                    .iter()
                    .for_each(|(key, version)| self.raise(*key, *version));
            }
            // Only a shared tier may fail here, and that is its own business.
            Step::ClearLevel(level) => drop(self.cache.clear_level(level).await),
            Step::Tier(chaos) => self.tier.set(chaos),
            Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        Ok(())
    }

    async fn many(&self, keys: &[u8]) -> Done<()> {
        let floors: Vec<u64> = keys.iter().map(|key| self.floor(*key)).collect();
        let seen = match keys {
            [key] => vec![self.cache.get(key).await],
            keys => self.cache.get_many(keys).await,
        };
        if seen.len() != keys.len() {
            return Err(format!("{} answers to {} keys", seen.len(), keys.len()));
        }
        let seen = seen
            .into_iter()
            .map(|seen| seen.map(|seen| seen.as_deref().copied()));
        for ((key, floor), seen) in keys.iter().zip(floors).zip(seen) {
            self.check(*key, floor, seen)?;
        }
        Ok(())
    }

    /// When all is over: the books balance, and a clear leaves nothing.
    async fn close(&self) -> Done<()> {
        let stats = self.cache.stats();
        let (local, loads) = (&stats.local, &stats.loads);
        let answered = local.hits + local.negative_hits + local.misses;
        let ended = loads.loaded + loads.absent + loads.failed + loads.timed_out + loads.panicked;
        let balanced = answered == self.lookups.load(Ordering::SeqCst)
            && ended == loads.started
            && loads.in_flight == 0
            && stats
                .shared
                .as_ref()
                .is_some_and(|shared| shared.distrusted_keys == 0);
        written(self.cache.clear().await)?;
        let left = self.cache.stats().local;
        let empty = (left.entries, left.weight, left.negative_entries) == (0, 0, 0);
        let books = || format!("{stats:?} for {:?} lookups, and {left:?}", self.lookups);
        (balanced && empty).then_some(()).ok_or_else(books)
    }
}

fn written(outcome: Result<(), CacheError>) -> Done<()> {
    outcome.map_err(|error| error.to_string())
}

fn run(seed: u64, processes: usize, broken: Broken, scripts: Vec<Vec<Step>>) -> Done<()> {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let (tier, truth) = (ChaosTier::new(Jumpy::new(5, broken)), Truth::default());
        let all: Vec<_> = (0..processes)
            .map(|_| Process::new(&tier, &truth))
            .collect();
        let actors: Vec<_> = scripts
            .into_iter()
            .zip(all.iter().cycle())
            .map(|(steps, process)| tokio::spawn(process.clone().act(steps)))
            .collect();
        for actor in actors {
            actor.await.map_err(|error| error.to_string())??;
        }
        tier.set(Chaos::Well);
        tokio::time::sleep(30 * SECOND).await;
        for process in &all {
            process.many(&[0, 1, 2, 2, 1, 0]).await?;
        }
        tokio::time::sleep(5 * SECOND).await;
        for process in &all {
            process.close().await?;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_process_sees_what_the_list_allows(seed: u64, scripts in scripts(true)) {
        prop_assert_eq!(run(seed, 1, Broken::Nothing, scripts), Ok(()));
    }

    /// Nobody inserts here: that another process inserts what it knew before is its own fault.
    #[test]
    fn two_processes_on_one_tier_see_what_the_list_allows(seed: u64, scripts in scripts(false)) {
        prop_assert_eq!(run(seed, 2, Broken::Nothing, scripts), Ok(()));
    }
}

#[test]
fn a_tier_that_takes_old_fills_is_found_out_by_the_list() {
    let config = ProptestConfig {
        cases: 4_000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRunner::deterministic().new_rng();
    let fault = TestRunner::new_with_rng(config, rng)
        .run(&(any::<u64>(), scripts(false)), |(seed, scripts)| {
            run(seed, 2, Broken::Conditions, scripts).map_err(TestCaseError::fail)
        });
    let fault = fault.expect_err("the judge is blind").to_string();
    assert!(fault.contains("was invalidated"), "{fault}");
}
