//! The NVML probe against a fake `libnvidia-ml.so`, loaded by the real wrapper.

mod support;

use std::ops::ControlFlow;
use std::time::Duration;

use fake_nvml::FakeNvml;
use lb_gpu::probe::{AbsentReason, Fault, Probe, ProbeError};
use lb_gpu::reading::{
    DeviceFault, DeviceReading, EventKind, Memory, Process, Reading, RecoveryAction, ThrottleReason,
};
use lb_gpu::snapshot::{Availability, Freshness};
use lb_gpu::{NvmlProbe, Ratio, Sampler, SamplerConfig};
use support::until;

const GIB: u64 = 1 << 30;

/// Looks once, then once more after each script.
fn looks(fake: &FakeNvml, scripts: &[&str]) -> (Vec<Reading>, Result<(), ProbeError>) {
    let mut readings = Vec::new();
    let mut scripts = scripts.iter();
    let end = NvmlProbe::at(fake.path()).watch(&mut |reading| {
        readings.push(reading);
        match scripts.next() {
            Some(script) => {
                fake.apply(script);
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    });
    (readings, end)
}

fn one_look(fake: &FakeNvml) -> Result<Reading, ProbeError> {
    let (mut readings, end) = looks(fake, &[]);
    end.map(|()| readings.remove(0))
}

fn ids(reading: &Reading) -> Vec<(&str, Option<u32>)> {
    reading
        .devices
        .iter()
        .map(|device| (device.id.as_str(), device.index))
        .collect()
}

// === Opening the library ===

#[test]
fn a_machine_without_the_library_has_no_gpu() {
    let end = NvmlProbe::at("/nowhere/libnvidia-ml.so.1").watch(&mut |_| ControlFlow::Break(()));
    assert_eq!(end, Err(ProbeError::Absent(AbsentReason::NoLibrary)));
}

#[test]
fn a_library_that_is_not_nvml_is_a_fault() {
    let end = NvmlProbe::at("libm.so.6").watch(&mut |_| ControlFlow::Break(()));
    assert_eq!(end, Err(ProbeError::Faulted(Fault::NotNvml)));
}

#[test]
fn each_error_at_start_has_its_meaning() {
    let fake = FakeNvml::install();
    let absent = ProbeError::Absent;
    let faulted = ProbeError::Faulted;
    for (code, meaning) in [
        (4, absent(AbsentReason::NoPermission)),
        (9, absent(AbsentReason::NoDriver)),
        (12, absent(AbsentReason::NoLibrary)),
        (13, faulted(Fault::NotNvml)),
        (17, absent(AbsentReason::NoPermission)),
        (18, faulted(Fault::DriverReloaded)),
        (
            999,
            faulted(Fault::Init("an internal driver error occurred".into())),
        ),
        (
            25,
            faulted(Fault::Init("unexpected enum variant value: 25".into())),
        ),
    ] {
        fake.apply(&format!("return * nvmlInit_v2 {code}"));
        assert_eq!(one_look(&fake), Err(meaning), "code {code}");
        assert_eq!(fake.refcount(), 0);
    }
    fake.apply("return * nvmlInit_v2 0");
    assert!(one_look(&fake).is_ok());
}

#[test]
fn a_driver_that_sees_no_device_is_a_normal_answer() {
    let fake = FakeNvml::install();
    fake.apply("devices 0");
    assert_eq!(
        one_look(&fake),
        Err(ProbeError::Absent(AbsentReason::NoDevices))
    );
}

#[test]
fn the_library_is_closed_when_the_look_is_over() {
    let fake = FakeNvml::install();
    let mut during = 0;
    NvmlProbe::at(fake.path())
        .watch(&mut |_| {
            during = fake.refcount();
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!((during, fake.refcount()), (1, 0));
}

// === Numbers ===

#[test]
fn every_number_comes_through_in_base_units() {
    let fake = FakeNvml::install();
    fake.apply(
        "set GPU-0 busy 73\n set GPU-0 membus 21\n set GPU-0 memory_used 8589934592
         set GPU-0 temperature 61\n set GPU-0 power_mw 412500\n set GPU-0 energy_mj 90500
         set GPU-0 sm_mhz 1755\n set GPU-0 throttle 68\n set GPU-0 encoder 7\n set GPU-0 decoder 9
         set GPU-0 ecc_corrected_volatile 3\n set GPU-0 ecc_uncorrected_aggregate 1
         field GPU-0 82 77\n field GPU-0 142 2\n field GPU-0 143 1\n field GPU-0 144 1
         field GPU-0 145 0\n field GPU-0 230 4\n field GPU-0 94 5\n field GPU-0 197 1000
         field GPU-0 198 2000\n field GPU-0 38 1\n field GPU-0 52 2",
    );
    let reading = one_look(&fake).unwrap();
    assert_eq!(reading.driver.driver_version.as_deref(), Some("580.159.03"));
    assert_eq!(reading.driver.cuda_version, Some((13, 0)));
    let device = &reading.devices[0];
    assert_eq!(device.name.as_deref(), Some("Fake 80GB"));
    assert_eq!(device.pci_bus_id.as_deref(), Some("00000000:01:00.0"));
    let metrics = &device.metrics;
    assert_eq!(
        (metrics.busy, metrics.membus),
        (Ratio::percent(73), Ratio::percent(21))
    );
    assert_eq!(
        (metrics.encoder, metrics.decoder),
        (Ratio::percent(7), Ratio::percent(9))
    );
    let memory = Memory {
        total_bytes: 80 * GIB,
        used_bytes: 8 * GIB,
        reserved_bytes: GIB / 2,
        free_bytes: 80 * GIB - 8 * GIB - GIB / 2,
    };
    assert_eq!(metrics.memory, Some(memory));
    assert_eq!(metrics.temperature_celsius, Some(61));
    assert_eq!(metrics.memory_temperature_celsius, Some(77));
    assert_eq!(metrics.power_watts, Some(412.5));
    assert_eq!(metrics.power_limit_watts, Some(700.0));
    assert_eq!(metrics.energy_joules, Some(90.5));
    assert_eq!(metrics.sm_clock_hertz, Some(1_755_000_000));
    assert_eq!(metrics.sm_clock_max_hertz, Some(1_980_000_000));
    assert_eq!(metrics.memory_clock_hertz, Some(2_619_000_000));
    let throttle = metrics.throttle.unwrap();
    assert!(throttle.has(ThrottleReason::SwPowerCap) && throttle.has(ThrottleReason::HwThermal));
    assert!(!throttle.has(ThrottleReason::HwSlowdown));
    assert_eq!(metrics.ecc.corrected_volatile, Some(3));
    assert_eq!(metrics.ecc.uncorrected_volatile, Some(0));
    assert_eq!(metrics.ecc.uncorrected_aggregate, Some(1));
    assert_eq!(metrics.remapped_rows.correctable, Some(2));
    assert_eq!(metrics.remapped_rows.uncorrectable, Some(1));
    assert_eq!(metrics.remapped_rows.pending, Some(true));
    assert_eq!(metrics.remapped_rows.failed, Some(false));
    assert_eq!(metrics.recovery_action, Some(RecoveryAction::DrainAndReset));
    assert_eq!(metrics.pcie_replays, Some(5));
    assert_eq!(metrics.pcie_sent_bytes, Some(1_000));
    assert_eq!(metrics.pcie_received_bytes, Some(2_000));
    assert_eq!(metrics.nvlink_errors, Some(3));
    assert_eq!(metrics.processes, Some(Vec::new()));
}

#[test]
fn a_percentage_above_one_hundred_is_dropped_not_capped() {
    let fake = FakeNvml::install();
    fake.apply("set GPU-0 busy 4000\n set GPU-0 membus 12");
    let metrics = one_look(&fake).unwrap().devices.remove(0).metrics;
    assert_eq!((metrics.busy, metrics.membus), (None, Ratio::percent(12)));
}

#[test]
fn a_metric_that_is_not_supported_is_unknown_and_not_asked_for_again() {
    let fake = FakeNvml::install();
    fake.apply("return GPU-0 nvmlDeviceGetPowerUsage 3");
    let (readings, end) = looks(&fake, &["return GPU-0 nvmlDeviceGetPowerUsage 0"]);
    end.unwrap();
    let power = readings.map_power();
    assert_eq!(power, [None, None]);
    assert!(
        readings
            .iter()
            .all(|reading| reading.devices[0].metrics.busy.is_some())
    );
    let anew = one_look(&fake).unwrap();
    assert_eq!(
        anew.devices[0].metrics.power_watts,
        Some(70.0),
        "asked again after re-opening"
    );
}

#[test]
fn a_passing_error_costs_one_number_once() {
    let fake = FakeNvml::install();
    for code in [2, 4, 10, 25, 27, 999] {
        fake.apply(&format!("return GPU-0 nvmlDeviceGetPowerUsage {code}"));
        let (readings, end) = looks(&fake, &["return GPU-0 nvmlDeviceGetPowerUsage 0"]);
        end.unwrap();
        assert_eq!(readings.map_power(), [None, Some(70.0)], "code {code}");
    }
}

trait Power {
    fn map_power(&self) -> Vec<Option<f64>>;
}

impl Power for Vec<Reading> {
    fn map_power(&self) -> Vec<Option<f64>> {
        self.iter()
            .map(|reading| reading.devices[0].metrics.power_watts)
            .collect()
    }
}

#[test]
fn processes_are_listed_also_when_their_memory_may_not_be_told() {
    let fake = FakeNvml::install();
    fake.apply("process GPU-0 101 1073741824\n process GPU-0 202 -");
    let metrics = one_look(&fake).unwrap().devices.remove(0).metrics;
    let process = |pid, memory_bytes| Process {
        pid,
        memory_bytes,
        gpu_instance: None,
        compute_instance: None,
    };
    assert_eq!(
        metrics.processes,
        Some(vec![process(101, Some(GIB)), process(202, None)])
    );
}

// === Devices that come, go and break ===

#[test]
fn one_lost_device_does_not_disturb_the_other_seven() {
    let fake = FakeNvml::install();
    fake.apply("devices 8\n return GPU-3 nvmlDeviceGetMemoryInfo_v2 15");
    let reading = one_look(&fake).unwrap();
    assert_eq!(reading.devices.len(), 8);
    for device in &reading.devices {
        let expected = (device.id.as_str() == "GPU-3").then_some(DeviceFault::Lost);
        assert_eq!(device.fault, expected, "{}", device.id);
        assert_eq!(device.metrics.busy.is_some(), expected.is_none());
    }
}

#[test]
fn a_device_that_needs_a_reset_says_so() {
    let fake = FakeNvml::install();
    fake.apply("return GPU-0 nvmlDeviceGetUtilizationRates 16");
    let device = one_look(&fake).unwrap().devices.remove(0);
    assert_eq!(device.fault, Some(DeviceFault::ResetRequired));
}

#[test]
fn a_device_that_cannot_tell_its_name_is_counted() {
    let fake = FakeNvml::install();
    fake.apply("devices 2\n return GPU-0 nvmlDeviceGetUUID 15");
    let reading = one_look(&fake).unwrap();
    assert_eq!(
        (ids(&reading), reading.nameless_devices),
        (vec![("GPU-1", Some(1))], 1)
    );
}

#[test]
fn devices_keep_their_name_when_a_removal_shifts_their_index() {
    let fake = FakeNvml::install();
    fake.apply("devices 8\n set GPU-7 busy 70");
    let (readings, end) = looks(&fake, &["remove GPU-2", "add GPU-2"]);
    end.unwrap();
    assert_eq!(ids(&readings[0])[7], ("GPU-7", Some(7)));
    assert_eq!(ids(&readings[1])[6], ("GPU-7", Some(6)));
    assert_eq!(readings[1].devices[6].metrics.busy, Ratio::percent(70));
    assert_eq!(ids(&readings[2])[7], ("GPU-2", Some(7)));
}

#[test]
fn a_driver_that_changes_underneath_ends_the_session() {
    for (code, error) in [
        (1, ProbeError::Faulted(Fault::Uninitialized)),
        (9, ProbeError::Absent(AbsentReason::NoDriver)),
        (18, ProbeError::Faulted(Fault::DriverReloaded)),
    ] {
        for symbol in [
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetUUID",
            "nvmlDeviceGetTemperature",
        ] {
            let fake = FakeNvml::install();
            let (readings, end) = looks(&fake, &[&format!("return * {symbol} {code}")]);
            assert_eq!(
                (readings.len(), end),
                (1, Err(error.clone())),
                "{symbol} {code}"
            );
        }
    }
}

#[test]
fn three_looks_with_nothing_but_unknown_errors_end_the_session() {
    let fake = FakeNvml::install();
    let (readings, end) = looks(&fake, &["return * nvmlDeviceGetUUID 999", "", ""]);
    assert_eq!(end, Err(ProbeError::Faulted(Fault::Unintelligible)));
    assert_eq!(
        readings.len(),
        3,
        "one good look, two unintelligible ones, and no third"
    );
}

#[test]
fn xid_errors_are_reported_once_and_for_the_right_device() {
    let fake = FakeNvml::install();
    fake.apply("devices 2");
    let (readings, end) = looks(&fake, &["xid GPU-1 79\n xid GPU-1 31", ""]);
    end.unwrap();
    assert!(readings[0].events.is_empty() && readings[2].events.is_empty());
    let events: Vec<_> = readings[1]
        .events
        .iter()
        .map(|event| (event.device.as_str(), event.kind))
        .collect();
    assert_eq!(
        events,
        [("GPU-1", EventKind::Xid(79)), ("GPU-1", EventKind::Xid(31))]
    );
}

// === MIG ===

#[test]
fn mig_instances_are_devices_of_their_own_without_a_utilisation() {
    let fake = FakeNvml::install();
    fake.apply("devices 2\n mig GPU-0 7 0 3\n process GPU-0 11 100 3\n set GPU-1 busy 5");
    let reading = one_look(&fake).unwrap();
    let names: Vec<_> = reading
        .devices
        .iter()
        .map(|device| device.id.as_str())
        .collect();
    assert_eq!(names, ["GPU-0", "MIG-GPU-0-0", "MIG-GPU-0-3", "GPU-1"]);
    let [parent, idle, used, whole] = &reading.devices[..] else {
        unreachable!()
    };
    assert_eq!(parent.metrics.busy, None, "unknown, not idle");
    assert_eq!(whole.metrics.busy, Ratio::percent(5));
    let home = |device: &DeviceReading| {
        device
            .mig
            .as_ref()
            .map(|mig| (mig.parent.as_str().to_owned(), mig.index))
    };
    assert_eq!(
        (home(idle), home(used)),
        (Some(("GPU-0".into(), 0)), Some(("GPU-0".into(), 3)))
    );
    assert_eq!(
        used.mig.as_ref().and_then(|mig| mig.multiprocessors),
        Some(16)
    );
    assert_eq!(used.metrics.busy, None);
    assert_eq!(
        used.metrics.memory.map(|memory| memory.total_bytes),
        Some(80 * GIB / 7)
    );
    assert_eq!(
        used.metrics
            .processes
            .as_ref()
            .map(|all| all[0].gpu_instance),
        Some(Some(3))
    );
    assert_eq!(idle.metrics.processes, Some(Vec::new()));
}

// === Under the sampler ===

fn quick() -> SamplerConfig {
    SamplerConfig::builder()
        .period(Duration::from_millis(100))
        .reopen(Duration::from_millis(20), Duration::from_millis(50))
        .build()
        .expect("these settings work")
}

#[tokio::test(flavor = "current_thread")]
async fn a_driver_that_hangs_leaves_stale_numbers_and_a_responsive_program() {
    let fake = FakeNvml::install();
    let sampler = Sampler::start_with(NvmlProbe::at(fake.path()), quick());
    until(&sampler, |snapshot| snapshot.freshness == Freshness::Fresh).await;

    fake.apply("hang nvmlDeviceGetUtilizationRates");
    // The only async worker is this one: it would not get here if the hang reached it.
    until(&sampler, |snapshot| snapshot.freshness == Freshness::Stale).await;
    let stale = sampler.latest();
    let published = stale
        .taken_at
        .map(|at| tokio::time::Instant::from_std(at).elapsed());
    assert!(
        published >= Some(Duration::from_millis(300)),
        "not before three periods"
    );
    assert!(
        published <= Some(Duration::from_millis(2_000)),
        "{published:?}"
    );
    assert_eq!(stale.devices.len(), 1);

    fake.apply("let-go nvmlDeviceGetUtilizationRates");
    until(&sampler, |snapshot| snapshot.freshness == Freshness::Fresh).await;
}

#[tokio::test]
async fn a_reloaded_driver_is_opened_anew_and_devices_come_back_as_themselves() {
    let fake = FakeNvml::install();
    fake.apply("devices 2\n xid GPU-1 31");
    let sampler = Sampler::start_with(NvmlProbe::at(fake.path()), quick());
    fake.apply("xid GPU-1 31");
    until(&sampler, |snapshot| {
        snapshot
            .devices
            .iter()
            .any(|device| device.last_xid.is_some())
    })
    .await;

    fake.apply("return * nvmlDeviceGetCount_v2 18\n return * nvmlInit_v2 18");
    until(&sampler, |snapshot| {
        snapshot.availability == Availability::Faulted(Fault::DriverReloaded)
    })
    .await;
    fake.apply(
        "driver 590.44.01\n return * nvmlDeviceGetCount_v2 0\n return * nvmlInit_v2 0
         devices 2",
    );
    until(&sampler, |snapshot| {
        snapshot.availability == Availability::Present
    })
    .await;
    let back = sampler.latest();
    assert_eq!(back.driver.driver_version.as_deref(), Some("590.44.01"));
    assert_eq!(back.reinits, 1);
    assert_eq!(back.devices[1].last_xid, Some(31), "its history survived");
    assert_eq!(fake.refcount(), 1, "exactly one session is open");
}
