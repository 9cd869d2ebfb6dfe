//! The loop under failing sources and actuators, in paused time.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_autoscale::actuator::{ActuatorError, DryRun};
use lb_autoscale::decision::Reason;
use lb_autoscale::policy::{Cooldown, Override, OverrideKind, ScaleToZero};
use lb_autoscale::source::{Fleet, Gauges, from_fn};
use lb_autoscale::spec::{Metric, Policy, ScalingRules};
use lb_autoscale::{Actuator, Autoscaler, Decision, Observation, Spec, UnixMillis};

/// A clock that follows tokio's paused time.
fn paused_clock() -> impl Fn() -> UnixMillis + Send + Sync {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests' one clock: tokio's, paused"
    )]
    let now = tokio::time::Instant::now;
    let start = now();
    move || UnixMillis::from_secs(1_000_000) + (now() - start)
}

fn spec() -> Spec {
    Spec::builder("simulation")
        .replicas(1..=50)
        .metric(Metric::external("active").average_value(8.0))
        .scale_up(ScalingRules::default().policy(Policy::pods(2, Duration::from_secs(60))))
        .scale_down(ScalingRules::default().stabilization_window(Duration::ZERO))
        .build()
        .unwrap()
}

/// A dry run that can be broken.
#[derive(Clone, Debug)]
struct Breakable {
    inner: Arc<Mutex<DryRun>>,
    broken: Arc<AtomicBool>,
}

impl Actuator for Breakable {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        let mut inner = self.inner.lock().unwrap().clone();
        inner.observe().await
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        // Relaxed: one flag, nothing is ordered by it.
        if self.broken.load(Ordering::Relaxed) {
            return Err(ActuatorError::Unavailable("the test says so".into()));
        }
        let mut inner = self.inner.lock().unwrap().clone();
        inner.apply(decision).await?;
        *self.inner.lock().unwrap() = inner;
        Ok(())
    }
}

