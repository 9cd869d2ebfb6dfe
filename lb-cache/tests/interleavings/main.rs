//! Law: no reader sees a value older than an invalidation that completed before its read began.
//!
//! One key, several readers and writers, every await a place where the others
//! may run, and a truth that only grows: readers load it, writers change it and
//! then invalidate or insert. The same judge must find fault with a cache that
//! keeps whatever it loaded, and with tiers that break what ours builds on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use jumpy::{Broken, pause};
use subject::{Done, Naive, Subject, Truth};

mod jumpy;
mod model;
mod subject;

#[derive(Clone, Copy, Debug)]
enum Step {
    Read,
    Invalidate,
    Insert,
    Clear,
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Read),
        2 => Just(Step::Invalidate),
        2 => Just(Step::Insert),
        1 => Just(Step::Clear),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..12)
}

/// What several actors do, one script each.
fn scripts() -> impl Strategy<Value = Vec<Vec<Step>>> {
    proptest::collection::vec(steps(), 2..5)
}

#[derive(Clone, Default)]
struct World {
    /// The newest value there is.
    truth: Truth,
    /// The newest value whose invalidation has completed.
    floor: Arc<AtomicU64>,
}

impl World {
    fn change(&self) -> u64 {
        self.truth.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn act(self, cache: Subject, steps: Vec<Step>) -> Done<()> {
        for step in steps {
            pause().await;
            self.step(&cache, step).await?;
        }
        Ok(())
    }

    async fn step(&self, cache: &Subject, step: Step) -> Done<()> {
        match step {
            Step::Read => {
                let floor = self.floor.load(Ordering::SeqCst);
                let value = cache.read(&self.truth).await?;
                if value < floor {
                    return Err(format!("read {value} after {floor} was invalidated"));
                }
            }
            Step::Invalidate | Step::Clear => {
                let newest = self.change();
                match step {
                    Step::Clear => cache.clear().await?,
                    _ => cache.invalidate().await?,
                }
                self.floor.fetch_max(newest, Ordering::SeqCst);
            }
            Step::Insert => cache.insert(self.change()).await?,
            Step::Forget => cache.forget().await?,
        }
        Ok(())
    }
}

fn run(seed: u64, subject: impl FnOnce() -> Subject, scripts: Vec<Vec<Step>>) -> Done<()> {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let (world, cache) = (World::default(), subject());
        let actors: Vec<_> = scripts
            .into_iter()
            .map(|steps| tokio::spawn(world.clone().act(cache.clone(), steps)))
            .collect();
        for actor in actors {
            actor.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_reader_sees_what_was_invalidated_before(seed: u64, scripts in scripts()) {
        prop_assert_eq!(run(seed, || Subject::ours(0, Broken::Nothing), scripts), Ok(()));
    }

    #[test]
    fn not_even_when_the_tier_fails_now_and_then(seed: u64, scripts in scripts()) {
        prop_assert_eq!(run(seed, || Subject::ours(20, Broken::Nothing), scripts), Ok(()));
    }
}

/// How the judge finds fault with this, on the same scripts in every run.
fn fault_of(subject: impl Fn() -> Subject) -> String {
    let config = ProptestConfig {
        cases: 4_000,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRunner::deterministic().new_rng();
    let fault = TestRunner::new_with_rng(config, rng)
        .run(&(any::<u64>(), scripts()), |(seed, scripts)| {
            run(seed, &subject, scripts).map_err(TestCaseError::fail)
        });
    fault.expect_err("the judge is blind").to_string()
}

#[test]
fn a_cache_that_keeps_whatever_it_loaded_is_found_out() {
    let fault = fault_of(|| Subject::Naive(Naive::default()));
    assert!(fault.contains("was invalidated"), "{fault}");
}

#[test]
fn a_tier_that_takes_fills_whatever_it_holds_is_found_out() {
    let fault = fault_of(|| Subject::ours(0, Broken::Conditions));
    assert!(fault.contains("was invalidated"), "{fault}");
}

#[test]
fn a_tier_that_forgets_tombstones_is_found_out() {
    let fault = fault_of(|| Subject::ours(0, Broken::Tombstones));
    assert!(fault.contains("was invalidated"), "{fault}");
}
