//! The admin service, request by request.
#![cfg(feature = "admin")]

use http::{Method, Request};
use http_body_util::BodyExt;
use lb_cache::admin::Admin;
use lb_cache::tier::{Chaos, ChaosTier, MemoryTier};
use lb_cache::{Local, TieredCache};
use serde_json::Value;
use std::time::Duration;
use tower_service::Service;

async fn ask(admin: &mut Admin, method: Method, uri: &str) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(())
        .expect("a request");
    let Ok(answer) = admin.call(request).await;
    let status = answer.status().as_u16();
    let Ok(body) = answer.into_body().collect().await;
    (
        status,
        serde_json::from_slice(&body.to_bytes()).expect("JSON"),
    )
}

fn world() -> (TieredCache<u64, u64>, ChaosTier<MemoryTier>, Admin) {
    let tier = ChaosTier::new(MemoryTier::new(100));
    let cache = TieredCache::<u64, u64>::builder("numbers")
        .local(Local::ttl(10, Duration::from_secs(60)))
        .shared(tier.clone(), Duration::from_secs(60))
        .database(tier.clone())
        .build()
        .expect("a valid policy");
    let admin = Admin::new().with(&cache);
    (cache, tier, admin)
}

#[tokio::test]
async fn statistics_and_policy_are_readable() {
    let (cache, _tier, mut admin) = world();
    cache.insert(7, 49).await.unwrap();
    cache.get(&7).await.unwrap();
    let (status, all) = ask(&mut admin, Method::GET, "/stats").await;
    assert_eq!(
        (status, &all["caches"][0]["local"]["hits"]),
        (200, &Value::from(1))
    );
    let (_, one) = ask(&mut admin, Method::GET, "/caches/numbers/stats").await;
    assert_eq!(one["shared"]["tier"], "memory");
    let (_, policy) = ask(&mut admin, Method::GET, "/caches/numbers/policy").await;
    assert_eq!(policy["local"]["capacity"], 10);
}

#[tokio::test]
async fn an_entry_can_be_inspected_and_invalidated() {
    let (cache, _tier, mut admin) = world();
    cache.insert(7, 49).await.unwrap();
    let (status, held) = ask(&mut admin, Method::GET, "/caches/numbers/entry?key=7").await;
    assert_eq!((status, &held["age"]), (200, &Value::from("fresh")));
    assert_eq!(
        ask(
            &mut admin,
            Method::POST,
            "/caches/numbers/invalidate?key=%37"
        )
        .await
        .0,
        200
    );
    assert_eq!(cache.get(&7).await.unwrap(), None);
    assert_eq!(
        ask(&mut admin, Method::GET, "/caches/numbers/entry?key=7")
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn levels_are_cleared_one_by_one_or_together() {
    let (cache, _tier, mut admin) = world();
    cache.insert(7, 49).await.unwrap();
    assert_eq!(
        ask(
            &mut admin,
            Method::POST,
            "/caches/numbers/clear?level=local"
        )
        .await
        .0,
        200
    );
    assert_eq!(cache.get_if_local(&7), None);
    assert_eq!(
        cache.get(&7).await.unwrap().as_deref(),
        Some(&49),
        "the shared tier still has it"
    );
    assert_eq!(
        ask(&mut admin, Method::POST, "/caches/numbers/clear")
            .await
            .0,
        200
    );
    assert_eq!(cache.get(&7).await.unwrap(), None);
}

#[tokio::test]
async fn nonsense_gets_its_exact_status() {
    let (_cache, _tier, mut admin) = world();
    for (method, uri, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/caches/none/stats", 404),
        (Method::GET, "/caches/numbers/nothing", 404),
        (Method::POST, "/stats", 405),
        (Method::GET, "/caches/numbers/clear", 405),
        (Method::DELETE, "/caches/numbers/entry", 405),
        (Method::POST, "/caches/numbers/invalidate", 400),
        (Method::POST, "/caches/numbers/invalidate?key=seven", 400),
        (Method::POST, "/caches/numbers/invalidate?key=%ff", 400),
        (Method::POST, "/caches/numbers/clear?level=all", 400),
    ] {
        let (seen, body) = ask(&mut admin, method.clone(), uri).await;
        assert_eq!(seen, status, "{method} {uri}");
        assert!(body["error"].is_string());
    }
}

#[tokio::test]
async fn who_uses_the_wrong_method_is_told_the_right_one() {
    let (_cache, _tier, mut admin) = world();
    for (method, uri, allowed) in [
        (Method::POST, "/stats", "GET"),
        (Method::HEAD, "/caches/numbers/policy", "GET"),
        (Method::DELETE, "/caches/numbers/entry?key=1", "GET"),
        (Method::GET, "/caches/numbers/invalidate?key=1", "POST"),
        (Method::OPTIONS, "/caches/numbers/clear", "POST"),
    ] {
        let request = Request::builder().method(method.clone()).uri(uri);
        let Ok(answer) = admin.call(request.body(()).unwrap()).await;
        assert_eq!(answer.status(), 405, "{method} {uri}");
        assert_eq!(answer.headers()["allow"], allowed, "{method} {uri}");
    }
}

#[tokio::test]
async fn a_tier_that_refuses_is_reported() {
    let (_cache, tier, mut admin) = world();
    tier.set(Chaos::Failing);
    assert_eq!(
        ask(&mut admin, Method::POST, "/caches/numbers/invalidate?key=7")
            .await
            .0,
        502
    );
}
