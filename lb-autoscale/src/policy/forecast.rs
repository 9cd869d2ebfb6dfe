//! What the same time of former seasons needed, as a floor.
//!
//! Two small models learn the demand per slot of a season (a day by default):
//! the seasonal quantile profile, and additive Holt-Winters. Each is scored
//! against what then happened, and against the naive forecast "as in the slot
//! before"; a model speaks only while it beats the naive one. A forecast never
//! lowers anything. By default it only advises: look first, act later.
//!
//! ```
//! use lb_autoscale::policy::forecast::{Forecast, Profile};
//! use lb_autoscale::UnixMillis;
//!
//! let forecast = Forecast::daily("rps", 100.0);
//! let mut profile = Profile::default();
//! for slot in 0..3 * 288 {
//!     let demand = if slot % 288 < 96 { 200.0 } else { 1_000.0 }; // quiet until eight
//!     forecast.learn(&mut profile, demand, UnixMillis::from_secs(slot * 300));
//! }
//! // Just before eight the forecast knows what comes; the naive one would not.
//! let eve = UnixMillis::from_secs(3 * 86_400 + 8 * 3_600 - 60);
//! forecast.learn(&mut profile, 200.0, eve);
//! assert_eq!(forecast.replicas(&profile, eve), Some(10));
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bound;
use crate::UnixMillis;
use crate::decision::{Stage, Trace};
use crate::inputs::{Inputs, Pod, Reading};

/// Seasons kept per slot.
const SEASONS: usize = 4;
/// No forecast looks further ahead than a day because of slow starts.
const LONGEST_START: u32 = 86_400;
/// Smoothing of level, trend and season (Holt-Winters), and of the scores.
const ALPHA: f64 = 0.3;
const BETA: f64 = 0.01;
const GAMMA: f64 = 0.3;

/// A forecast of one metric's total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The id of the observation whose sum is the demand.
    pub metric: String,
    /// Demand that one replica serves.
    pub per_replica: f64,
    /// Length of a season. Default: a day.
    pub season_seconds: u32,
    /// Slots of a season. Default: 288, five minutes each.
    pub slots: u32,
    /// How far ahead at least. A fleet whose instances are seen to take longer to
    /// become ready is looked ahead for as long as they take. Default: 120.
    pub lead_seconds: u32,
    /// The share of former seasons the profile covers. Default: 0.9.
    pub quantile: f64,
    /// Whether it acts. Default: it only advises.
    pub mode: ForecastMode,
}

/// Whether a forecast acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForecastMode {
    /// It is written into the trace.
    #[default]
    Advise,
    /// It is a floor.
    Act,
}

/// What a forecast has learned. Plain data of bounded size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    slot: Option<i64>,
    sum: f64,
    count: u32,
    last: Option<f64>,
    seasons: Vec<Vec<f64>>,
    level: f64,
    trend: f64,
    seasonal: Vec<f64>,
    learned: u64,
    scores: [f64; 3],
    /// How long instances took to become ready, as seen last.
    #[serde(default)]
    start_seconds: u32,
}

impl Forecast {
    /// A daily season in slots of five minutes; advises only.
    pub fn daily(metric: impl Into<String>, per_replica: f64) -> Self {
        Self {
            metric: metric.into(),
            per_replica,
            season_seconds: 86_400,
            slots: 288,
            lead_seconds: 120,
            quantile: 0.9,
            mode: ForecastMode::Advise,
        }
    }

    /// Lets it act.
    #[must_use]
    pub fn acting(mut self) -> Self {
        self.mode = ForecastMode::Act;
        self
    }

    /// How far ahead it looks, in whole seconds.
    #[must_use]
    pub fn lead(mut self, lead: Duration) -> Self {
        self.lead_seconds = u32::try_from(lead.as_secs()).unwrap_or(u32::MAX);
        self
    }

    /// Takes one observation in.
    pub fn learn(&self, profile: &mut Profile, demand: f64, now: UnixMillis) {
        let slot = self.slot_at(now);
        match profile.slot {
            Some(open) if open == slot => {}
            Some(open) => {
                // Slots without an observation teach nothing.
                let mean = profile.sum / f64::from(profile.count.max(1));
                self.close(profile, open, mean);
                (profile.slot, profile.sum, profile.count) = (Some(slot), 0.0, 0);
            }
            None => profile.slot = Some(slot),
        }
        profile.sum += demand;
        profile.count += 1;
    }

    /// Replicas needed within the lead; `None` while no model beats the naive one.
    #[must_use]
    pub fn replicas(&self, profile: &Profile, now: UnixMillis) -> Option<u32> {
        let model = profile.best(self.slots)?;
        let slot = profile.slot?;
        let lead = self.lead_seconds.max(profile.start_seconds);
        let ahead = self.slot_at(now + Duration::from_secs(lead.into()));
        // What nobody measured since is over all the same.
        let from = slot.max(self.slot_at(now));
        let demand = (from..=ahead)
            .filter_map(|at| self.predict(profile, model, at, at - slot + 1))
            .fold(0.0, f64::max);
        // `as` saturates.
        Some((demand / self.per_replica).ceil() as u32)
    }

