//! The last load report of an endpoint, made safe to balance by.
//!
//! Reports are late, missing, absurd or wrong. So each figure is checked (NaN
//! and negative ones are as good as missing), smoothed over a few seconds, and
//! believed only for a while. What they may change is bounded by the policy.
//!
//! A pick reads them for every candidate, so each figure is one atomic word. A
//! pick that comes in between sees one figure of the new report and another of
//! the old one; each alone is true.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    endpoint::{peak_ewma::Fade, stamped::Moment},
    report::LoadReport,
};

/// Reports older than this are not believed any more.
const EXPIRY: Duration = Duration::from_secs(60);
/// The same words within this time are the same report.
const REPEATED: Duration = Duration::from_millis(100);
/// Figures are smoothed over this time (to 37 %) ...
const SMOOTH: Fade = Fade::within(Duration::from_secs(3));
/// ... but one report never counts for more than this share.
const NEWS: f64 = 0.3;
/// More work than this on one endpoint is not believed.
const ABSURD_WORK: f64 = 1e6;

/// CPU, GPU, memory, and the application's own view.
pub(crate) const RESOURCES: usize = 4;

/// The share of each resource that is in use, `0.0..=1.0`, if known.
pub(crate) type Shares = [Option<f64>; RESOURCES];

/// The last report of one endpoint.
#[derive(Debug)]
pub(crate) struct Reading {
    /// When it came: nanoseconds since the pool's start, plus one; 0 for never.
    at: AtomicU64,
    /// Smoothed shares, 16 bits each.
    shares: AtomicU64,
    /// Reported work less what was known of it here when the report came: own
    /// requests in flight and own work accepted.
    unknown_work: AtomicU64,
    /// Reported work, smoothed.
    smooth_work: AtomicU32,
    /// As it came, for status.
    report: ArcSwapOption<LoadReport>,
    /// Those that it came in, if it came with an answer.
    words: AtomicU64,
}

/// The words of a report, by their hash: an endpoint that makes two reports with one hash
/// hides its own news, for a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words(u64);

impl Words {
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Self {
        // 0 stands for none.
        Self(xxh3_64(text) | 1)
    }
}

impl Reading {
    pub(crate) fn none() -> Self {
        Self {
            at: AtomicU64::new(0),
            shares: AtomicU64::new(pack([None; RESOURCES])),
            unknown_work: AtomicU64::new(f64::NAN.to_bits()),
            smooth_work: AtomicU32::new(f32::NAN.to_bits()),
            report: ArcSwapOption::empty(),
            words: AtomicU64::new(0),
        }
    }

    /// Whether these are the words of the last report, a moment later: instances write
    /// a report ten times a second and send it with many answers in between.
    #[inline]
    pub(crate) fn is_repeated(&self, words: Words, now: Moment) -> bool {
        // Relaxed: as `take`.
        self.words.load(Ordering::Relaxed) == words.0 && self.age(now) < REPEATED
    }

    /// Keeps the words of the report that was just taken in.
    pub(crate) fn keep_words(&self, words: Words) {
        // Relaxed: as `take`.
        self.words.store(words.0, Ordering::Relaxed);
    }

    /// Takes a report in; `own` is what was sent there from here: requests in
    /// flight and work accepted ever. Returns the smoothed shares and the work
    /// as reported, those that can be believed.
    pub(crate) fn take(
        &self,
        report: &LoadReport,
        now: Moment,
        own: (u32, u64),
    ) -> (Shares, Option<f64>) {
        let fresh = self.is_fresh(now);
        let gain = if fresh { gain(self.age(now)) } else { 1.0 };
        let (old_shares, old_work) = if fresh {
            (self.known_shares(), self.known_work())
        } else {
            ([None; RESOURCES], None)
        };
        let mut shares = shares(report);
        for (news, old) in shares.iter_mut().zip(old_shares) {
            *news = mix(*news, old, gain);
        }
        let work = report
            .active_work()
            .filter(|work| (0.0..=ABSURD_WORK).contains(work));
        let smooth = mix(work, old_work, gain).unwrap_or(f64::NAN);
        let unknown = work.unwrap_or(f64::NAN) - f64::from(own.0) - own.1 as f64;
        self.report.store(Some(Arc::new(report.clone())));
        // Relaxed: each word is complete in itself, see the module.
        self.shares.store(pack(shares), Ordering::Relaxed);
        self.smooth_work
            .store((smooth as f32).to_bits(), Ordering::Relaxed);
        self.unknown_work
            .store(unknown.to_bits(), Ordering::Relaxed);
        self.at.store(now.nanos() + 1, Ordering::Relaxed);
        (shares, work)
    }

