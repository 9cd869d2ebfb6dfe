//! Hosts are first-come-first-served queues with several servers and
//! exponential service. Requests arrive as one Poisson stream and land on a
//! gateway at random; each gateway is a [`Pool`] that sees its own requests at
//! once and every host's report only now and then.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use lb_core::{EndpointId, EndpointSpec, Lease, Outcome, PickCx, Pool, report::LoadReport};

use crate::{policies::Rule, scenario::Scenario};

/// Time in system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Quantiles {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            times
                .get((times.len() as f64 * share) as usize)
                .copied()
                .unwrap_or(0.0)
                * 1e3
        };
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }

    pub(crate) fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Self {
            p50_ms: mean(|q| q.p50_ms),
            p99_ms: mean(|q| q.p99_ms),
        }
    }
}

/// Runs one scenario under one policy with one seed.
pub(crate) fn simulate(scenario: &Scenario, rule: &Rule, seed: u64) -> Quantiles {
    let mut model = Model::new(scenario, rule, seed);
    let first = model.random.exponential(model.rate);
    model.plan(first, What::Arrive);
    model.plan(scenario.report_period_s, What::Report);
    while let Some(Reverse(event)) = model.events.pop() {
        model.now = event.at;
        match event.what {
            What::Arrive if event.at < scenario.duration_s => model.arrive(),
            What::Arrive => {}
            What::Done { host } => model.done(host, event.request),
            What::Report => model.report(scenario),
        }
    }
    Quantiles::of(model.times)
}

struct Model {
    random: Random,
    start: Instant,
    now: f64,
    rate: f64,
    hosts: Vec<Host>,
    /// Empty under the omniscient rule.
    gateways: Vec<Pool>,
    events: BinaryHeap<Reverse<Event>>,
    serial: u64,
    times: Vec<f64>,
}

struct Host {
    id: EndpointId,
    slots: usize,
    mean_s: f64,
    hidden: usize,
    busy: usize,
    queue: VecDeque<Request>,
    /// Busy slots times seconds since the last report.
    area: f64,
    since: f64,
}

impl Host {
    fn free(&self) -> usize {
        self.slots - self.hidden
    }

    fn account(&mut self, now: f64) {
        self.area += self.busy as f64 * (now - self.since);
        self.since = now;
    }
}

/// One request and what its gateway holds for it.
struct Request {
    arrived: f64,
    lease: Option<Lease>,
}

enum What {
    Arrive,
    Report,
    Done { host: usize },
}

struct Event {
    at: f64,
    serial: u64,
    what: What,
    request: Option<Request>,
}

impl Model {
    fn new(scenario: &Scenario, rule: &Rule, seed: u64) -> Self {
        let mut hosts = Vec::new();
        for kind in &scenario.hosts {
            for _ in 0..kind.count {
                hosts.push(Host {
                    id: format!("host-{}", hosts.len()).into(),
                    slots: kind.slots,
                    mean_s: kind.mean_service_s,
                    hidden: kind.hidden_busy,
                    busy: 0,
                    queue: VecDeque::new(),
                    area: 0.0,
                    since: 0.0,
                });
            }
        }
        let gateways = match rule {
            Rule::Omniscient => Vec::new(),
            Rule::Pool(policy) => (0..scenario.gateways)
                .map(|_| {
                    let spec =
                        |host: &Host| EndpointSpec::new(&host.id, format!("http://{}", host.id));
                    let pool = Pool::builder("gateway")
                        .endpoints(hosts.iter().map(spec))
                        .policy(policy.clone());
                    pool.build().expect("the configuration is good")
                })
                .collect(),
        };
        let rate = hosts
            .iter()
            .map(|host| host.free() as f64 / host.mean_s)
            .sum::<f64>()
            * scenario.load;
        Self {
            random: Random(seed),
            start: start(),
            now: 0.0,
            rate,
            hosts,
            gateways,
            events: BinaryHeap::new(),
            serial: 0,
            times: Vec::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    fn plan(&mut self, after: f64, what: What) {
        self.plan_for(after, what, None);
    }

    fn plan_for(&mut self, after: f64, what: What, request: Option<Request>) {
        self.serial += 1;
        self.events.push(Reverse(Event {
            at: self.now + after,
            serial: self.serial,
            what,
            request,
        }));
    }

    fn arrive(&mut self) {
        let next = self.random.exponential(self.rate);
        self.plan(next, What::Arrive);
        let (host, lease) = self.choose();
        let request = Request {
            arrived: self.now,
            lease,
        };
        if self.hosts[host].busy < self.hosts[host].free() {
            self.serve(host, request);
        } else {
            self.hosts[host].queue.push_back(request);
        }
    }

    fn choose(&mut self) -> (usize, Option<Lease>) {
        if self.gateways.is_empty() {
            return (self.shortest(), None);
        }
        let gateway = self.random.below(self.gateways.len());
        let cx = PickCx::new(self.instant(), self.random.next());
        let lease = self.gateways[gateway]
            .pick(&cx)
            .expect("every host is available");
        let host = self
            .hosts
            .iter()
            .position(|host| host.id == *lease.endpoint().id());
        (
            host.expect("hosts and endpoints have the same names"),
            Some(lease),
        )
    }

    /// Join the shortest queue, by expected time, ties at random.
    fn shortest(&mut self) -> usize {
        let mut best = (f64::INFINITY, 0.0, 0);
        for (index, host) in self.hosts.iter().enumerate() {
            let waiting = (host.busy + host.queue.len() + 1) as f64;
            let score = waiting * host.mean_s / host.free() as f64;
            let tie = self.random.unit();
            if (score, tie) < (best.0, best.1) {
                best = (score, tie, index);
            }
        }
        best.2
    }

    fn serve(&mut self, index: usize, request: Request) {
        let now = self.now;
        let host = &mut self.hosts[index];
        host.account(now);
        host.busy += 1;
        let takes = self.random.exponential(1.0 / host.mean_s);
        self.plan_for(takes, What::Done { host: index }, Some(request));
    }

    fn done(&mut self, index: usize, request: Option<Request>) {
        let now = self.instant();
        if let Some(request) = request {
            self.times.push(self.now - request.arrived);
            if let Some(mut lease) = request.lease {
                lease.record(Outcome::Success, now);
            }
        }
        let at = self.now;
        let host = &mut self.hosts[index];
        host.account(at);
        host.busy -= 1;
        if let Some(next) = host.queue.pop_front() {
            self.serve(index, next);
        }
    }

    fn report(&mut self, scenario: &Scenario) {
        let (now, instant) = (self.now, self.instant());
        for host in &mut self.hosts {
            host.account(now);
            let busy = host.area / scenario.report_period_s + host.hidden as f64;
            let active = (host.busy + host.queue.len() + host.hidden) as f64;
            host.area = 0.0;
            let report = LoadReport {
                cpu_utilization: Some((busy / host.slots as f64).min(1.0)),
                ..LoadReport::default()
            }
            .named_metric("active_work", active);
            for gateway in &self.gateways {
                gateway.report(&host.id, &report, instant);
            }
        }
        if now < scenario.duration_s {
            self.plan(scenario.report_period_s, What::Report);
        }
    }
}

/// The beginning of the model's time.
fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "time has to begin somewhere; it runs by itself from here"
    )]
    Instant::now()
}

// === order of events ===

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at
            .total_cmp(&other.at)
            .then(self.serial.cmp(&other.serial))
    }
}

/// A seeded stream of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }
}
