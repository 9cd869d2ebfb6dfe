//! Laws of the scheduler, over random arrivals in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lb_gpu::fair::{Demand, FairShare, Scheduler, Ticket};
use proptest::prelude::*;

const LONGEST: u64 = 6;
const RESERVE_AFTER: u64 = 4;
const SLOTS: u32 = 4;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The one clock of this file: everything else is an offset from it.
fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    Instant::now()
}

#[derive(Clone, Debug)]
struct Job {
    tenant: usize,
    arrives: u64,
    slots: u32,
    memory: u64,
    seconds: u64,
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (0..NAMES.len(), 0..60u64, 1..=SLOTS, 0..=8u64, 1..=LONGEST).prop_map(
        |(tenant, arrives, slots, memory, seconds)| Job {
            tenant,
            arrives,
            slots,
            memory,
            seconds,
        },
    );
    proptest::collection::vec(job, 1..120)
}

fn weights() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec((1..=8u32).prop_map(f64::from), NAMES.len())
}

/// What happened to each job, by index.
#[derive(Debug, Default)]
struct History {
    /// When each job was first seen at the head of the whole line.
    first: BTreeMap<usize, u64>,
    /// When each job started, in order of starting.
    started: Vec<(usize, u64)>,
    /// After every event: which tenants have jobs waiting, and what each was
    /// granted so far in seconds of dominant share.
    after: Vec<(BTreeSet<usize>, [f64; NAMES.len()])>,
}

/// Runs jobs through a scheduler, second by second; estimates are exact.
fn simulate(mut scheduler: Scheduler, jobs: &[Job], memory: u64) -> History {
    let start = start();
    let mut history = History::default();
    let mut granted = [0.0; NAMES.len()];
    let mut by_ticket: BTreeMap<Ticket, usize> = BTreeMap::new();
    let mut waiting: BTreeSet<usize> = BTreeSet::new();
    let mut ends: Vec<(u64, Ticket)> = Vec::new();
    for second in 0.. {
        let now = start + Duration::from_secs(second);
        ends.retain(|(end, ticket)| *end > second || !scheduler.release(*ticket, now));
        for (index, job) in jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.arrives == second)
        {
            let demand = Demand::slots(job.slots)
                .memory_bytes(job.memory)
                .expected(Duration::from_secs(job.seconds));
            let ticket = scheduler
                .request(NAMES[job.tenant], demand, now)
                .expect("it fits");
            by_ticket.insert(ticket, index);
            waiting.insert(index);
        }
        while let Some(grant) = scheduler.next_grant(now) {
            let index = by_ticket[&grant.ticket];
            let job = &jobs[index];
            let share =
                (f64::from(job.slots) / f64::from(SLOTS)).max(job.memory as f64 / memory as f64);
            granted[job.tenant] += share * job.seconds as f64;
            waiting.remove(&index);
            history.started.push((index, second));
            ends.push((second + job.seconds, grant.ticket));
            assert!(scheduler.slots().0 <= SLOTS);
        }
        let head = scheduler
            .explain_all(now)
            .into_iter()
            .find(|it| it.position == Some(0));
        if let Some(tenant) = head.and_then(|it| NAMES.iter().position(|name| *name == it.tenant)) {
            let oldest = waiting
                .iter()
                .filter(|index| jobs[**index].tenant == tenant);
            let next = oldest.min_by_key(|index| (jobs[**index].arrives, **index));
            history
                .first
                .entry(*next.expect("the head waits"))
                .or_insert(second);
        }
        let backlogged = waiting.iter().map(|index| jobs[*index].tenant).collect();
        history.after.push((backlogged, granted));
        if waiting.is_empty() && ends.is_empty() && jobs.iter().all(|job| job.arrives <= second) {
            assert_eq!((scheduler.running(), scheduler.waiting()), (0, 0));
            break;
        }
    }
    history
}

fn scheduler(weights: &[f64], memory: u64, reserve_after: u64) -> Scheduler {
    let mut builder = FairShare::builder()
        .slots(SLOTS)
        .memory_bytes(memory)
        .reserve_after(Duration::from_secs(reserve_after));
    for (name, weight) in NAMES.iter().zip(weights) {
        builder = builder.tenant(*name, *weight);
    }
    builder.build_scheduler().expect("these settings work")
}