    /// Whether it is young enough to be believed.
    #[inline]
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        // Relaxed: as `take`.
        self.at.load(Ordering::Relaxed) != 0 && self.age(now) <= EXPIRY
    }

    #[inline]
    fn age(&self, now: Moment) -> Duration {
        // Relaxed: as `take`.
        let at = self.at.load(Ordering::Relaxed).saturating_sub(1);
        Duration::from_nanos(now.nanos().saturating_sub(at))
    }

    #[inline]
    fn known_shares(&self) -> Shares {
        // Relaxed: as `take`.
        unpack(self.shares.load(Ordering::Relaxed))
    }

    #[inline]
    fn known_work(&self) -> Option<f64> {
        // Relaxed: as `take`.
        let work = f32::from_bits(self.smooth_work.load(Ordering::Relaxed));
        (!work.is_nan()).then_some(f64::from(work))
    }

    /// Smoothed shares; none while the report is not believed.
    #[inline]
    pub(crate) fn shares(&self, now: Moment) -> Shares {
        if self.is_fresh(now) {
            self.known_shares()
        } else {
            [None; RESOURCES]
        }
    }

    /// Reported work, smoothed.
    #[inline]
    pub(crate) fn smooth_work(&self, now: Moment) -> Option<f64> {
        self.is_fresh(now).then(|| self.known_work()).flatten()
    }

    /// Work there now by the last report: what was reported, corrected by what
    /// was sent from here since.
    #[inline]
    pub(crate) fn work(&self, now: Moment, own: impl FnOnce() -> (u32, u64)) -> Option<f64> {
        // Relaxed: as `take`.
        let unknown = f64::from_bits(self.unknown_work.load(Ordering::Relaxed));
        if unknown.is_nan() || !self.is_fresh(now) {
            return None;
        }
        let (in_flight, accepted) = own();
        Some(unknown + f64::from(in_flight) + accepted as f64)
    }

    /// As it came, while it is fresh.
    pub(crate) fn report(&self, now: Moment) -> Option<Arc<LoadReport>> {
        self.report.load_full().filter(|_| self.is_fresh(now))
    }
}

/// The shares of a report, those that can be believed.
fn shares(report: &LoadReport) -> Shares {
    [
        report.cpu_utilization,
        report.gpu_utilization(),
        report.mem_utilization,
        report.application_utilization,
    ]
    .map(|share| {
        share
            .filter(|share| *share >= 0.0 && share.is_finite())
            .map(|share| share.min(1.0))
    })
}

fn gain(passed: Duration) -> f64 {
    (1.0 - SMOOTH.keep(passed.as_secs_f64())).min(NEWS)
}

fn mix(news: Option<f64>, old: Option<f64>, gain: f64) -> Option<f64> {
    match (news, old) {
        (Some(news), Some(old)) => Some(old + (news - old) * gain),
        (news, _) => news,
    }
}

const UNKNOWN: u16 = u16::MAX;
const FULL: f64 = 65_534.0;

fn pack(shares: Shares) -> u64 {
    let bits = |share: Option<f64>| share.map_or(UNKNOWN, |share| (share * FULL).round() as u16);
    shares
        .iter()
        .fold(0, |word, share| word << 16 | u64::from(bits(*share)))
}

#[inline]
fn unpack(word: u64) -> Shares {
    std::array::from_fn(|i| {
        let bits = (word >> (16 * (RESOURCES - 1 - i))) as u16;
        (bits != UNKNOWN).then(|| f64::from(bits) / FULL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What is unknown stays unknown, and what is known is kept to 1 in 100,000.
        #[test]
        fn shares_survive_their_word(shares in prop::array::uniform4(prop::option::of(0.0..=1.0f64))) {
            for (before, after) in shares.iter().zip(unpack(pack(shares))) {
                prop_assert_eq!(before.is_some(), after.is_some());
                prop_assert!((before.unwrap_or(0.0) - after.unwrap_or(0.0)).abs() < 1e-5);
            }
        }
    }
}
