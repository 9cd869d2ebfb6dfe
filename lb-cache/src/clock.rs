//! The one place where this crate reads the clocks, and the coarse clock of the hot path.
//!
//! Reading `Instant::now` costs about as much as a whole hit in a fast engine.
//! While a cache is busy a task therefore writes the time into one atomic every
//! few milliseconds, and hits read that. An idle cache has no such task: then
//! the atomic is zero, which means "asleep, read the real clock". Entries may so
//! be served up to [`TICK`] plus one scheduling delay past their end. That delay
//! has no bound on a runtime that runs only while somebody blocks on it, so the
//! task runs on no such runtime: there, hits read the real clock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::stats::Hits;

/// A moment of this process: milliseconds since its cache was built, from one up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// After every other moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment plus a duration; saturates at [`Moment::NEVER`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long from `self` until `later`; zero if it is already over.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// Milliseconds since 1970-01-01 UTC: the form of time that is stored and sent.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This moment plus a duration; saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This moment less a duration, of which a part of a millisecond counts as a whole one.
    pub(crate) fn before(self, duration: Duration) -> Self {
        let whole = duration.as_nanos().div_ceil(1_000_000);
        Self(
            self.0
                .saturating_sub(u64::try_from(whole).unwrap_or(u64::MAX)),
        )
    }

    /// How long from `self` until `later`; zero if it is already over.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// Whole milliseconds of a duration; saturates.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How often the coarse clock moves while the cache is busy.
const TICK: Duration = Duration::from_millis(5);
/// The coarse clock goes to sleep after so many ticks without a reader.
const IDLE_TICKS: u32 = 200;
/// So many exact readings since the last tick make it worth waking the clock.
const WAKE_AFTER: u32 = 64;

/// Monotonic and wall time of one cache.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// No coarse clock, and wall time follows the monotonic clock.
    virtual_time: bool,
    /// The coarse time, zero while asleep.
    coarse: AtomicU64,
    exact_readings: AtomicU32,
    /// Counted here, beside the time that every hit reads; the clock sleeps when this stands still.
    pub(crate) hits: Hits,
}

impl Clock {
    /// A clock that starts now. `virtual_time` turns the coarse clock off and
    /// lets wall time follow the (possibly paused) monotonic clock of tokio.
    pub(crate) fn start(virtual_time: bool) -> Self {
        Self {
            origin: now(),
            virtual_time,
            coarse: AtomicU64::new(0),
            exact_readings: AtomicU32::new(0),
            hits: Hits::default(),
        }
    }

    /// The time for a hit: coarse while busy, exact while asleep.
    #[inline]
    pub(crate) fn coarse(self: &Arc<Self>) -> Moment {
        // Relaxed: a lone number; nothing else is published with it.
        match self.coarse.load(Ordering::Relaxed) {
            0 => self.asleep(),
            busy => Moment(busy),
        }
    }

    /// The exact time: for everything that is not a hit.
    pub(crate) fn exact(&self) -> Moment {
        Moment(millis(now().saturating_duration_since(self.origin)).saturating_add(1))
    }

    /// Wall time, for envelopes.
    pub(crate) fn wall(&self) -> UnixMillis {
        if self.virtual_time {
            virtual_wall()
        } else {
            unix_now()
        }
    }

    #[cold]
    fn asleep(self: &Arc<Self>) -> Moment {
        if !self.virtual_time {
            // Relaxed: a hint; an extra or a missing wake-up harms nobody.
            let readings = self.exact_readings.fetch_add(1, Ordering::Relaxed);
            if readings == WAKE_AFTER {
                match runs_by_itself() {
                    Some(runtime) => drop(runtime.spawn(tick(Asleep(Arc::downgrade(self))))),
                    // Relaxed: a hint, too. The next ones may come from elsewhere.
                    None => self.exact_readings.store(0, Ordering::Relaxed),
                }
            }
        }
        self.exact()
    }
}

/// The runtime of the caller, if it has threads of its own to run tasks on.
fn runs_by_itself() -> Option<Handle> {
    let runtime = Handle::try_current().ok()?;
    (runtime.runtime_flavor() == RuntimeFlavor::MultiThread).then_some(runtime)
}

/// Puts the coarse clock back to sleep when its task ends, however it ends.
struct Asleep(Weak<Clock>);

impl Drop for Asleep {
    fn drop(&mut self) {
        if let Some(clock) = self.0.upgrade() {
            // Relaxed, both: hints; see `Clock::coarse` and `Clock::asleep`.
            clock.coarse.store(0, Ordering::Relaxed);
            clock.exact_readings.store(0, Ordering::Relaxed);
        }
    }
}

/// Moves the coarse clock while somebody reads; holds no cache alive.
async fn tick(asleep: Asleep) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut seen = 0;
    let mut idle = 0;
    while idle < IDLE_TICKS {
        ticks.tick().await;
        let Some(clock) = asleep.0.upgrade() else {
            return;
        };
        // Relaxed: a lone number; see `Clock::coarse`.
        clock.coarse.store(clock.exact().0, Ordering::Relaxed);
        let reads = clock.hits.total();
        idle = if reads == seen { idle + 1 } else { 0 };
        seen = reads;
    }
}

/// The monotonic clock: tokio's, so that tests can pause it.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    tokio::time::Instant::now().into_std()
}

/// Wall time that follows the (possibly paused) monotonic clock, the same for all caches.
fn virtual_wall() -> UnixMillis {
    static ANCHOR: OnceLock<(Instant, UnixMillis)> = OnceLock::new();
    let (instant, wall) = ANCHOR.get_or_init(|| (now(), unix_now()));
    wall.after(now().saturating_duration_since(*instant))
}

/// The wall clock.
pub(crate) fn unix_now() -> UnixMillis {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixMillis(since.map_or(0, millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_the_paused_clock_when_time_is_virtual() {
        let clock = Clock::start(true);
        let before = clock.wall();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(before.until(clock.wall()), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_clock_ticks_and_an_idle_one_falls_asleep() {
        let clock = Arc::new(Clock::start(false));
        tokio::spawn(tick(Asleep(Arc::downgrade(&clock))));
        tokio::time::sleep(TICK * 3).await;
        assert_ne!(clock.coarse.load(Ordering::Relaxed), 0, "awake");
        tokio::time::sleep(TICK * (IDLE_TICKS + 5)).await;
        assert_eq!(clock.coarse.load(Ordering::Relaxed), 0, "asleep again");
    }

    #[test]
    fn a_clock_is_woken_where_its_task_will_run_and_nowhere_else() {
        let clock = Arc::new(Clock::start(false));
        let read = || {
            for _ in 0..=WAKE_AFTER {
                clock.coarse();
            }
        };
        let ticks = || clock.coarse.load(Ordering::Relaxed) != 0;
        read();
        let lone = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        lone.block_on(async { read() });
        let tasks = lone.metrics().num_alive_tasks();
        assert_eq!(tasks, 0, "nobody would run it any more");
        let busy = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .unwrap();
        let woken = async {
            read();
            while !ticks() {
                tokio::task::yield_now().await;
            }
        };
        let longest = Duration::from_secs(20);
        let woken = busy.block_on(async { tokio::time::timeout(longest, woken).await });
        assert!(woken.is_ok());
    }

    #[test]
    fn moments_saturate() {
        assert_eq!(Moment::NEVER.after(Duration::MAX), Moment::NEVER);
        assert_eq!(Moment(5).until(Moment(2)), Duration::ZERO);
    }
}