/// The largest difference in weighted service that built up between two tenants
/// over any time in which both had jobs waiting.
fn largest_unfairness(history: &History, weights: &[f64], a: usize, b: usize) -> f64 {
    let (mut low, mut high, mut worst) = (f64::INFINITY, f64::NEG_INFINITY, 0.0_f64);
    for (backlogged, granted) in &history.after {
        if !(backlogged.contains(&a) && backlogged.contains(&b)) {
            (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
            continue;
        }
        let difference = granted[a] / weights[a] - granted[b] / weights[b];
        (low, high) = (low.min(difference), high.max(difference));
        worst = worst.max(high - low);
    }
    worst
}

fn largest_cost(jobs: &[Job], memory: u64) -> f64 {
    let cost = |job: &Job| {
        let share =
            (f64::from(job.slots) / f64::from(SLOTS)).max(job.memory as f64 / memory as f64);
        share * job.seconds as f64
    };
    jobs.iter().map(cost).fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// While two tenants both wait, what they were granted differs by no more
    /// than one largest cost of each, divided by their weights.
    #[test]
    fn service_stays_within_two_largest_costs(jobs in jobs(), weights in weights()) {
        let history = simulate(scheduler(&weights, 8, 0), &jobs, 8);
        let largest = largest_cost(&jobs, 8);
        for a in 0..NAMES.len() {
            for b in 0..a {
                let bound = largest / weights[a] + largest / weights[b];
                let found = largest_unfairness(&history, &weights, a, b);
                prop_assert!(found <= bound + 1e-9, "{found} > {bound}");
                prop_assert!(bound <= 2.0 * largest);
            }
        }
    }

    /// Whoever is first in line starts after `reserve_after` and the longest
    /// holding time at the latest, whatever it needs and whoever else comes.
    #[test]
    fn nobody_who_is_first_waits_longer_than_promised(jobs in jobs(), weights in weights()) {
        let history = simulate(scheduler(&weights, 8, RESERVE_AFTER), &jobs, 8);
        for (index, began) in &history.started {
            if let Some(first) = history.first.get(index) {
                let waited = began - first;
                prop_assert!(waited <= RESERVE_AFTER + LONGEST, "job {index} waited {waited} s");
            }
        }
    }

    /// Every job starts once, and everything is given back in the end.
    #[test]
    fn every_job_starts_exactly_once(jobs in jobs(), weights in weights(), patience in 0..20u64) {
        let history = simulate(scheduler(&weights, 8, patience), &jobs, 8);
        let mut started: Vec<_> = history.started.iter().map(|(index, _)| *index).collect();
        started.sort_unstable();
        prop_assert_eq!(started, (0..jobs.len()).collect::<Vec<_>>());
    }
}

/// One thing that can happen to a scheduler.
#[derive(Clone, Debug)]
enum Step {
    Request {
        tenant: usize,
        slots: u32,
        memory: u64,
        on: Option<bool>,
        priority: i32,
    },
    Cancel(usize),
    Release(usize),
    Fit {
        first: bool,
        fit: bool,
    },
    Memory {
        first: bool,
        used: u64,
    },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let request = (
        0..NAMES.len(),
        1..=3u32,
        0..=10u64,
        any::<Option<bool>>(),
        -1..=1i32,
    )
        .prop_map(|(tenant, slots, memory, on, priority)| Step::Request {
            tenant,
            slots,
            memory,
            on,
            priority,
        });
    prop_oneof![
        4 => request,
        1 => (0..50usize).prop_map(Step::Cancel),
        3 => (0..50usize).prop_map(Step::Release),
        1 => any::<(bool, bool)>().prop_map(|(first, fit)| Step::Fit { first, fit }),
        1 => (any::<bool>(), 0..=12u64).prop_map(|(first, used)| Step::Memory { first, used }),
        1 => (0..30u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens in whatever order, no slot is given twice and none is lost.
    #[test]
    fn slots_are_conserved(steps in proptest::collection::vec(step(), 1..150)) {
        let mut now = start();
        let mut builder = FairShare::builder()
            .device("x", 3, Some(10))
            .device("y", 3, Some(10))
            .reserve_after(Duration::from_secs(5));
        for name in NAMES {
            builder = builder.tenant(name, 1.0);
        }
        let mut scheduler = builder.build_scheduler().expect("these settings work");
        let device = |first: bool| if first { "x" } else { "y" }.into();
        let (mut waiting, mut running) = (Vec::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Request { tenant, slots, memory, on, priority } => {
                    let mut demand = Demand::slots(slots).memory_bytes(memory).priority(priority);
                    if let Some(first) = on {
                        demand = demand.on(if first { "x" } else { "y" });
                    }
                    let ticket = scheduler.request(NAMES[tenant], demand, now);
                    waiting.push((ticket.expect("it could fit"), slots));
                }
                Step::Cancel(nth) if !waiting.is_empty() => {
                    let (ticket, _) = waiting.swap_remove(nth % waiting.len());
                    prop_assert!(scheduler.cancel(ticket, now));
                }
                Step::Release(nth) if !running.is_empty() => {
                    let ticket = *running.keys().nth(nth % running.len()).expect("not empty");
                    running.remove(&ticket);
                    prop_assert!(scheduler.release(ticket, now));
                }
                Step::Fit { first, fit } => drop(scheduler.set_fit(&device(first), fit)),
                Step::Memory { first, used } => scheduler.observe_memory(&device(first), used),
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
                Step::Cancel(_) | Step::Release(_) => {}
            }
            while let Some(grant) = scheduler.next_grant(now) {
                let at = waiting.iter().position(|(ticket, _)| *ticket == grant.ticket);
                let (ticket, slots) = waiting.swap_remove(at.expect("granted once, and only if waiting"));
                running.insert(ticket, slots);
            }
            prop_assert_eq!((scheduler.waiting(), scheduler.running()), (waiting.len(), running.len()));
            prop_assert_eq!(scheduler.slots().0, running.values().sum::<u32>());
            prop_assert!(scheduler.slots().0 <= 6);
        }
        for ticket in running.into_keys() {
            scheduler.release(ticket, now);
        }
        for (ticket, _) in waiting {
            scheduler.cancel(ticket, now);
        }
        prop_assert_eq!((scheduler.waiting(), scheduler.running(), scheduler.slots().0), (0, 0, 0));
    }
}

/// Jain's fairness index: 1 when all are equal, 1/n when one has everything.
fn jain(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Ten tenants with different weights and very different jobs, always hungry;
/// nobody knows how long a job will take. Returns each tenant's service per weight.
fn service_per_weight(jobs: usize, weighted: bool) -> Vec<f64> {
    let start = start();
    let weight = |tenant: usize| (tenant % 4 + 1) as f64;
    let mut builder = FairShare::builder().slots(8).reserve_after(Duration::ZERO);
    for tenant in 0..10 {
        builder = builder.tenant(
            format!("t{tenant}"),
            if weighted { weight(tenant) } else { 1.0 },
        );
    }
    let mut scheduler = builder.build_scheduler().expect("these settings work");
    let mut random = fastrand::Rng::with_seed(7);
    let mut running: Vec<(u64, Ticket, usize, f64)> = Vec::new();
    let mut owner = BTreeMap::new();
    let mut service = [0.0; 10];
    let (mut finished, mut now_ms) = (0, 0);
    for tenant in 0..10 {
        let ticket = scheduler.request(&format!("t{tenant}"), Demand::slots(1), start);
        owner.insert(ticket.expect("it fits"), tenant);
    }
    while finished < jobs {
        let now = start + Duration::from_millis(now_ms);
        while let Some(grant) = scheduler.next_grant(now) {
            let tenant = owner[&grant.ticket];
            // Tenants differ in length by a factor of ten, jobs of one by three.
            let length = (200 * (tenant as u64 + 1)) * random.u64(50..150) / 100;
            running.push((now_ms + length, grant.ticket, tenant, length as f64));
            let slots = Demand::slots(1);
            let ticket = scheduler
                .request(&format!("t{tenant}"), slots, now)
                .expect("it fits");
            owner.insert(ticket, tenant);
        }
        running.sort_unstable_by_key(|(end, ..)| std::cmp::Reverse(*end));
        let (end, ticket, tenant, length) = running.pop().expect("something always runs");
        now_ms = end;
        scheduler.release(ticket, start + Duration::from_millis(now_ms));
        service[tenant] += length;
        finished += 1;
    }
    service
        .iter()
        .enumerate()
        .map(|(tenant, sum)| sum / weight(tenant))
        .collect()
}

#[test]
fn ten_thousand_jobs_of_unknown_length_are_shared_out_fairly() {
    let index = jain(&service_per_weight(10_000, true));
    assert!(index >= 0.99, "{index}");
}

#[test]
fn the_same_jobs_without_weights_are_not() {
    let control = jain(&service_per_weight(10_000, false));
    assert!(control < 0.9, "{control}: this judge would accept anything");
}
