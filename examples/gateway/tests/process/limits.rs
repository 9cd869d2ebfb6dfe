//! A client that sends too much is told when to come back; an operator still sees everything.

use serde_json::json;

use crate::support::{Process, send, until_async};

#[tokio::test]
async fn one_request_too_many_is_answered_429_and_the_limit_can_be_lifted() {
    let arguments = [
        "--quiet",
        "--listen",
        "127.0.0.1:0",
        "--requests-per-second",
        "1",
    ];
    let gateway = Process::start(&arguments, 2);
    let mut statuses = Vec::new();
    let mut refused = None;
    for _ in 0..20 {
        let answer = gateway.send("GET", "/simulations", "").await;
        statuses.push(answer.status().as_u16());
        if answer.status() == 429 {
            refused = Some(answer);
        }
    }
    assert_eq!(statuses[0], 200);
    let refused = refused.expect("twenty requests do not take twenty seconds");
    let seconds = refused.headers()["retry-after"].to_str().unwrap();
    assert_eq!(seconds, "1");
    for page in [
        "/",
        "/status",
        "/metrics",
        "/enterprise/scaling/load-balancer/status",
    ] {
        assert_eq!(gateway.send("GET", page, "").await.status(), 200, "{page}");
    }
    let more = json!({ "limits": { "requests_per_second": 1000 } }).to_string();
    let path = "/enterprise/scaling/load-balancer/configure";
    assert_eq!(gateway.send("POST", path, more).await.status(), 200);
    for _ in 0..20 {
        assert_eq!(gateway.send("GET", "/simulations", "").await.status(), 200);
    }
}

#[tokio::test]
async fn every_crate_explains_its_metrics() {
    let gateway = Process::quiet();
    gateway.instances(3).await;
    // The autoscaler speaks up with its first decision.
    let text = until_async("metrics of every crate", async || {
        let answer = gateway.send("GET", "/metrics", "").await;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let of_a_crate = |prefix: &&str| text.lines().any(|line| line.starts_with(*prefix));
        let all = ["lb_autoscale_", "lb_cache_", "lb_endpoints", "lb_registry_"]
            .iter()
            .all(of_a_crate);
        all.then_some(text)
    })
    .await;
    let series = text.lines().filter(|line| line.starts_with("lb_"));
    let names = series.map(|line| line.split(['{', ' ']).next().unwrap());
    let bases = names.map(|name| {
        let part = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        part.filter(|base| text.contains(&format!("# TYPE {base} ")))
            .unwrap_or(name)
    });
    let bases: std::collections::BTreeSet<_> = bases.collect();
    for base in bases {
        assert!(
            text.contains(&format!("# HELP {base} ")),
            "{base} is not explained"
        );
    }
}

/// Tenants that instances have heard of, after a direct run and a job on behalf of `research`.
async fn tenants_heard(more: &[&str]) -> Vec<String> {
    let arguments = [&["--quiet", "--listen", "127.0.0.1:0"][..], more].concat();
    let gateway = Process::start(&arguments, 2);
    gateway.instances(3).await;
    let spec = json!({
        "inputs": { "x": { "distribution": "normal", "mean": 0, "std_dev": 1 } },
        "formula": "x", "iterations": 1_000, "seed": 1,
    });
    let mut heard = Vec::new();
    for (method, path) in [("POST", "/simulate"), ("PUT", "/simulations/a")] {
        let headers = [("x-tenant", "research")];
        let sent = gateway.send_with(method, path, &headers, spec.to_string());
        assert!(sent.await.status().is_success(), "{path}");
    }
    until_async("the job has ended", async || {
        let view = gateway.get("/simulations/a").await;
        (view["status"] == "finished").then_some(())
    })
    .await;
    let status = gateway.get("/status").await;
    for endpoint in status["pool"]["endpoints"].as_array().expect("endpoints") {
        let uri = endpoint["uri"].as_str().expect("a URI");
        let authority = uri.trim_start_matches("http://").trim_end_matches('/');
        let turns = send(authority, "GET", "/gpu/turns", "")
            .await
            .expect("turns");
        let turns: Vec<serde_json::Value> = serde_json::from_slice(turns.body()).expect("a list");
        heard.extend(
            turns
                .iter()
                .filter_map(|one| Some(one["tenant"].as_str()?.to_owned())),
        );
    }
    heard.sort();
    heard.dedup();
    heard
}

#[tokio::test]
async fn a_tenant_counts_only_if_a_trusted_proxy_names_it() {
    assert_eq!(tenants_heard(&[]).await, ["anonymous"]);
    let trusted = ["--trusted-proxy", "127.0.0.1/32"];
    assert_eq!(tenants_heard(&trusted).await, ["research"]);
}