fn breakable(replicas: u32) -> Breakable {
    Breakable {
        inner: Arc::new(Mutex::new(DryRun::new(replicas))),
        broken: Arc::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn an_actuator_failing_for_five_minutes_is_reported_and_then_catches_up() {
    let gauges = Gauges::default();
    gauges.set("active", 80.0);
    let actuator = breakable(1);
    actuator.broken.store(true, Ordering::Relaxed);
    let handle = Autoscaler::new(spec(), gauges, actuator.clone())
        .clock(paused_clock())
        .run();

    tokio::time::advance(Duration::from_secs(1)).await;
    for _ in 0..20 {
        handle.next_decision().await;
    }
    let status = handle.status();
    assert!(status.failures_in_a_row >= 20, "{status:?}");
    assert!(status.error.unwrap().contains("FailedUpdateScale"));
    let able = status.decisions[0].conditions.able_to_scale.unwrap();
    assert_eq!(
        (able.status, able.reason),
        (false, Reason::FailedUpdateScale)
    );
    assert_eq!(
        status.decisions[0].desired, 3,
        "failed changes must not use up the rate limit"
    );

    actuator.broken.store(false, Ordering::Relaxed);
    handle.next_decision().await;
    handle.next_decision().await;
    let status = handle.status();
    assert_eq!(
        (status.decisions[0].current, status.failures_in_a_row),
        (3, 0)
    );
    assert_eq!(
        status.decisions[0].desired, 3,
        "the change that happened does count"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_that_failed_starts_no_cooldown() {
    let gauges = Gauges::default();
    gauges.set("active", 80.0);
    let actuator = breakable(1);
    actuator.broken.store(true, Ordering::Relaxed);
    let hour = Cooldown {
        after_up_seconds: 3_600,
        after_change_seconds: 3_600,
    };
    let patient = Spec::builder("simulation")
        .metric(Metric::external("active").average_value(8.0))
        .cooldown(hour)
        .build()
        .unwrap();
    let handle = Autoscaler::new(patient, gauges, actuator.clone())
        .clock(paused_clock())
        .run();
    handle.next_decision().await;
    actuator.broken.store(false, Ordering::Relaxed);
    handle.next_decision().await;
    handle.next_decision().await;
    let status = handle.status();
    assert_eq!(status.failures_in_a_row, 0, "{status:?}");
    assert_eq!(
        status.decisions[0].current,
        4,
        "{}",
        status.decisions[0].why()
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_or_reports_nan_holds_the_count() {
    for broken in ["hangs", "nan"] {
        let source = from_fn(move |_fleet| async move {
            if broken == "hangs" {
                std::future::pending::<()>().await;
            }
            [("active".to_owned(), Observation::value(f64::NAN))].into()
        });
        let handle = Autoscaler::new(spec(), source, DryRun::new(7))
            .clock(paused_clock())
            .run();
        handle.next_decision().await;
        let latest = handle.latest().unwrap();
        assert_eq!(latest.desired, 7, "{broken}");
        assert!(
            latest
                .error
                .as_ref()
                .is_some_and(|error| error.starts_with("active")),
            "{latest:?}"
        );
    }
}

/// Panics at its first turns, in each of its parts; then it is a dry run.
struct Panicky {
    inner: DryRun,
    turns: Arc<AtomicU32>,
}

impl Actuator for Panicky {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        // Relaxed: one task writes it.
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        assert_ne!(turn, 0, "the test says so");
        self.inner.observe().await
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        assert_ne!(self.turns.load(Ordering::Relaxed), 3, "the test says so");
        self.inner.apply(decision).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_a_turn_and_not_the_loop() {
    let turns = Arc::<AtomicU32>::default();
    let seen = Arc::clone(&turns);
    let source = from_fn(move |_fleet| {
        let turn = seen.load(Ordering::Relaxed);
        assert_ne!(turn, 2, "the test says so");
        std::future::ready([("active".to_owned(), Observation::value(80.0))].into())
    });
    let inner = DryRun::new(1);
    let stored = Arc::clone(&turns);
    let handle = Autoscaler::new(spec(), source, Panicky { inner, turns })
        .remember(move |_| assert_ne!(stored.load(Ordering::Relaxed), 4, "the test says so"))
        .clock(paused_clock())
        .run();
    let told = async || {
        handle.next_decision().await;
        (handle.latest(), handle.status().error.unwrap_or_default())
    };
    let (none, error) = told().await;
    assert!(none.is_none() && error.contains("it panicked"), "{error}");
    let (held, error) = told().await;
    assert_eq!(
        (held.unwrap().desired, error.as_str()),
        (1, ""),
        "the source"
    );
    let (failed, error) = told().await;
    assert!(failed.is_some() && error.contains("it panicked"), "{error}");
    for _the_store_and_a_good_one in 0..2 {
        let (grown, error) = told().await;
        assert_eq!((grown.unwrap().desired, error.as_str()), (3, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_loop_goes_on_with_its_rate_limits() {
    let gauges = Gauges::default();
    gauges.set("active", 400.0);
    let actuator = breakable(1);
    let first = Autoscaler::new(spec(), gauges.clone(), actuator.clone())
        .clock(paused_clock())
        .run();
    first.next_decision().await;
    let stored = serde_json::to_string(&first.state()).unwrap();
    drop(first);

    let second = Autoscaler::new(spec(), gauges, actuator)
        .state(serde_json::from_str(&stored).unwrap())
        .clock(paused_clock())
        .run();
    second.next_decision().await;
    let latest = second.latest().unwrap();
    assert_eq!((latest.current, latest.desired), (3, 3), "{}", latest.why());
}

#[tokio::test(start_paused = true)]
async fn a_new_specification_is_in_force_at_once() {
    let gauges = Gauges::default();
    gauges.set("active", 8.0);
    let handle = Autoscaler::new(spec(), gauges, DryRun::new(1))
        .interval(Duration::from_secs(3_600))
        .clock(paused_clock())
        .run();
    handle.next_decision().await;
    handle.configure(spec().to_builder().replicas(4..=50).build().unwrap());
    handle.next_decision().await;
    assert_eq!(handle.latest().unwrap().desired, 4);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_at_zero_still_waits_after_a_change_that_failed() {
    let gauges = Gauges::default();
    gauges.set("active", 0.0);
    let actuator = breakable(0);
    actuator.broken.store(true, Ordering::Relaxed);
    let sleeping = Spec::builder("simulation")
        .replicas(0..=5)
        .metric(Metric::external("active").average_value(8.0))
        .policies(|policies| policies.scale_to_zero = Some(ScaleToZero::on("active")))
        .build()
        .unwrap();
    let handle = Autoscaler::new(sleeping, gauges, actuator.clone())
        .clock(paused_clock())
        .run();
    handle.next_decision().await;
    assert_eq!(handle.status().decisions[0].desired, 0);
    handle.wake();
    handle.next_decision().await;
    let status = handle.status();
    let failed = (status.decisions[0].desired, status.failures_in_a_row);
    assert_eq!(failed, (1, 1), "{}", status.decisions[0].why());
    actuator.broken.store(false, Ordering::Relaxed);
    for expected in [(1, 0), (1, 1)] {
        handle.next_decision().await;
        let decision = handle.latest().unwrap();
        let seen = (decision.desired, decision.current);
        assert_eq!(seen, expected, "{}", decision.why());
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_overrides_between_two_turns_the_last_one_counts() {
    let gauges = Gauges::default();
    gauges.set("active", 8.0);
    let handle = Autoscaler::new(spec(), gauges, DryRun::new(1))
        .clock(paused_clock())
        .run();
    handle.next_decision().await;
    let order = |count| Override {
        kind: OverrideKind::Exact(count),
        author: "test".into(),
        reason: "test".into(),
        expires_at: handle.now() + Duration::from_secs(600),
    };
    for count in [7, 9, 4] {
        handle.set_override(order(count)).unwrap();
    }
    handle.next_decision().await;
    assert_eq!(handle.latest().unwrap().desired, 4);
    handle.set_override(order(9)).unwrap();
    let _ = handle.clear_override("test");
    handle.next_decision().await;
    assert_eq!(handle.state().current_override(), None);
}
