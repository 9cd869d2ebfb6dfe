//! The health verdict in virtual time, row by row.

use std::time::{Duration, Instant};

use lb_gpu::Ratio;
use lb_gpu::health::{Cause, Health, HealthPolicy, HealthTracker, Sign, Verdict, XidClass};
use lb_gpu::reading::{DeviceFault, Metrics, RecoveryAction, Throttle, ThrottleReason};

/// A device under observation, twice a second.
struct Device {
    policy: HealthPolicy,
    tracker: HealthTracker,
    now: Instant,
}

impl Device {
    fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
        let now = Instant::now();
        Self {
            policy: HealthPolicy::default(),
            tracker: HealthTracker::new(now),
            now,
        }
    }

    fn look(&mut self, sign: &Sign<'_>, xids: &[u64]) -> Health {
        self.now += Duration::from_millis(500);
        self.tracker.observe(&self.policy, sign, xids, self.now);
        self.tracker.health()
    }

    fn answer(&mut self, metrics: &Metrics) -> Health {
        self.look(&Sign::Answer(metrics), &[])
    }

    fn answers(&mut self, metrics: &Metrics, seconds: u32) -> Health {
        for _ in 0..seconds * 2 {
            self.answer(metrics);
        }
        self.tracker.health()
    }

    fn xid(&mut self, number: u64) -> Health {
        self.look(&Sign::Answer(&Metrics::default()), &[number])
    }
}

fn verdict(health: Health) -> (Verdict, Option<Cause>) {
    (health.verdict, health.cause)
}

fn throttled(reason: ThrottleReason) -> Metrics {
    Metrics {
        throttle: Some(Throttle(reason.bit())),
        ..Metrics::default()
    }
}

fn advised(action: RecoveryAction) -> Metrics {
    Metrics {
        recovery_action: Some(action),
        ..Metrics::default()
    }
}

#[test]
fn an_unremarkable_device_is_healthy_and_takes_its_full_share() {
    let health = Device::new().answers(&Metrics::default(), 60);
    assert_eq!(verdict(health), (Verdict::Healthy, None));
    assert_eq!(health.weight, Ratio::FULL);
}

#[test]
fn faults_make_unfit_at_once() {
    for (sign, cause) in [
        (Sign::Missing, Cause::Missing),
        (Sign::Fault(DeviceFault::Lost), Cause::Lost),
        (
            Sign::Fault(DeviceFault::ResetRequired),
            Cause::ResetRequired,
        ),
    ] {
        let health = Device::new().look(&sign, &[]);
        assert_eq!(verdict(health), (Verdict::Unfit, Some(cause)));
        assert_eq!(health.weight, Ratio::IDLE);
    }
}

#[test]
fn xids_are_fatal_degrading_or_an_applications_fault() {
    for number in [48, 62, 64, 74, 79, 95, 119, 120] {
        let expected = (Verdict::Unfit, Some(Cause::Xid(number)));
        assert_eq!(verdict(Device::new().xid(number)), expected);
    }
    for number in [63, 92, 94] {
        let expected = (Verdict::Degraded, Some(Cause::Xid(number)));
        assert_eq!(verdict(Device::new().xid(number)), expected);
    }
    for number in [13, 31, 43, 45, 68] {
        assert_eq!(verdict(Device::new().xid(number)), (Verdict::Healthy, None));
    }
}

#[test]
fn the_fifth_application_error_within_a_minute_degrades() {
    let mut device = Device::new();
    for _ in 0..4 {
        assert_eq!(device.xid(31).verdict, Verdict::Healthy);
    }
    assert_eq!(
        verdict(device.xid(13)),
        (Verdict::Degraded, Some(Cause::ApplicationErrors))
    );
}

#[test]
fn application_errors_that_are_spread_out_say_nothing() {
    let mut device = Device::new();
    for _ in 0..20 {
        assert_eq!(device.xid(31).verdict, Verdict::Healthy);
        device.answers(&Metrics::default(), 20);
    }
}

#[test]
fn what_is_said_explicitly_about_an_xid_wins() {
    let mut device = Device::new();
    device.policy = HealthPolicy::default()
        .xid(79, XidClass::Ignored)
        .xid(109, XidClass::Unfit)
        .xid(109, XidClass::Degraded);
    assert_eq!(device.xid(79).verdict, Verdict::Healthy);
    assert_eq!(device.xid(109).verdict, Verdict::Degraded);
}

#[test]
fn the_drivers_advice_is_followed() {
    let verdicts = [
        (RecoveryAction::None, Verdict::Healthy),
        (RecoveryAction::DrainP2p, Verdict::Degraded),
        (RecoveryAction::Reset, Verdict::Unfit),
        (RecoveryAction::Reboot, Verdict::Unfit),
        (RecoveryAction::DrainAndReset, Verdict::Unfit),
        (RecoveryAction::Other(7), Verdict::Unfit),
    ];
    for (action, expected) in verdicts {
        assert_eq!(
            Device::new().answer(&advised(action)).verdict,
            expected,
            "{action:?}"
        );
    }
}

