//! Ten checks on a real GPU. Only run when asked for by name; then they fail
//! without one:
//!
//! ```text
//! cargo test -p lb-gpu --release --test hardware -- --test-threads=1 --nocapture
//! ```
//!
//! Some need work on the device. The commands that make it are given by the
//! environment, and a check fails if its command is not given:
//!
//! | variable | a shell command that, until it is killed, … |
//! |---|---|
//! | `LB_GPU_LOAD` | keeps the device fully busy |
//! | `LB_GPU_DUTY` | is busy for 100 ms and idle for 100 ms, in turns |
//! | `LB_GPU_ALLOCATE` | holds 8 GiB of device memory |
//! | `LB_GPU_CRASH` | ends after an illegal access on the device |

use std::ops::ControlFlow;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use lb_gpu::health::Verdict;
use lb_gpu::probe::{Probe, ProbeError};
use lb_gpu::reading::{Metrics, Reading, RecoveryAction, Throttle};
use lb_gpu::tracker::{Tracker, TrackerConfig};
use lb_gpu::{GpuSnapshot, NvmlProbe, Ratio};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "hardware has no virtual time")]
    Instant::now()
}

/// Looks again and again, `every` so often, for as long as `wanted` says.
fn watch(
    every: Duration,
    mut wanted: impl FnMut(Reading) -> ControlFlow<()>,
) -> Result<(), ProbeError> {
    NvmlProbe::detect().watch(&mut |reading| {
        let next = wanted(reading);
        if next.is_continue() && !every.is_zero() {
            std::thread::park_timeout(every);
        }
        next
    })
}

fn one_look() -> Reading {
    let mut seen = None;
    watch(Duration::ZERO, |reading| {
        seen = Some(reading);
        ControlFlow::Break(())
    })
    .expect("these checks were asked for, so there has to be a GPU");
    seen.expect("a look that works gives a reading")
}

