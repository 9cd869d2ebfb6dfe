//! The admin service: every route, and what is not there.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use lb_gpu::admin::Admin;
use lb_gpu::fair::{Demand, FairShare};
use lb_gpu::health::Verdict;
use lb_gpu::probe::AbsentReason;
use lb_gpu::reading::DeviceReading;
use lb_gpu::{FakeGpus, FakeProbe, Sampler, SamplerConfig};
use serde_json::Value;
use tower_service::Service;

struct Answer {
    status: StatusCode,
    head: Response<()>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }
}

async fn ask(admin: &Admin, method: &str, path: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Full::<&[u8]>::default());
    let response = admin.clone().call(request.expect("a valid request")).await;
    let Ok(response) = response;
    let (parts, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .expect("the body is in memory")
        .to_bytes();
    Answer {
        status: parts.status,
        text: String::from_utf8(body.to_vec()).expect("the body is text"),
        head: Response::from_parts(parts, ()),
    }
}

async fn one_gpu() -> (Sampler, FakeGpus) {
    let (probe, gpus) = FakeProbe::with_devices([DeviceReading::new("GPU-1")]);
    let config = SamplerConfig::builder()
        .period(Duration::from_millis(100))
        .build();
    let sampler = Sampler::start_with(probe, config.expect("these settings work"));
    sampler.ready().await;
    (sampler, gpus)
}

async fn until_verdict(sampler: &Sampler, verdict: Verdict) {
    let mut latest = sampler.subscribe();
    let seen = latest.wait_for(|snapshot| snapshot.devices[0].health.verdict == verdict);
    tokio::time::timeout(Duration::from_secs(20), seen)
        .await
        .expect("it happens within 20 s")
        .expect("the sampler lives");
}

#[tokio::test]
async fn the_snapshot_is_one_document() {
    let (sampler, _gpus) = one_gpu().await;
    let answer = ask(&Admin::new(&sampler), "GET", "/").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.head.headers()["content-type"], "application/json");
    let document = answer.json();
    assert_eq!(document["availability"], "present");
    assert_eq!(document["devices"][0]["id"], "GPU-1");
    assert_eq!(document["devices"][0]["verdict"], "healthy");
    assert_eq!(
        document["devices"][0]["metrics"]["busy"],
        Value::Null,
        "unknown is null"
    );
}

#[tokio::test]
async fn a_machine_without_a_gpu_is_healthy_and_says_why_it_has_none() {
    let sampler = Sampler::start(FakeProbe::absent(AbsentReason::NoLibrary));
    sampler.ready().await;
    let admin = Admin::new(&sampler);
    assert_eq!(ask(&admin, "GET", "/health").await.status, StatusCode::OK);
    let document = ask(&admin, "GET", "/").await.json();
    assert_eq!(document["availability"], "absent");
    assert_eq!(
        document["reason"],
        "the management library is not installed"
    );
    let metrics = ask(&admin, "GET", "/metrics").await;
    assert_eq!(
        metrics.head.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(metrics.text.contains("lb_gpu_available 0\n"));
}

#[tokio::test]
async fn a_lost_gpu_is_unavailable_until_an_operator_clears_it() {
    let (sampler, gpus) = one_gpu().await;
    let admin = Admin::new(&sampler);
    gpus.raise_xid("GPU-1", 79);
    until_verdict(&sampler, Verdict::Unfit).await;
    let sick = ask(&admin, "GET", "/health").await;
    assert_eq!(sick.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(sick.json()["cause"], "GPU-1: XID 79");

    let cleared = ask(&admin, "POST", "/devices/GPU-1/clear-health").await;
    assert_eq!(cleared.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&admin, "GET", "/health").await.status, StatusCode::OK);
    let unknown = ask(&admin, "POST", "/devices/GPU-9/clear-health").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_scheduler_explains_itself() {
    let (sampler, _gpus) = one_gpu().await;
    let share = FairShare::builder()
        .slots(1)
        .tenant("a", 1.0)
        .tenant("b", 2.0)
        .build()
        .unwrap();
    let _permit = share.acquire("a", Demand::slots(1)).await.unwrap();
    let _waiting = share.acquire("b", Demand::slots(1));
    let admin = Admin::new(&sampler).scheduler(share);
    let all = ask(&admin, "GET", "/scheduler").await.json();
    assert_eq!(
        (&all[0]["tenant"], &all[0]["running"]),
        (&"a".into(), &1.into())
    );
    let one = ask(&admin, "GET", "/scheduler/b").await.json();
    assert_eq!((&one["waiting"], &one["position"]), (&1.into(), &0.into()));
    assert!(one["reason"]["does_not_fit"].is_object(), "{one}");
    assert_eq!(
        ask(&admin, "GET", "/scheduler/c").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn names_that_a_path_cannot_hold_are_found_percent_encoded() {
    let slice = "MIG-GPU-1/2/0";
    let (probe, _gpus) = FakeProbe::with_devices([DeviceReading::new(slice)]);
    let sampler = Sampler::start(probe);
    sampler.ready().await;
    let names = ["team a", "a/b", "größe", "50%", "..", "\"<x>\n"];
    let builder = FairShare::builder().slots(1);
    let share = names
        .iter()
        .fold(builder, |all, name| all.tenant(*name, 1.0));
    let admin = Admin::new(&sampler).scheduler(share.build().unwrap());
    for (name, path) in names.iter().zip([
        "team%20a",
        "a%2Fb",
        "gr%C3%B6%C3%9Fe",
        "50%25",
        "..",
        "%22%3Cx%3E%0A",
    ]) {
        let one = ask(&admin, "GET", &format!("/scheduler/{path}")).await;
        assert_eq!(one.status, StatusCode::OK, "{path}");
        assert_eq!(one.json()["tenant"], *name);
    }
    let unknown = ask(&admin, "GET", "/scheduler/%ff").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let cleared = ask(&admin, "POST", "/devices/MIG-GPU-1%2F2%2F0/clear-health").await;
    assert_eq!(cleared.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_is_not_there_has_exact_statuses() {
    let (sampler, _gpus) = one_gpu().await;
    let admin = Admin::new(&sampler);
    for path in ["/nothing", "/scheduler", "/devices", "/devices/GPU-1"] {
        assert_eq!(
            ask(&admin, "GET", path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let get = ask(&admin, "GET", "/devices/GPU-1/clear-health").await;
    assert_eq!(
        (get.status, &get.head.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
    let delete = ask(&admin, "DELETE", "/health").await;
    assert_eq!(delete.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(delete.head.headers()["allow"], "GET, HEAD");
}