#[test]
fn memory_rows_degrade_while_pending_and_end_it_when_none_are_left() {
    let mut metrics = Metrics::default();
    metrics.remapped_rows.pending = Some(true);
    let pending = Device::new().answer(&metrics);
    assert_eq!(
        verdict(pending),
        (Verdict::Degraded, Some(Cause::RemapPending))
    );
    metrics.remapped_rows.failed = Some(true);
    let failed = Device::new().answer(&metrics);
    assert_eq!(verdict(failed), (Verdict::Unfit, Some(Cause::RemapFailed)));
}

#[test]
fn uncorrected_errors_count_only_when_they_grow() {
    let mut device = Device::new();
    let mut metrics = Metrics::default();
    metrics.ecc.uncorrected_volatile = Some(4);
    assert_eq!(
        device.answers(&metrics, 5).verdict,
        Verdict::Healthy,
        "old history"
    );
    metrics.ecc.uncorrected_volatile = Some(5);
    let grown = device.answer(&metrics);
    assert_eq!(
        verdict(grown),
        (Verdict::Unfit, Some(Cause::UncorrectedErrors))
    );
    metrics.ecc.uncorrected_volatile = Some(0);
    assert_eq!(
        device.answers(&metrics, 62).verdict,
        Verdict::Healthy,
        "the driver restarted"
    );
}

#[test]
fn throttling_degrades_after_ten_seconds_by_the_clock_that_is_left() {
    let mut metrics = throttled(ThrottleReason::HwThermal);
    metrics.sm_clock_hertz = Some(495_000_000);
    metrics.sm_clock_max_hertz = Some(1_980_000_000);
    let mut device = Device::new();
    assert_eq!(device.answers(&metrics, 10).verdict, Verdict::Healthy);
    let health = device.answers(&metrics, 1);
    let cause = Cause::Throttled(ThrottleReason::HwThermal);
    assert_eq!(verdict(health), (Verdict::Degraded, Some(cause)));
    assert_eq!(health.weight.get(), 0.25);
}

#[test]
fn software_thermal_slowdown_gets_twice_the_patience_and_the_power_cap_all_of_it() {
    let mut device = Device::new();
    let soft = throttled(ThrottleReason::SwThermal);
    assert_eq!(device.answers(&soft, 20).verdict, Verdict::Healthy);
    assert_eq!(device.answers(&soft, 1).verdict, Verdict::Degraded);
    let capped = throttled(ThrottleReason::SwPowerCap);
    assert_eq!(
        Device::new().answers(&capped, 600).verdict,
        Verdict::Healthy
    );
}

#[test]
fn short_spells_of_throttling_are_forgotten_with_the_window() {
    let mut device = Device::new();
    for _ in 0..10 {
        device.answers(&throttled(ThrottleReason::HwSlowdown), 9);
        assert_eq!(
            device
                .answers(
                    &Metrics {
                        throttle: Some(Throttle(0)),
                        ..Metrics::default()
                    },
                    31
                )
                .verdict,
            Verdict::Healthy
        );
    }
}

#[test]
fn recovery_takes_an_unbroken_minute_of_good_readings() {
    let mut device = Device::new();
    device.xid(79);
    assert_eq!(
        device.answers(&Metrics::default(), 60).verdict,
        Verdict::Unfit
    );
    let healthy = device.answers(&Metrics::default(), 1);
    assert_eq!(verdict(healthy), (Verdict::Healthy, None));
}

#[test]
fn silence_is_no_good_reading() {
    let mut device = Device::new();
    device.xid(79);
    device.answers(&Metrics::default(), 40);
    device.now += Duration::from_secs(40); // the driver hung
    assert_eq!(
        device.answers(&Metrics::default(), 40).verdict,
        Verdict::Unfit
    );
    assert_eq!(
        device.answers(&Metrics::default(), 21).verdict,
        Verdict::Healthy
    );
}

#[test]
fn a_pending_recovery_action_keeps_an_xid_alive() {
    let mut device = Device::new();
    device.xid(79);
    let reset = advised(RecoveryAction::Reset);
    assert_eq!(device.answers(&reset, 600).verdict, Verdict::Unfit);
    assert_eq!(
        device.answers(&advised(RecoveryAction::None), 61).verdict,
        Verdict::Healthy
    );
}

#[test]
fn a_device_flaps_no_more_than_once_a_minute() {
    let mut device = Device::new();
    let mut flips = 0;
    let mut before = Verdict::Healthy;
    for step in 0..1_200 {
        let sign = if step % 2 == 0 {
            Sign::Missing
        } else {
            Sign::Answer(&Metrics::default())
        };
        let now = device.look(&sign, &[]).verdict;
        flips += u32::from(now != before);
        before = now;
    }
    assert_eq!(
        flips, 1,
        "ten minutes of flickering: out once, and out it stays"
    );
}

#[test]
fn since_is_the_moment_of_the_verdict_not_of_the_last_look() {
    let mut device = Device::new();
    let first = device.look(&Sign::Missing, &[]).since;
    let later = device.look(&Sign::Missing, &[]).since;
    assert_eq!(first, later);
}

#[test]
fn a_human_may_clear_a_verdict_and_what_is_still_wrong_returns() {
    let mut device = Device::new();
    device.look(&Sign::Missing, &[]);
    device.tracker.clear(device.now);
    assert_eq!(device.tracker.health().verdict, Verdict::Healthy);
    assert_eq!(device.look(&Sign::Missing, &[]).verdict, Verdict::Unfit);
}
