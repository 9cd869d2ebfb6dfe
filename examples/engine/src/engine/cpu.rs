//! The engine on the processor's cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::chunks::{Assembly, CHUNK, compute};
use super::{Control, Engine, EngineError};
use crate::sketch::Sketch;
use crate::spec::{MAX_NON_FINITE_SHARE, Plan};
use crate::summary::{Summary, Tally};

/// Computes on operating-system threads of its own, which it starts for each
/// run and ends with it. After every chunk a thread yields its core, so that
/// whoever serves requests on the same cores gets its turn.
#[derive(Clone, Debug)]
pub struct CpuEngine {
    threads: usize,
}

impl CpuEngine {
    /// An engine with so many threads per run; zero means one per core.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: if threads == 0 { cores() } else { threads },
        }
    }

    /// Threads of each run.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }
}

impl Engine for CpuEngine {
    fn run(&self, plan: &Plan, control: &Control) -> Result<Summary, EngineError> {
        let work = Work {
            plan,
            control,
            chunks: plan.spec().iterations.div_ceil(CHUNK),
            next: AtomicU64::new(0),
            assembly: Mutex::default(),
        };
        let sketch = self.crunch(&work)?;
        let part = work
            .assembly
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .into_merged();
        let iterations = plan.spec().iterations;
        let non_finite = iterations - part.moments.count;
        if non_finite as f64 > iterations as f64 * MAX_NON_FINITE_SHARE {
            return Err(EngineError::NonFinite {
                count: non_finite,
                iterations,
                example: part.non_finite_example.unwrap_or_default(),
            });
        }
        Ok(Summary::of(Tally {
            iterations,
            seed: plan.spec().seed,
            moments: part.moments,
            buckets: sketch.buckets(),
            non_finite_example: part.non_finite_example,
        }))
    }
}

impl CpuEngine {
    fn crunch(&self, work: &Work<'_>) -> Result<Sketch, EngineError> {
        let threads = self
            .threads
            .min(usize::try_from(work.chunks).unwrap_or(usize::MAX));
        thread::scope(|scope| {
            let mut workers = Vec::with_capacity(threads);
            for number in 0..threads {
                let name = format!("engine-{number}");
                let spawned = thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, || work.take());
                match spawned {
                    Ok(worker) => workers.push(worker),
                    // Fewer threads than wished for do the same work.
                    Err(_) => break,
                }
            }
            let mut sum = None;
            for worker in workers {
                let sketch = worker.join().map_err(|_| EngineError::Broken)??;
                match &mut sum {
                    None => sum = Some(sketch),
                    Some(sum) => sum.merge(&sketch),
                }
            }
            sum.ok_or(EngineError::NoThread)
        })
    }
}

/// One run, shared by its threads.
struct Work<'a> {
    plan: &'a Plan,
    control: &'a Control,
    chunks: u64,
    next: AtomicU64,
    assembly: Mutex<Assembly>,
}

impl Work<'_> {
    /// Takes chunk after chunk until none is left.
    fn take(&self) -> Result<Sketch, EngineError> {
        let (centre, scale) = self.plan.frame();
        let mut sketch = Sketch::new(centre, scale);
        loop {
            // Relaxed: hands out numbers; the mutex below orders the results.
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.chunks {
                return Ok(sketch);
            }
            let part = compute(self.plan, index, self.control, &mut sketch)
                .ok_or(EngineError::Cancelled)?;
            let mut assembly = self.assembly.lock().unwrap_or_else(PoisonError::into_inner);
            assembly.put(index, part);
            drop(assembly);
            thread::yield_now();
        }
    }
}
