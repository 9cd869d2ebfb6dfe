//! How many requests at once are right? Pure: samples go in, a limit comes out.

use std::time::{Duration, Instant};

/// One finished request, as a limit sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sample {
    /// From the call to the response's head.
    pub latency: Duration,
    /// Requests in flight when it ended, itself included.
    pub in_flight: u32,
    /// It ended in an error, or in 429, 503 or 504.
    pub overloaded: bool,
    /// When it ended.
    pub now: Instant,
}

impl Sample {
    /// A request that went well.
    #[must_use]
    pub fn new(now: Instant, latency: Duration, in_flight: u32) -> Self {
        Self {
            latency,
            in_flight,
            overloaded: false,
            now,
        }
    }

    /// A request that was refused, or for which there was no time.
    #[must_use]
    pub fn overloaded(mut self) -> Self {
        self.overloaded = true;
        self
    }
}

/// A limit that learns from what happens to requests.
pub trait Algorithm: std::fmt::Debug + Send + 'static {
    /// The limit as it is now, at least 1.
    fn limit(&self) -> u32;

    /// Learns from one finished request.
    fn observe(&mut self, sample: Sample);
}

/// Always the same limit; zero counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed(pub u32);

impl Algorithm for Fixed {
    fn limit(&self) -> u32 {
        self.0.max(1)
    }

    fn observe(&mut self, _: Sample) {}
}

/// Additive increase, multiplicative decrease, as TCP does it (Chiu and Jain, 1989).
///
/// Each full round of good requests at the limit raises it by one; an overloaded
/// one lowers it to nine tenths, at most once per round trip, because all requests
/// of one overload tell of the same overload.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use lb_core::limit::{Aimd, Algorithm, Sample};
///
/// # let now = Instant::now();
/// let mut limit = Aimd::new(1..=200).starting_at(10);
/// limit.observe(Sample::new(now, Duration::from_millis(20), 10).overloaded());
/// assert_eq!(limit.limit(), 9);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Aimd {
    bounds: Bounds,
    limit: f64,
    last_decrease: Option<Instant>,
}

const AIMD_BACKOFF: f64 = 0.9;

impl Aimd {
    /// A limit within `bounds`; an empty range is its lower end. Starts at 20.
    #[must_use]
    pub fn new(bounds: std::ops::RangeInclusive<u32>) -> Self {
        let bounds = Bounds::new(bounds);
        Self {
            bounds,
            limit: bounds.clamp(DEFAULT_START),
            last_decrease: None,
        }
    }

    /// The limit before anything was learnt. Default: 20.
    #[must_use]
    pub fn starting_at(mut self, limit: u32) -> Self {
        self.limit = self.bounds.clamp(f64::from(limit));
        self
    }

    /// The overload was noticed already: its requests left before the last decrease.
    fn is_known(&self, sample: &Sample) -> bool {
        self.last_decrease
            .is_some_and(|last| sample.now < last + sample.latency)
    }
}

impl Algorithm for Aimd {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn observe(&mut self, sample: Sample) {
        if sample.overloaded {
            if !self.is_known(&sample) {
                self.limit = self.bounds.clamp(self.limit * AIMD_BACKOFF);
                self.last_decrease = Some(sample.now);
            }
        } else if is_used(self.limit, sample.in_flight) {
            self.limit = self.bounds.clamp(self.limit + 1.0 / self.limit);
        }
    }
}

/// Follows the response time: while requests take longer than they did over the
/// long run, fewer are let in.
///
/// This is the idea of Gradient2 in Netflix's concurrency-limits: the limit times
/// the ratio of long-run to present latency (within 0.5 to 1), plus room for a queue
/// of its square root, smoothed. An overloaded request counts as a ratio of 0.5.
/// While less than half of a limit is used it neither grows nor falls, whatever requests
/// take: only an overloaded one moves it.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use lb_core::limit::{Algorithm, Gradient, Sample};
///
/// # let now = Instant::now();
/// let mut limit = Gradient::new(1..=200).starting_at(50);
/// for _ in 0..100 {
///     limit.observe(Sample::new(now, Duration::from_millis(10), 50));
/// }
/// let calm = limit.limit();
/// for _ in 0..20 {
///     limit.observe(Sample::new(now, Duration::from_millis(80), calm));
/// }
/// assert!(limit.limit() < calm);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    bounds: Bounds,
    limit: f64,
    /// Seconds, over the long run.
    usual: Option<f64>,
}

/// Latency may rise by half before the limit falls.
const TOLERANCE: f64 = 1.5;
/// Share of a new estimate of the limit.
const SMOOTHING: f64 = 0.2;
/// Share of a new sample of the latency: some 600 samples are the long run.
const LONG_RUN: f64 = 1.0 / 300.0;
/// After long overload the usual latency is forgotten this fast.
const FORGET: f64 = 0.95;

impl Gradient {
    /// A limit within `bounds`; an empty range is its lower end. Starts at 20.
    #[must_use]
    pub fn new(bounds: std::ops::RangeInclusive<u32>) -> Self {
        let bounds = Bounds::new(bounds);
        Self {
            bounds,
            limit: bounds.clamp(DEFAULT_START),
            usual: None,
        }
    }

    /// The limit before anything was learnt. Default: 20.
    #[must_use]
    pub fn starting_at(mut self, limit: u32) -> Self {
        self.limit = self.bounds.clamp(f64::from(limit));
        self
    }

    /// The long-run latency with this sample mixed in.
    fn learn(&mut self, latency: f64) -> f64 {
        let mut usual = self.usual.unwrap_or(latency);
        usual += (latency - usual) * LONG_RUN;
        if usual > 2.0 * latency {
            usual *= FORGET;
        }
        self.usual = Some(usual);
        usual
    }
}

impl Algorithm for Gradient {
    fn limit(&self) -> u32 {
        self.limit as u32
    }

    fn observe(&mut self, sample: Sample) {
        let wanted = if sample.overloaded {
            self.limit * 0.5
        } else {
            let latency = sample.latency.as_secs_f64().max(1e-9);
            let ratio = (TOLERANCE * self.learn(latency) / latency).clamp(0.5, 1.0);
            if !is_used(self.limit, sample.in_flight) {
                return;
            }
            self.limit * ratio + self.limit.sqrt()
        };
        self.limit = self
            .bounds
            .clamp(self.limit + (wanted - self.limit) * SMOOTHING);
    }
}

const DEFAULT_START: f64 = 20.0;

/// A limit of which less than half is used says nothing about its top.
fn is_used(limit: f64, in_flight: u32) -> bool {
    f64::from(in_flight) * 2.0 >= limit
}

/// Within which the limit stays; both at least 1.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bounds {
    low: f64,
    high: f64,
}

impl Bounds {
    fn new(range: std::ops::RangeInclusive<u32>) -> Self {
        let low = f64::from(*range.start()).max(1.0);
        Self {
            low,
            high: f64::from(*range.end()).max(low),
        }
    }

    fn clamp(self, limit: f64) -> f64 {
        limit.clamp(self.low, self.high)
    }
}
