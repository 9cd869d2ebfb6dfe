//! What users bring along may panic: it costs one request or one turn, never the process,
//! a task, or a count.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use lb_core::breaker::CircuitBreaker;
use lb_core::candidates::Candidates;
use lb_core::outlier::OutlierDetection;
use lb_core::pick::Picker;
use lb_core::policy::{Policy, PolicyConfig};
use lb_core::{Cause, EndpointSpec, Outcome, PickCx, Pool};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};

/// Panics while it is told to.
#[derive(Clone, Debug, Default)]
struct Mood(Arc<AtomicBool>);

impl Mood {
    fn set(&self, angry: bool) {
        self.0.store(angry, Ordering::SeqCst);
    }

    fn act(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "in a bad mood");
    }
}

/// The first endpoint that is available, in a good mood.
#[derive(Debug)]
struct Moody(Mood);

impl Policy for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn build(&self, _: &Candidates, _: u64) -> Arc<dyn Picker> {
        Arc::new(Self(self.0.clone()))
    }
}

impl Picker for Moody {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        self.0.act();
        candidates.any(cx)
    }

    fn score(&self, _: &Candidates, _: &PickCx<'_>, _: usize) -> Option<f64> {
        self.0.act();
        Some(1.0)
    }
}

/// A recorder whose every handle may panic.
struct Recording(Mood);

impl CounterFn for Mood {
    fn increment(&self, _: u64) {
        self.act();
    }

    fn absolute(&self, _: u64) {
        self.act();
    }
}

impl GaugeFn for Mood {
    fn increment(&self, _: f64) {
        self.act();
    }

    fn decrement(&self, _: f64) {
        self.act();
    }

    fn set(&self, _: f64) {
        self.act();
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.0.clone()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.0.clone()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Lets tasks run for so long in paused time; the time then.
async fn pass(time: Duration) -> Instant {
    for _ in 0..time.as_millis() / 100 {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    now()
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place of this test")]
    tokio::time::Instant::now().into_std()
}

fn urls() -> [&'static str; 3] {
    [
        "http://10.0.0.1:80",
        "http://10.0.0.2:80",
        "http://10.0.0.3:80",
    ]
}

#[test]
fn a_panicking_score_costs_one_pick_and_no_count() {
    let mood = Mood::default();
    let policy = PolicyConfig::Custom(Arc::new(Moody(mood.clone())));
    let pool = Pool::builder("p")
        .endpoints(urls())
        .policy(policy)
        .build()
        .unwrap();
    let cx = PickCx::new(now(), 7);
    mood.set(true);
    let panics = |act: &dyn Fn()| catch_unwind(AssertUnwindSafe(act)).is_err();
    assert!(panics(&|| drop(pool.pick(&cx))));
    assert!(panics(&|| drop(pool.explain(&cx))));
    mood.set(false);
    assert_eq!(
        pool.status()
            .endpoints
            .iter()
            .map(|it| it.in_flight)
            .sum::<u32>(),
        0
    );
    assert!(pool.pick(&cx).is_ok());
    assert!(pool.set_weight(&urls()[0].into(), 2), "changes go on");
    assert_eq!(pool.explain(&cx).opinions.len(), 3);
}

fn fail(pool: &Pool, id: &str, now: Instant) {
    for _ in 0..5 {
        if let Ok(mut lease) = pool.pick_bound(&id.into(), None, &PickCx::new(now, 1)) {
            lease.record(Outcome::Failure, now);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panicking_metrics_cost_a_turn_and_neither_verdicts_nor_tasks() {
    let mood = Mood::default();
    // For this thread, which runs all tasks of this test.
    let recorder = Recording(mood.clone());
    let _installed = metrics::set_default_local_recorder(&recorder);
    let breaker = CircuitBreaker::default().open_for(Duration::from_secs(40));
    let pool = Pool::builder("p")
        .endpoints(urls())
        .outlier(OutlierDetection::default())
        .breaker(breaker)
        .build()
        .unwrap();
    let has = |index: usize, cause| pool.endpoints()[index].stats().has(cause);
    mood.set(true);
    fail(&pool, urls()[1], pass(Duration::from_secs(1)).await);
    assert!(
        has(1, Cause::Ejected) && has(1, Cause::CircuitOpen),
        "it is out"
    );
    pass(Duration::from_secs(32)).await;
    assert!(!has(1, Cause::Ejected), "the detector's task goes on");
    let now = pass(Duration::from_secs(15)).await;
    // The one trial, whose end nobody can be told.
    let trial = (0..9).find_map(|random| {
        let lease = pool.pick(&PickCx::new(now, random)).ok()?;
        (lease.endpoint().id().as_str() == urls()[1]).then_some(lease)
    });
    trial.unwrap().record(Outcome::Success, now);
    assert!(!has(1, Cause::CircuitOpen), "and the circuit closes");
    mood.set(false);
    assert!(
        pool.endpoints()
            .iter()
            .all(|it| it.stats().in_flight() == 0)
    );
    fail(&pool, urls()[2], pass(Duration::from_secs(1)).await);
    assert!(has(2, Cause::Ejected));
}

/// Sets as they are sent, mapped by something that may panic.
struct Sets(Mood, tokio::sync::mpsc::Receiver<Vec<EndpointSpec>>);

impl futures_core::Stream for Sets {
    type Item = Vec<EndpointSpec>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let set = ready!(self.1.poll_recv(cx));
        self.0.act();
        Poll::Ready(set)
    }
}

#[tokio::test]
async fn a_panic_about_a_discovered_set_does_not_end_the_discovery() {
    let (metrics, stream) = (Mood::default(), Mood::default());
    let recorder = Recording(metrics.clone());
    let _installed = metrics::set_default_local_recorder(&recorder);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let sets = Sets(stream.clone(), receiver);
    let pool = Pool::builder("p").discover(sets).build().unwrap();
    let members = async |count: usize| {
        let set = urls().into_iter().take(count).map(EndpointSpec::from);
        sender.send(set.collect()).await.expect("the pool listens");
        // One thread: the task has its turn, and there is nothing that it waits for.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        pool.endpoints().len()
    };
    for mood in [metrics, stream] {
        mood.set(true);
        members(2).await;
        mood.set(false);
        assert_eq!(members(3).await, 3);
        assert_eq!(members(1).await, 1);
    }
}
