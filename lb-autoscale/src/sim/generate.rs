//! Generated days: the shapes that loads have.

use std::f64::consts::TAU;

use super::random::Random;
use super::trace::Trace;

const DAY: usize = 86_400;

impl Trace {
    /// Six days of different shapes for one seed.
    #[must_use]
    pub fn all(seed: u64) -> Vec<Self> {
        vec![
            Self::diurnal(seed),
            Self::flash_crowds(seed),
            Self::on_off_bursts(seed),
            Self::ramps(seed),
            Self::steps(seed),
            Self::hourly_jobs(seed),
        ]
    }

    /// Quiet nights, busy noons: 300 to 1200 a second.
    #[must_use]
    pub fn diurnal(seed: u64) -> Self {
        let mut random = Random::new(seed);
        noisy("diurnal", &mut random, diurnal_rate)
    }

    /// The same with two crowds that come within 30 seconds and leave over minutes.
    #[must_use]
    pub fn flash_crowds(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let crowds = [0.35, 0.7].map(|share| {
            (
                share * DAY as f64 + random.between(-3_600.0, 3_600.0),
                random.between(2_200.0, 2_600.0),
            )
        });
        noisy("flash crowds", &mut random, |second| {
            let crowd = |(start, height): (f64, f64)| {
                let age = second - start;
                if age < 0.0 {
                    0.0
                } else {
                    height * (age / 30.0).min(1.0) * (-(age - 30.0).max(0.0) / 500.0).exp()
                }
            };
            diurnal_rate(second) + crowds.into_iter().map(crowd).sum::<f64>()
        })
    }

    /// Silence, then a burst of a heavy-tailed height: mean about 110, peaks up to 5000.
    #[must_use]
    pub fn on_off_bursts(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut levels = Vec::with_capacity(DAY);
        while levels.len() < DAY {
            let off = (5.3 + 0.8 * random.normal()).exp() as usize + 1;
            levels.extend(std::iter::repeat_n(20.0, off));
            let on = (4.2 + 0.7 * random.normal()).exp() as usize + 1;
            let height = random.pareto(130.0, 1.3).min(5_000.0);
            levels.extend(std::iter::repeat_n(height, on));
        }
        levels.truncate(DAY);
        noisy("on-off bursts", &mut random, |second| {
            levels[second as usize]
        })
    }

    /// Long climbs and falls between 100 and 3000.
    #[must_use]
    pub fn ramps(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let corners: Vec<f64> = (0..=12)
            .map(|corner| {
                if corner % 2 == 0 {
                    random.between(100.0, 400.0)
                } else {
                    random.between(1_500.0, 3_000.0)
                }
            })
            .collect();
        noisy("ramps", &mut random, |second| {
            let position = second / DAY as f64 * 12.0;
            let (left, share) = (position as usize, position.fract());
            corners[left] * (1.0 - share) + corners[left + 1] * share
        })
    }

    /// A new level every ten minutes to an hour.
    #[must_use]
    pub fn steps(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut levels = Vec::with_capacity(DAY);
        while levels.len() < DAY {
            let length = random.between(600.0, 3_600.0) as usize;
            levels.extend(std::iter::repeat_n(random.between(200.0, 2_500.0), length));
        }
        noisy("steps", &mut random, |second| levels[second as usize])
    }

    /// A calm base, and at every full hour a job of a few minutes.
    #[must_use]
    pub fn hourly_jobs(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let jobs: Vec<(f64, f64)> = (0..24)
            .map(|_| (random.between(120.0, 420.0), random.between(400.0, 1_000.0)))
            .collect();
        noisy("hourly jobs", &mut random, |second| {
            let (length, height) = jobs[(second / 3_600.0) as usize % 24];
            400.0
                + if second % 3_600.0 < length {
                    height
                } else {
                    0.0
                }
        })
    }
}

fn diurnal_rate(second: f64) -> f64 {
    750.0 - 450.0 * (second / DAY as f64 * TAU).cos()
}

/// Adds slow noise (a few percent, over minutes) and the noise of counting.
fn noisy(name: &str, random: &mut Random, rate: impl Fn(f64) -> f64) -> Trace {
    let mut slow = 0.0;
    let arrivals = (0..DAY)
        .map(|second| {
            slow = 0.99 * slow + 0.004 * random.normal();
            let rate = rate(second as f64) * (1.0 + slow);
            (rate + rate.max(0.0).sqrt() * random.normal()).max(0.0)
        })
        .collect();
    Trace {
        name: name.into(),
        arrivals,
    }
}