/// What the tracker makes of this much time.
fn observe(time: Duration) -> GpuSnapshot {
    let mut tracker = Tracker::new(TrackerConfig::default());
    let end = now() + time;
    watch(Duration::from_millis(500), |reading| {
        tracker.observe(reading, now());
        if now() < end {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .expect("these checks were asked for, so there has to be a GPU");
    tracker.snapshot(now())
}

/// A command of the environment at work; killed when dropped.
struct Load(Child);

impl Load {
    fn start(variable: &str) -> Self {
        let command = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: see the head of this file"));
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .spawn();
        Self(child.expect("a shell starts"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn metrics() -> Metrics {
    one_look().devices.remove(0).metrics
}

#[test]
fn check_1_the_library_opens_quickly_and_names_its_driver() {
    let started = now();
    let reading = one_look();
    println!(
        "opened and looked in {:?}: {:?}",
        now() - started,
        reading.driver
    );
    assert!(now() - started < Duration::from_secs(5));
    assert!(reading.driver.driver_version.is_some());
}

#[test]
fn check_2_devices_have_a_uuid_and_their_memory_adds_up() {
    for device in one_look().devices {
        println!(
            "{}: {:?} {:?}",
            device.id, device.name, device.metrics.memory
        );
        assert!(device.id.as_str().starts_with("GPU-") || device.mig.is_some());
        let memory = device
            .metrics
            .memory
            .expect("every device knows its memory");
        let sum = memory.used_bytes + memory.reserved_bytes + memory.free_bytes;
        assert!(sum.abs_diff(memory.total_bytes) <= MIB);
    }
}

#[test]
fn check_3_the_basic_metrics_are_supported() {
    let metrics = metrics();
    println!("{metrics:#?}");
    assert!(metrics.busy.is_some() && metrics.temperature_celsius.is_some());
    assert!(metrics.power_watts.is_some() && metrics.sm_clock_hertz.is_some());
}

#[test]
fn check_4_a_thousand_looks_are_cheap() {
    let mut took = Vec::new();
    watch(Duration::ZERO, |reading| {
        took.push(reading.took);
        if took.len() < 1_000 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .expect("these checks were asked for, so there has to be a GPU");
    took.sort_unstable();
    println!(
        "one look: median {:?}, 99 % {:?}, longest {:?}",
        took[500], took[990], took[999]
    );
    assert!(took[500] < Duration::from_millis(20));
}

#[test]
fn check_5_idle_and_full_load_are_told_apart() {
    let idle = observe(Duration::from_secs(5))
        .devices
        .remove(0)
        .reading
        .metrics;
    assert!(
        idle.busy.is_some_and(|busy| busy.get() <= 0.05),
        "the device must be idle: {idle:?}"
    );
    let _load = Load::start("LB_GPU_LOAD");
    let started = now();
    let mut half = None;
    watch(Duration::from_millis(50), |reading| {
        let busy = reading.devices[0].metrics.busy;
        if busy.is_some_and(|busy| busy.get() > 0.5) {
            half.get_or_insert(now() - started);
        }
        if now() - started < Duration::from_secs(20) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .expect("the GPU is still there");
    let full = metrics();
    println!("busy over 50 % after {half:?}; idle {idle:?}; full {full:?}");
    assert!(full.busy.is_some_and(|busy| busy.get() >= 0.95));
    assert!(full.power_watts > idle.power_watts.map(|watts| watts + 50.0));
    assert!(
        full.throttle
            .is_some_and(|throttle| throttle.0 & Throttle::GPU_IDLE == 0)
    );
}

#[test]
fn check_6_busy_seconds_tell_the_truth_about_a_duty_cycle() {
    let _load = Load::start("LB_GPU_DUTY");
    observe(Duration::from_secs(10)); // the program starts up
    let busy = observe(Duration::from_secs(30)).devices[0].busy_seconds;
    println!("busy for {busy} s of 30 s; 15 s are right");
    assert!((busy - 15.0).abs() <= 15.0 * 0.15);
}

#[test]
fn check_7_memory_of_a_process_comes_and_goes() {
    let used = || metrics().memory.expect("known").used_bytes;
    let before = used();
    let load = Load::start("LB_GPU_ALLOCATE");
    observe(Duration::from_secs(20));
    let (during, processes) = (used(), metrics().processes);
    println!("grew by {} MiB; {processes:?}", (during - before) / MIB);
    assert!((8 * GIB..10 * GIB).contains(&(during - before)));
    drop(load);
    observe(Duration::from_secs(5));
    assert!(used().abs_diff(before) < 64 * MIB);
}

#[test]
fn check_8_a_device_that_is_not_cut_up_shows_no_instances() {
    let reading = one_look();
    assert!(
        reading.devices.iter().all(|device| device.mig.is_none()),
        "MIG is on here"
    );
}

#[test]
fn check_9_a_healthy_board_is_called_healthy_also_after_an_applications_crash() {
    let metrics = metrics();
    println!(
        "{:?} {:?} {:?}",
        metrics.ecc, metrics.remapped_rows, metrics.recovery_action
    );
    assert!(matches!(
        metrics.recovery_action,
        None | Some(RecoveryAction::None)
    ));
    assert_ne!(metrics.remapped_rows.failed, Some(true));
    let _crash = Load::start("LB_GPU_CRASH");
    let device = observe(Duration::from_secs(15)).devices.remove(0);
    println!("XIDs: {:?}", device.xid_errors);
    assert!(
        device.last_xid.is_some(),
        "an illegal access raises XID 31 or 13"
    );
    assert_eq!(device.health.verdict, Verdict::Healthy);
}

#[test]
fn check_10_we_agree_with_nvidia_smi_for_a_minute_and_do_not_grow() {
    let resident = || std::fs::read_to_string("/proc/self/statm").expect("Linux counts pages");
    let pages = |text: String| -> u64 {
        text.split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse().ok())
            .expect("a number")
    };
    let mut before = None;
    for second in 0..60 {
        let ours = metrics();
        let theirs = Command::new("nvidia-smi")
            .args(["--query-gpu=memory.used,temperature.gpu,utilization.gpu"])
            .args(["--format=csv,noheader,nounits", "--id=0"])
            .output()
            .expect("nvidia-smi is installed with the driver");
        let theirs = String::from_utf8_lossy(&theirs.stdout).into_owned();
        let numbers: Vec<u64> = theirs
            .trim()
            .split(", ")
            .filter_map(|n| n.parse().ok())
            .collect();
        let [memory, temperature, _busy] = numbers[..] else {
            panic!("unexpected: {theirs}")
        };
        let used = ours.memory.expect("known").used_bytes / MIB;
        assert!(used.abs_diff(memory) < 1_024, "{used} and {memory} MiB");
        let celsius = u64::from(ours.temperature_celsius.expect("known"));
        assert!(
            celsius.abs_diff(temperature) <= 5,
            "{celsius} and {temperature} degrees"
        );
        assert!(ours.busy <= Some(Ratio::FULL));
        if second == 10 {
            before = Some(pages(resident()));
        }
    }
    let growth = pages(resident()).saturating_sub(before.expect("taken at second 10"));
    assert!(growth * 4_096 < MIB, "{growth} pages");
}
