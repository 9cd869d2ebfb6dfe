//! Callers that read all the time and write down what they saw.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lb_cache::{BoxError, TieredCache};
use tokio::task::JoinSet;

use crate::report::{Verdict, p99};

pub(crate) type Cache = TieredCache<u64, u64>;

const CALLERS: u64 = 16;
const KEYS: u64 = 3_000;
/// What a load from the source takes.
const SOURCE: Duration = Duration::from_millis(2);
/// The breaker is open this long after a fault.
const GRACE: Duration = Duration::from_secs(1);
/// The tier serves again when it did so without a slip for this long.
const STEADY: Duration = Duration::from_millis(500);
const WATCH: Duration = Duration::from_secs(13);

/// One get, as its caller saw it.
#[derive(Clone, Copy)]
struct Seen {
    begin: Instant,
    took: Duration,
    right: bool,
}

#[derive(Default)]
struct Log {
    gets: Vec<Seen>,
    loads: Vec<(Instant, Duration)>,
}

/// Callers at work; dropping it stops them.
pub(crate) struct Load {
    cache: Cache,
    log: Arc<Mutex<Log>>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(cache: Cache) -> Self {
        let log = Arc::<Mutex<Log>>::default();
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(call(cache.clone(), Arc::clone(&log)));
        }
        Self {
            cache,
            log,
            callers,
        }
    }

    /// Lets the callers fill the cache.
    pub(crate) async fn calm(&self) {
        let mut quiet = Quiet::default();
        while !quiet.lasts(&self.cache, now(), STEADY) || self.hits() < 10 * KEYS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn hits(&self) -> u64 {
        self.cache.stats().shared.map_or(0, |shared| shared.hits)
    }

    /// Watches the callers after a fault that happened just now.
    pub(crate) async fn judge(&self, fault: &'static str, limit: Duration) -> Verdict {
        let begin = now();
        let (mut quiet, mut recovered) = (Quiet::default(), None);
        while now() - begin < WATCH {
            tokio::time::sleep(Duration::from_millis(10)).await;
            if recovered.is_none() && quiet.lasts(&self.cache, now(), STEADY) {
                recovered = quiet.since.map(|since| since - begin);
            }
        }
        let verdict = self.verdict(fault, begin, recovered, limit);
        println!("{verdict}");
        verdict
    }

    fn verdict(
        &self,
        fault: &'static str,
        begin: Instant,
        recovered: Option<Duration>,
        limit: Duration,
    ) -> Verdict {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // While the breaker is open: from the grace to the recovery.
        let end = begin + recovered.unwrap_or(WATCH);
        let open = |moment: Instant| moment >= begin + GRACE && moment < end;
        // A get that hangs is seen late: it counts where it ends.
        let gets: Vec<Seen> = log
            .gets
            .iter()
            .copied()
            .filter(|seen| seen.begin + seen.took >= begin)
            .collect();
        let slow = gets
            .iter()
            .filter(|seen| open(seen.begin) || seen.took > GRACE)
            .map(|seen| seen.took);
        let loads = log
            .loads
            .iter()
            .filter(|(moment, _)| open(*moment))
            .map(|(_, took)| *took);
        Verdict {
            fault,
            gets: gets.len(),
            wrong: gets.iter().filter(|seen| !seen.right).count(),
            p99: p99(slow.collect()),
            worst: gets.iter().map(|seen| seen.took).max().unwrap_or_default(),
            source_p99: p99(loads.collect()).max(SOURCE),
            recovered,
            limit,
            callers: self.callers.len() as u64 == CALLERS,
        }
    }
}

/// Since when has the tier answered every question?
#[derive(Default)]
struct Quiet {
    trouble: u64,
    hits: u64,
    since: Option<Instant>,
}

impl Quiet {
    fn lasts(&mut self, cache: &Cache, now: Instant, long: Duration) -> bool {
        let Some(shared) = cache.stats().shared else {
            return false;
        };
        let trouble = shared.errors + shared.timeouts + shared.skipped;
        if trouble != self.trouble || shared.hits == self.hits {
            self.since = None;
        } else {
            self.since.get_or_insert(now);
        }
        (self.trouble, self.hits) = (trouble, shared.hits);
        self.since.is_some_and(|since| now - since >= long)
    }
}

/// Reads random keys until it is aborted.
async fn call(cache: Cache, log: Arc<Mutex<Log>>) {
    loop {
        let key = fastrand::u64(..KEYS);
        let begin = now();
        let loads = Arc::clone(&log);
        let got = cache.get_or_load(&key, move || async move {
            let begin = now();
            tokio::time::sleep(SOURCE).await;
            loads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .loads
                .push((begin, now() - begin));
            Ok::<_, BoxError>(key * 3)
        });
        let right = got.await.is_ok_and(|value| *value == key * 3);
        let seen = Seen {
            begin,
            took: now() - begin,
            right,
        };
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .gets
            .push(seen);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    Instant::now()
}