    pub(super) fn bound(
        &self,
        profile: &mut Profile,
        inputs: &Inputs,
        now: UnixMillis,
        trace: &mut Trace,
    ) -> Option<Bound> {
        if let Some(Reading::Values(values)) =
            inputs.metrics.get(&self.metric).map(|seen| &seen.reading)
            && !values.is_empty()
        {
            self.learn(
                profile,
                values.iter().map(|value| value.as_f64()).sum(),
                now,
            );
        }
        if let Some(seconds) = start_seconds(&inputs.pods) {
            profile.start_seconds = seconds;
        }
        let replicas = self.replicas(profile, now)?;
        match self.mode {
            ForecastMode::Act => Some(Bound::floor("forecast", replicas, "FormerSeasons")),
            ForecastMode::Advise => {
                let lead = self.lead_seconds.max(profile.start_seconds);
                let numbers = [
                    ("replicas", f64::from(replicas)),
                    ("lead_seconds", f64::from(lead)),
                ];
                let current = inputs.current;
                trace.step(
                    Stage::Note,
                    "forecast",
                    (current, current),
                    "Advises",
                    &numbers,
                );
                None
            }
        }
    }

    fn slot_at(&self, at: UnixMillis) -> i64 {
        let length = i64::from(self.season_seconds) * 1_000 / i64::from(self.slots.max(1));
        at.millis().div_euclid(length.max(1))
    }

    fn index(&self, slot: i64) -> usize {
        usize::try_from(slot.rem_euclid(i64::from(self.slots.max(1)))).unwrap_or(0)
    }

    /// Scores the models by the slot that has ended, then teaches them.
    fn close(&self, profile: &mut Profile, slot: i64, demand: f64) {
        let slots = usize::try_from(self.slots.max(1)).unwrap_or(1);
        profile.seasons.resize_with(slots, Vec::new);
        profile.seasonal.resize(slots, 0.0);
        let weight = 1.0 / slots as f64;
        for model in [Model::Profile, Model::HoltWinters, Model::Naive] {
            if let Some(predicted) = self.predict(profile, model, slot, 1) {
                let score = &mut profile.scores[model as usize];
                *score += weight * ((predicted - demand).abs() - *score);
            }
        }
        let index = self.index(slot);
        let season = &mut profile.seasons[index];
        if season.len() == SEASONS {
            season.remove(0);
        }
        season.push(demand);
        let former = if profile.learned == 0 {
            demand
        } else {
            profile.level + profile.trend
        };
        let level = ALPHA * (demand - profile.seasonal[index]) + (1.0 - ALPHA) * former;
        if profile.learned > 0 {
            profile.trend = BETA * (level - profile.level) + (1.0 - BETA) * profile.trend;
        }
        profile.seasonal[index] =
            GAMMA * (demand - level) + (1.0 - GAMMA) * profile.seasonal[index];
        profile.level = level;
        profile.last = Some(demand);
        profile.learned += 1;
    }

    fn predict(&self, profile: &Profile, model: Model, slot: i64, ahead: i64) -> Option<f64> {
        let index = self.index(slot);
        match model {
            Model::Naive => profile.last,
            Model::Profile => quantile(profile.seasons.get(index)?, self.quantile),
            Model::HoltWinters => {
                let seasonal = *profile.seasonal.get(index)?;
                (profile.learned > u64::from(self.slots))
                    .then_some(profile.level + profile.trend * ahead as f64 + seasonal)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Model {
    Profile = 0,
    HoltWinters = 1,
    Naive = 2,
}

impl Profile {
    /// The better model, if it beats the naive one after at least two seasons:
    /// the first teaches, the second is the backtest.
    fn best(&self, slots: u32) -> Option<Model> {
        let [profile, holt_winters, naive] = self.scores;
        if self.learned < 2 * u64::from(slots) {
            return None;
        }
        let (model, score) = if profile <= holt_winters {
            (Model::Profile, profile)
        } else {
            (Model::HoltWinters, holt_winters)
        };
        (score < naive).then_some(model)
    }
}

/// How long the instances that are ready took to become so: the median, so that one that lost its
/// readiness later and found it again says little. `None` if nobody tells.
fn start_seconds(pods: &[Pod]) -> Option<u32> {
    let ready = pods.iter().filter(|pod| pod.ready == Some(true));
    let mut took: Vec<Duration> = ready
        .filter_map(|pod| Some(pod.ready_changed_at?.since(pod.started_at?)))
        .collect();
    if took.is_empty() {
        return None;
    }
    let middle = took.len() / 2;
    let (_, median, _) = took.select_nth_unstable(middle);
    let seconds = u32::try_from(median.as_secs()).unwrap_or(LONGEST_START);
    Some(seconds.min(LONGEST_START))
}

fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}
