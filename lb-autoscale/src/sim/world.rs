//! The queue, the instances, and the score.

use std::collections::VecDeque;

use super::trace::Trace;

/// The world that autoscalers are put into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct World {
    /// Requests a second that a ready instance serves. Default: 100.
    pub rate_per_instance: f64,
    /// Seconds from asking for an instance until it serves. Default: 60.
    pub start_seconds: u32,
    /// Seconds a stopped instance costs while it drains. Default: 10.
    pub drain_seconds: u32,
    /// A longer wait misses the objective. Default: 0.5.
    pub allowed_wait_seconds: f64,
    /// The fewest and the most instances. Default: 2 and 100.
    pub instances: (u32, u32),
}

impl Default for World {
    fn default() -> Self {
        Self {
            rate_per_instance: 100.0,
            start_seconds: 60,
            drain_seconds: 10,
            allowed_wait_seconds: 0.5,
            instances: (2, 100),
        }
    }
}

/// What an autoscaler may see, once a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Seconds since the start.
    pub second: i64,
    /// Instances asked for.
    pub replicas: u32,
    /// Instances that serve.
    pub ready: u32,
    /// Requests that arrived in the last second.
    pub arrivals: f64,
    /// Requests that were served in it.
    pub served: f64,
    /// Requests that wait.
    pub backlog: f64,
    /// Share of the ready instances' capacity that was used.
    pub utilization: f64,
}

/// An autoscaler in the simulator.
pub trait Contestant {
    /// Replicas wanted from now on; called every second.
    fn decide(&mut self, view: &View) -> u32;
}

/// How a contestant did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Hours that instances were paid for.
    pub instance_hours: f64,
    /// Requests that waited longer than allowed, in percent.
    pub slo_miss_percent: f64,
    /// 99 of 100 requests waited at most this long.
    pub p99_wait_ms: f64,
    /// How often the count was changed.
    pub changes: u32,
}

/// One second of a run, for plots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// What arrived.
    pub arrivals: f64,
    /// Instances asked for.
    pub replicas: u32,
    /// Instances that serve.
    pub ready: u32,
    /// The wait of what arrived.
    pub wait_seconds: f64,
}

/// Runs `contestant` through `trace`.
pub fn simulate(world: &World, trace: &Trace, contestant: &mut dyn Contestant) -> Outcome {
    simulate_with(world, trace, contestant, |_| {})
}

/// The same, showing every second to `watch`.
pub fn simulate_with(
    world: &World,
    trace: &Trace,
    contestant: &mut dyn Contestant,
    mut watch: impl FnMut(Point),
) -> Outcome {
    let mut fleet = Fleet::new(world);
    let mut tally = Tally::default();
    let mut backlog = 0.0_f64;
    for (second, &arrivals) in (0_i64..).zip(&trace.arrivals) {
        fleet.advance(second);
        let capacity = f64::from(fleet.ready) * world.rate_per_instance;
        let wait_seconds = if capacity > 0.0 {
            backlog / capacity
        } else {
            // Nobody serves: whoever arrives waits for a start at least.
            f64::from(world.start_seconds)
        };
        let served = (backlog + arrivals).min(capacity);
        backlog += arrivals - served;
        tally.second(world, arrivals, wait_seconds, fleet.paid());
        let view = View {
            second,
            replicas: fleet.replicas,
            ready: fleet.ready,
            arrivals,
            served,
            backlog,
            utilization: if capacity > 0.0 {
                served / capacity
            } else {
                0.0
            },
        };
        let wanted = contestant
            .decide(&view)
            .clamp(world.instances.0, world.instances.1);
        watch(Point {
            arrivals,
            replicas: fleet.replicas,
            ready: fleet.ready,
            wait_seconds,
        });
        if fleet.scale_to(wanted, second) {
            tally.changes += 1;
        }
    }
    tally.outcome()
}

/// Instances: ready, starting (with the second they serve), draining (until).
struct Fleet {
    replicas: u32,
    ready: u32,
    starting: VecDeque<(i64, u32)>,
    draining: VecDeque<(i64, u32)>,
    start_seconds: i64,
    drain_seconds: i64,
}

impl Fleet {
    fn new(world: &World) -> Self {
        Self {
            replicas: world.instances.0,
            ready: world.instances.0,
            starting: VecDeque::new(),
            draining: VecDeque::new(),
            start_seconds: world.start_seconds.into(),
            drain_seconds: world.drain_seconds.into(),
        }
    }

    fn advance(&mut self, now: i64) {
        while let Some((_, count)) = self.starting.pop_front_if(|(at, _)| *at <= now) {
            self.ready += count;
        }
        while self
            .draining
            .pop_front_if(|(until, _)| *until <= now)
            .is_some()
        {}
    }

    fn paid(&self) -> u32 {
        self.replicas + self.draining.iter().map(|(_, count)| count).sum::<u32>()
    }

    /// Grows by starting, shrinks by cancelling the latest starts first.
    fn scale_to(&mut self, wanted: u32, now: i64) -> bool {
        if wanted == self.replicas {
            return false;
        }
        if wanted > self.replicas {
            self.starting
                .push_back((now + self.start_seconds, wanted - self.replicas));
        } else {
            let mut surplus = self.replicas - wanted;
            while let Some((_, count)) = self.starting.back_mut().filter(|_| surplus > 0) {
                let cancelled = surplus.min(*count);
                *count -= cancelled;
                surplus -= cancelled;
                if *count == 0 {
                    self.starting.pop_back();
                }
            }
            self.ready -= surplus;
            if surplus > 0 {
                self.draining.push_back((now + self.drain_seconds, surplus));
            }
        }
        self.replicas = wanted;
        true
    }
}

/// Waits are counted in bins of a fiftieth of a decade from 1 ms.
const BINS: usize = 400;

struct Tally {
    paid_seconds: u64,
    requests: f64,
    missed: f64,
    changes: u32,
    waits: Vec<f64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            paid_seconds: 0,
            requests: 0.0,
            missed: 0.0,
            changes: 0,
            waits: vec![0.0; BINS],
        }
    }
}

impl Tally {
    fn second(&mut self, world: &World, arrivals: f64, wait_seconds: f64, paid: u32) {
        self.paid_seconds += u64::from(paid);
        self.requests += arrivals;
        if wait_seconds > world.allowed_wait_seconds {
            self.missed += arrivals;
        }
        // `as` maps waits below the first bin to it.
        let bin = ((wait_seconds * 1_000.0).max(1.0).log10() * 50.0).ceil() as usize;
        self.waits[bin.min(BINS - 1)] += arrivals;
    }

    fn outcome(&self) -> Outcome {
        let requests = self.requests.max(f64::MIN_POSITIVE);
        let mut below = 0.0;
        let bin = self.waits.iter().position(|count| {
            below += count;
            below >= 0.99 * self.requests
        });
        let p99_wait_ms = match bin.unwrap_or(0) {
            0 => 0.0,
            bin => 10_f64.powf(bin as f64 / 50.0),
        };
        Outcome {
            instance_hours: self.paid_seconds as f64 / 3_600.0,
            slo_miss_percent: 100.0 * self.missed / requests,
            p99_wait_ms,
            changes: self.changes,
        }
    }
}
