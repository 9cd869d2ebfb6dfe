//! GPUs end to end: real instances load a scripted driver library and the gateway acts on what they
//! say of it. Each test has a control in which the mechanism is off.

use std::ffi::OsString;
use std::path::PathBuf;

use fake_nvml::FakeNvml;
use serde_json::{Value, json};

use crate::support::{Process, until_async};

/// A machine with scripted GPUs; instance `sim-N` works on `GPU-N`.
struct Machine {
    driver: FakeNvml,
    folder: tempfile::TempDir,
}

impl Machine {
    fn with(script: &str) -> Self {
        let machine = Self {
            driver: FakeNvml::install(),
            folder: tempfile::tempdir().unwrap(),
        };
        machine.play(script);
        machine
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("script")
    }

    /// What happens next, on every GPU of every process at once.
    fn play(&self, script: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, script).unwrap();
        // In one step: nobody reads half of it.
        std::fs::rename(new, self.script()).unwrap();
    }

    /// A gateway with three instances that stay three, on this machine.
    async fn gateway(&self, more: &[(&str, &str)]) -> Process {
        let mut env: Vec<(&str, OsString)> = vec![
            ("LB_GPU_NVML_PATH", self.driver.path().into()),
            ("FAKE_NVML_SCRIPT", self.script().into()),
        ];
        env.extend(more.iter().map(|(name, value)| (*name, value.into())));
        // These tests speak for tenants, as whoever authenticates them would.
        let trusted = ["--trusted-proxy", "127.0.0.0/8"];
        let arguments = [&["--quiet", "--listen", "127.0.0.1:0"][..], &trusted].concat();
        let gateway = Process::start_with(&arguments, &env, 2);
        gateway.instances(3).await;
        let three = json!({ "min_replicas": 3, "max_replicas": 3 });
        change(&gateway, "auto-scaling", &three).await;
        gateway
    }
}

async fn change(gateway: &Process, what: &str, body: &Value) {
    let path = format!("/enterprise/scaling/{what}/configure");
    let answer = gateway.send("POST", &path, body.to_string()).await;
    assert!(answer.status().is_success(), "{:?}", answer.body());
}

async fn submit(gateway: &Process, id: &str, iterations: u64, tenant: &str) {
    let spec = json!({
        "inputs": { "x": { "distribution": "normal", "mean": 0, "std_dev": 1 } },
        "formula": "x", "iterations": iterations, "seed": 1,
    });
    let path = format!("/simulations/{id}");
    let headers = [("x-tenant", tenant)];
    let answer = gateway.send_with("PUT", &path, &headers, spec.to_string());
    let answer = answer.await;
    assert!(answer.status().is_success(), "{:?}", answer.body());
}

/// Longer than any test.
const ENDLESS: u64 = 1_000_000_000;

async fn endpoint(gateway: &Process, id: &str) -> Value {
    let status = gateway.get("/status").await;
    let endpoints = status["pool"]["endpoints"].as_array().unwrap();
    endpoints
        .iter()
        .find(|one| one["id"] == id)
        .unwrap()
        .clone()
}

/// Who answers thirty clients that nobody knows.
async fn answering(gateway: &Process) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..30 {
        let answer = gateway.get("/whoami").await;
        names.push(answer["instance"].as_str().expect("an answer").to_owned());
    }
    names
}

/// Three jobs, one on each instance; gives the id of the one on `instance`.
async fn one_job_each(gateway: &Process, instance: &str) -> String {
    for number in 0..3 {
        submit(gateway, &format!("job-{number}"), ENDLESS, "a").await;
    }
    until_async("each instance has a job", async || {
        let mut found = None;
        for number in 0..3 {
            let id = format!("job-{number}");
            let view = gateway.get(&format!("/simulations/{id}")).await;
            if view["status"] != "running" {
                return None;
            }
            if view["instance"] == instance {
                found = Some(id);
            }
        }
        found
    })
    .await
}

#[tokio::test]
async fn a_lost_gpu_ejects_its_instance_and_its_job_goes_elsewhere() {
    let machine = Machine::with("devices 3");
    let gateway = machine.gateway(&[]).await;
    let control = machine.gateway(&[("LB_GPU_DISABLE", "1")]).await;
    let moved = one_job_each(&gateway, "sim-1").await;
    let stays = one_job_each(&control, "sim-1").await;

    machine.play("remove GPU-1");
    until_async("sim-1 is taken out", async || {
        let lost = endpoint(&gateway, "sim-1").await;
        (lost["state"] == "down" && lost["reasons"] == json!(["unhealthy"])).then_some(())
    })
    .await;
    let view = until_async("its job runs elsewhere", async || {
        let view = gateway.get(&format!("/simulations/{moved}")).await;
        (view["attempt"] == 2 && view["status"] == "running").then_some(view)
    })
    .await;
    assert_ne!(view["instance"], "sim-1", "{view}");
    let names = answering(&gateway).await;
    assert!(!names.iter().any(|name| name == "sim-1"), "{names:?}");
    assert_eq!(endpoint(&gateway, "sim-0").await["state"], "active");

    // Who does not look notices nothing.
    assert_eq!(endpoint(&control, "sim-1").await["state"], "active");
    let view = control.get(&format!("/simulations/{stays}")).await;
    assert_eq!(
        (&view["attempt"], &view["instance"]),
        (&json!(1), &json!("sim-1"))
    );
    let names = answering(&control).await;
    assert!(names.iter().any(|name| name == "sim-1"), "{names:?}");
}

