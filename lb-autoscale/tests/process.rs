//! Real child processes: `sh` is all they need.
#![cfg(all(unix, feature = "process"))]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_autoscale::process::{Life, LocalProcesses};
use lb_autoscale::source::{Fleet, Gauges};
use lb_autoscale::spec::{Metric, ScalingRules};
use lb_autoscale::{Actuator, Decision, Inputs, Observation, Spec, State, UnixMillis, decide};
use tokio::process::Command;

fn sh(script: &'static str) -> impl Fn(u16) -> Command + Send + Sync {
    move |_slot| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }
}

const SLEEPER: &str = "exec sleep 600";
/// Ends by itself when told to.
const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 0.02; done";

/// A decision for `desired` replicas of `fleet`.
fn want(desired: u32, fleet: &Fleet) -> Decision {
    let spec = Spec::builder("p")
        .replicas(0..=50)
        .metric(Metric::external("wanted"))
        .scale_up(ScalingRules::default())
        .scale_down(ScalingRules::default().stabilization_window(Duration::ZERO))
        .tolerance(0.0)
        .build()
        .unwrap();
    let inputs = Inputs::new(fleet.replicas)
        .pods(fleet.pods.clone())
        .observe("wanted", Observation::value(f64::from(desired)));
    let decision = decide(
        &spec,
        &mut State::default(),
        &inputs,
        UnixMillis::from_secs(1),
    );
    let decision = if decision.desired == desired {
        decision
    } else {
        // A first decision ever may not shrink; these tests are about the processes.
        let mut state = State::with_history(lb_autoscale::hpa::History {
            recommendations: Some(Default::default()),
            ..Default::default()
        });
        decide(&spec, &mut state, &inputs, UnixMillis::from_secs(1))
    };
    assert_eq!(decision.desired, desired, "{}", decision.why());
    decision
}

async fn scale(processes: &mut LocalProcesses, desired: u32) {
    let fleet = processes.observe().await.unwrap();
    processes.apply(&want(desired, &fleet)).await.unwrap();
}

/// Waits for a condition, at most ten seconds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), wait)
            .await
            .is_ok(),
        "never: {what}"
    );
}

fn lives(processes: &LocalProcesses) -> Vec<Life> {
    processes
        .reports()
        .iter()
        .map(|report| report.life)
        .collect()
}

fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn kill(pid: u32) {
    let status = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_killed_process_is_replaced_within_seconds() {
    within(async {
        let mut processes = LocalProcesses::new("p", sh(SLEEPER));
        scale(&mut processes, 2).await;
        until("both ready", async || {
            lives(&processes) == [Life::Ready, Life::Ready]
        })
        .await;
        let before = processes.reports();

        kill(before[0].instance.pid.unwrap());

        until("replaced", async || {
            let now = &processes.reports()[0];
            now.life == Life::Ready && now.instance.pid != before[0].instance.pid
        })
        .await;
        let after = processes.reports();
        assert_eq!((after[0].restarts, after[0].instance.incarnation), (1, 1));
        assert_eq!(after[1], before[1], "the other one is left alone");
    });
}

#[test]
fn one_that_dies_at_every_start_backs_off_and_is_reported() {
    within(async {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let mut processes = LocalProcesses::new("p", move |slot| {
            // Relaxed: a counter read once, at the end.
            counted.fetch_add(1, Ordering::Relaxed);
            sh("exit 7")(slot)
        })
        .backoff(Duration::from_millis(20), Duration::from_secs(600));
        scale(&mut processes, 1).await;
        until("five restarts", async || {
            processes.reports()[0].restarts >= 5
        })
        .await;

        let report = processes.reports().remove(0);
        assert!(report.last_exit.unwrap().contains('7'));
        // 20 + 40 + 80 + 160 ms have passed at least, so there were no more starts than these.
        assert!(starts.load(Ordering::Relaxed) <= 6);
        let fleet = processes.observe().await.unwrap();
        assert_eq!(fleet.replicas, 1, "it is still wanted");
        assert!(!fleet.pods[0].is_healthy());
    });
}

#[test]
fn a_victim_is_drained_before_it_is_told_to_end() {
    within(async {
        let (drained, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let (release, gate) = tokio::sync::watch::channel(false);
        let mut processes = LocalProcesses::new("p", sh(POLITE)).drain(move |instance| {
            let (drained, mut gate) = (drained.clone(), gate.clone());
            async move {
                drained.send(instance.id).unwrap();
                gate.wait_for(|open| *open).await.unwrap();
            }
        });
        scale(&mut processes, 2).await;
        until("both ready", async || {
            lives(&processes) == [Life::Ready, Life::Ready]
        })
        .await;

        scale(&mut processes, 1).await;

        let victim = seen.recv().await.unwrap();
        let fleet = processes.observe().await.unwrap();
        assert_eq!(fleet.replicas, 1, "a draining one is no longer asked for");
        let pod = fleet.pods.iter().find(|pod| *pod.name == *victim).unwrap();
        assert!(pod.deleting && pod.phase == lb_autoscale::inputs::Phase::Running);

        release.send(true).unwrap();
        until("gone", async || {
            processes.observe().await.unwrap().pods.len() == 1
        })
        .await;
    });
}

#[test]
fn one_that_ignores_the_drain_and_the_signal_is_killed_in_time() {
    within(async {
        let deaf = "trap '' TERM; while :; do sleep 0.02; done";
        let mut processes = LocalProcesses::new("p", sh(deaf))
            .drain(|_instance| std::future::pending())
            .drain_deadline(Duration::from_millis(50))
            .stop_grace(Duration::from_millis(50));
        scale(&mut processes, 1).await;
        until("ready", async || lives(&processes) == [Life::Ready]).await;
        scale(&mut processes, 0).await;
        until("gone", async || {
            processes.observe().await.unwrap().pods.is_empty()
        })
        .await;
    });
}

#[test]
fn one_that_never_becomes_ready_is_replaced() {
    within(async {
        let mut processes = LocalProcesses::new("p", sh(SLEEPER))
            .ready(|instance| async move { instance.incarnation > 0 })
            .ready_every(Duration::from_millis(5))
            .start_timeout(Duration::from_millis(100))
            .backoff(Duration::from_millis(10), Duration::from_secs(1));
        scale(&mut processes, 1).await;
        until("ready", async || lives(&processes) == [Life::Ready]).await;
        assert_eq!(processes.reports()[0].restarts, 1);
    });
}

#[test]
fn the_loop_starts_the_minimum_of_a_fresh_fleet() {
    within(async {
        let gauges = Gauges::default();
        gauges.set("active", 0.0);
        let spec = Spec::builder("p")
            .replicas(3..=5)
            .metric(Metric::external("active").average_value(8.0))
            .build()
            .unwrap();
        let handle =
            lb_autoscale::Autoscaler::new(spec, gauges, LocalProcesses::new("p", sh(SLEEPER)))
                .interval(Duration::from_millis(20))
                .run();
        until("three ready", async || {
            handle
                .status()
                .fleet
                .iter()
                .filter(|pod| pod.is_healthy())
                .count()
                == 3
        })
        .await;
    });
}

#[test]
fn shutdown_leaves_no_process_behind() {
    within(async {
        let mut processes = LocalProcesses::new("p", sh(POLITE));
        scale(&mut processes, 2).await;
        until("both ready", async || {
            lives(&processes) == [Life::Ready, Life::Ready]
        })
        .await;
        let pids: Vec<u32> = processes
            .reports()
            .iter()
            .filter_map(|report| report.instance.pid)
            .collect();
        processes.shutdown().await;
        for pid in pids {
            let alive = std::process::Command::new("kill")
                .args(["-0", &pid.to_string()])
                .output();
            assert!(!alive.unwrap().status.success(), "{pid} is still there");
        }
    });
}
