//! What a pool knows of its endpoints together: the neutral answer for one
//! that is silent.

#[cfg(feature = "affinity")]
use std::sync::OnceLock;
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::endpoint::{
    observers::Observers,
    peak_ewma::Fade,
    stamped::{Moment, Stamped, Tick},
    timing::Lots,
};
#[cfg(feature = "affinity")]
use crate::observe::Answers;

/// Accepted work that no report confirms is forgotten within this time (to 37 %).
const WORK_MEMORY: Fade = Fade::within(Duration::from_secs(60));

/// Averages over all endpoints of a pool.
#[derive(Debug)]
pub(crate) struct Fleet {
    start: Instant,
    pub(crate) latency_decay: Duration,
    pub(crate) latency_fade: Fade,
    /// Who is told how requests ended.
    pub(crate) observers: Observers,
    /// Which requests are timed, if nobody wants to know the time of all.
    pub(crate) lots: Lots,
    /// Where a request finds it without keeping anything else alive.
    #[cfg(feature = "affinity")]
    pub(crate) answers: OnceLock<Answers>,
    latency: Mean,
    pressure: [Mean; 4],
    active_work: Mean,
    accepted: Stamped,
}

impl Fleet {
    pub(crate) fn new(start: Instant, latency_decay: Duration, observers: Observers) -> Self {
        Self {
            start,
            latency_decay,
            latency_fade: Fade::within(latency_decay),
            observers,
            lots: Lots::default(),
            #[cfg(feature = "affinity")]
            answers: OnceLock::new(),
            latency: Mean::default(),
            pressure: Default::default(),
            active_work: Mean::default(),
            accepted: Stamped::default(),
        }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    #[inline]
    pub(crate) fn moment(&self, now: Instant) -> Moment {
        Moment::at(now.saturating_duration_since(self.start))
    }

    /// Response time in seconds that the fleet shows; `None` before the first.
    #[inline]
    pub(crate) fn latency_seconds(&self) -> Option<f64> {
        self.latency.get()
    }

    pub(crate) fn observe_latency(&self, seconds: f64, tick: Tick) {
        self.latency.add(seconds, tick, 64);
    }

    /// Pressure on one resource that the fleet shows.
    #[inline]
    pub(crate) fn pressure(&self, resource: usize) -> Option<f64> {
        self.pressure[resource].get()
    }

    pub(crate) fn observe_pressure(&self, resource: usize, share: f64, tick: Tick) {
        self.pressure[resource].add(share, tick, 32);
    }

    /// Active work that an endpoint of the fleet reports; 0 while none does.
    #[inline]
    pub(crate) fn active_work(&self) -> f64 {
        self.active_work.get().unwrap_or(0.0)
    }

    pub(crate) fn observe_active_work(&self, work: f64, tick: Tick) {
        self.active_work.add(work, tick, 32);
    }

    /// One more unit of work was accepted somewhere.
    pub(crate) fn accept(&self, tick: Tick) {
        self.accepted
            .update(tick, |old| remembered(old, tick) + 1.0);
    }

    /// Work that the whole fleet accepted from here lately, fading by time.
    #[inline]
    pub(crate) fn accepted(&self, now: Moment) -> f64 {
        remembered(self.accepted.get(), now.tick())
    }
}

/// What is left of accepted work after time has passed.
pub(crate) fn remembered(old: Option<(f64, Tick)>, now: Tick) -> f64 {
    old.map_or(0.0, |(work, at)| {
        work * WORK_MEMORY.keep(now.seconds_since(at))
    })
}

/// A running mean: exact over the first samples, then fading. All threads meet
/// here: once it is settled it takes one sample per tick.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Mean {
    value: Stamped,
    samples: AtomicU32,
}

impl Mean {
    #[inline]
    fn get(&self) -> Option<f64> {
        self.value.get().map(|(value, _)| value)
    }

    #[inline]
    fn add(&self, sample: f64, tick: Tick, window: u32) {
        // Relaxed: a weight for an average; a lost step is harmless.
        let seen = self.samples.load(Ordering::Relaxed);
        if seen >= window {
            if self.value.get().is_some_and(|(_, at)| at == tick) {
                return;
            }
        } else {
            self.samples.store(seen + 1, Ordering::Relaxed);
        }
        let gain = 1.0 / f64::from(window.min(seen + 1));
        self.value.fold(tick, |old| {
            old.map_or(sample, |(mean, _)| mean + (sample - mean) * gain)
        });
    }
}