/// Where twelve jobs go, by instance, if GPUs weigh so much.
async fn twelve_jobs(gateway: &Process, gpu_weight: u32) -> Vec<u64> {
    let policy = json!({ "policy": {
        "policy": "resource_based", "gpu": gpu_weight,
        "cpu": 0, "memory": 0, "application": 0, "active_work": 0,
    } });
    change(gateway, "load-balancer", &policy).await;
    let ids: Vec<String> = (0..12)
        .map(|number| format!("w{gpu_weight}-{number}"))
        .collect();
    let mut placed = Vec::new();
    for (id, number) in ids.iter().zip(1..) {
        submit(gateway, id, ENDLESS, "a").await;
        // Two that look for a place at once may not see each other.
        placed = until_async("it has a place", async || {
            let status = gateway.get("/status").await;
            let endpoints = status["pool"]["endpoints"].as_array()?.clone();
            let placed: Vec<u64> = endpoints
                .iter()
                .filter_map(|one| one["in_flight"].as_u64())
                .collect();
            (placed.iter().sum::<u64>() == number).then_some(placed)
        })
        .await;
    }
    for id in &ids {
        gateway
            .send("DELETE", &format!("/simulations/{id}"), "")
            .await;
    }
    until_async("they are gone again", async || {
        let status = gateway.get("/status").await;
        let endpoints = status["pool"]["endpoints"].as_array()?.clone();
        endpoints
            .iter()
            .all(|one| one["in_flight"] == 0)
            .then_some(())
    })
    .await;
    placed
}

#[tokio::test]
async fn work_goes_where_the_gpus_have_room() {
    let machine = Machine::with("devices 3\nset GPU-0 busy 97");
    let gateway = machine.gateway(&[]).await;
    until_async("every instance has reported its GPU", async || {
        let status = gateway.get("/status").await;
        let endpoints = status["pool"]["endpoints"].as_array()?.clone();
        let busy = |one: &Value| one["report"]["utilization"]["gpu"].as_f64();
        let shares: Option<Vec<f64>> = endpoints.iter().map(busy).collect();
        shares.filter(|shares| shares[0] > 0.9 && shares[1] < 0.1 && shares[2] < 0.1)
    })
    .await;
    let steered = twelve_jobs(&gateway, 1).await;
    let control = twelve_jobs(&gateway, 0).await;
    assert!(
        steered[0] <= 3 && steered[1] >= 4 && steered[2] >= 4,
        "{steered:?}"
    );
    assert_eq!(control, [4, 4, 4], "the same GPUs, and nobody asks");
}

/// Iterations that take one job alone about so many seconds.
async fn iterations(gateway: &Process, seconds: f64) -> u64 {
    submit(gateway, "warm-up", 300_000, "a").await;
    let speed = until_async("a first job ends", async || {
        let view = gateway.get("/simulations/warm-up").await;
        assert_ne!(view["status"], "failed", "{view}");
        let ended = view["status"] == "finished";
        ended.then(|| view["iterations_per_second"].as_f64().unwrap())
    })
    .await;
    ((speed * seconds) as u64).max(10_000)
}

/// Takes all six slots; gives the jobs that do.
async fn block(gateway: &Process, round: &str) -> Vec<String> {
    let ids: Vec<String> = (0..6)
        .map(|number| format!("blocker-{round}-{number}"))
        .collect();
    for id in &ids {
        submit(gateway, id, ENDLESS, "blocker").await;
    }
    for id in &ids {
        until_async("it runs", async || {
            let view = gateway.get(&format!("/simulations/{id}")).await;
            (view["status"] == "running").then_some(())
        })
        .await;
    }
    ids
}

/// Thirty jobs of a crowd wait, then six of `late`; gives how many of the crowd's have not ended
/// when the last of the six has.
async fn left_of_the_crowd(gateway: &Process, late: &str, iterations: u64) -> usize {
    let blockers = block(gateway, late).await;
    for number in 0..30 {
        submit(
            gateway,
            &format!("crowd-{late}-{number}"),
            iterations,
            "crowd",
        )
        .await;
    }
    for number in 0..6 {
        submit(gateway, &format!("late-{late}-{number}"), iterations, late).await;
    }
    for id in &blockers {
        gateway
            .send("DELETE", &format!("/simulations/{id}"), "")
            .await;
    }
    let unfinished = async |whose: String| {
        let list = gateway.get("/simulations").await;
        let all = list["newest"].as_array().unwrap().clone();
        let running = all.iter().filter(|job| job["status"] != "finished");
        running
            .filter(|job| job["id"].as_str().unwrap().starts_with(&whose))
            .count()
    };
    let left = until_async("the late ones have ended", async || {
        if unfinished(format!("late-{late}")).await > 0 {
            return None;
        }
        Some(unfinished(format!("crowd-{late}")).await)
    })
    .await;
    until_async("all have ended", async || {
        (unfinished("crowd".into()).await == 0).then_some(())
    })
    .await;
    left
}

#[tokio::test]
async fn tenants_share_gpu_slots_in_fair_turns() {
    let machine = Machine::with("devices 3");
    let gateway = machine.gateway(&[]).await;
    let iterations = iterations(&gateway, 0.3).await;
    let shared = left_of_the_crowd(&gateway, "late", iterations).await;
    // Who belongs to the crowd waits behind the crowd.
    let control = left_of_the_crowd(&gateway, "crowd", iterations).await;
    assert!(
        shared >= 13,
        "the late tenant waited for {} of 30",
        30 - shared
    );
    assert!(
        control <= 9,
        "first come, first served within a tenant: {control} left"
    );
    let turns = gateway.get("/gpu/turns").await;
    let tenants: Vec<&str> = turns
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["tenant"].as_str())
        .collect();
    assert!(
        tenants.contains(&"crowd") && tenants.contains(&"late"),
        "{turns}"
    );
}
