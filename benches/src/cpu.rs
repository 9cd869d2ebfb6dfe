//! What a thread spends itself, whatever else the machine does.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread.
#[derive(Debug)]
pub struct ThreadCpu;

/// CPU time of the calling thread since it began.
#[must_use]
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

impl Measurement for ThreadCpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, start: Duration) -> Duration {
        now().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The quickest of many batches, scaled to all iterations: what the code costs when nothing
/// disturbs it.
pub fn quickest(iterations: u64, mut work: impl FnMut()) -> Duration {
    const BATCH: u64 = 2_000;
    let batch = iterations.clamp(1, BATCH);
    let one = |_| {
        let begin = now();
        for _ in 0..batch {
            work();
        }
        now().saturating_sub(begin)
    };
    let best = (0..iterations.div_ceil(batch)).map(one).min();
    best.unwrap_or_default()
        .mul_f64(iterations as f64 / batch as f64)
}
