//! lb-cache on a real Redis server: what its memory double cannot show.

#![allow(
    clippy::unwrap_used,
    reason = "a step of these tests that fails ends the test"
)]

use std::time::Duration;

use bytes::Bytes;
use lb_cache::redis::RedisTier;
use lb_cache::tier::{Tier, TierError, When};
use lb_cache::{BoxError, Level, Local, TieredCache};
use testkit::redis::{PASSWORD, Redis};

type Cache = TieredCache<String, Vec<u8>>;

fn tier(redis: &Redis) -> RedisTier {
    RedisTier::single(redis.url())
        .password(PASSWORD)
        .build()
        .expect("an address")
}

fn cache(redis: &Redis) -> Cache {
    Cache::builder("real")
        .local(Local::ttl(100, Duration::from_secs(60)))
        .shared(tier(redis), Duration::from_secs(600))
        .build()
        .expect("a valid policy")
}

async fn load(cache: &Cache, key: &str, value: u8) -> u8 {
    let value = cache
        .get_or_load(&key.to_owned(), move || async move {
            Ok::<_, BoxError>(vec![value])
        })
        .await;
    value.expect("loads")[0]
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Duration::from_secs(20);
    testkit::wait::found(what, limit, async || holds().then_some(())).await;
}

fn writes(cache: &Cache) -> u64 {
    cache.stats().shared.map_or(0, |shared| shared.writes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_what_the_tier_promises() {
    let redis = Redis::start().expect("redis");
    what_one_instance_writes_another_reads(&redis).await;
    a_conditional_write_loses_against_a_change(&redis).await;
    other_types_and_garbage_are_misses(&redis).await;
    keys_of_any_bytes_are_told_apart(&redis).await;
    a_foreign_value_of_100_mb_is_a_miss_and_healed(&redis).await;
    clearing_removes_the_namespace_and_nothing_else(&redis).await;
    many_keys_come_in_one_round_trip(&redis).await;
    assert_eq!(tier(&redis).advice().await.unwrap(), Vec::<String>::new());
}

async fn what_one_instance_writes_another_reads(redis: &Redis) {
    let (a, b) = (cache(redis), cache(redis));
    a.insert("k".to_owned(), vec![1]).await.unwrap();
    assert_eq!(load(&b, "k", 2).await, 1);
    let ttl: u64 = redis
        .cli(&["pttl", "lb:{}:real:0:k"])
        .trim()
        .parse()
        .unwrap();
    assert!((500_000..=600_000).contains(&ttl), "{ttl}");
    a.invalidate(&"k".to_owned()).await.unwrap();
    b.clear_level(Level::Local).await.unwrap();
    assert_eq!(load(&b, "k", 3).await, 3, "the tombstone is a miss");
}

async fn a_conditional_write_loses_against_a_change(redis: &Redis) {
    let tier = tier(redis);
    let key = Bytes::from("cond");
    let stamped = |n: u8| Bytes::from([vec![0; 24], vec![n; 8]].concat());
    let seen = |n: u8| When::Unchanged(Bytes::from(vec![n; 8]));
    let put = |value, when| tier.put(key.clone(), value, None, when);
    assert!(
        put(stamped(1), When::Unchanged(Bytes::new()))
            .await
            .unwrap()
    );
    assert!(
        !put(stamped(2), When::Unchanged(Bytes::new()))
            .await
            .unwrap()
    );
    assert!(put(stamped(2), seen(1)).await.unwrap());
    assert!(!put(stamped(3), seen(1)).await.unwrap());
    assert_eq!(tier.get(key.clone()).await.unwrap(), Some(stamped(2)));
}

async fn other_types_and_garbage_are_misses(redis: &Redis) {
    let cache = cache(redis);
    let (list, text) = ("lb:{}:real:0:list", "lb:{}:real:0:text");
    redis.cli(&["rpush", list, "a", "b"]);
    redis.cli(&["set", text, "hello"]);
    assert!(matches!(
        tier(redis).get(list.into()).await,
        Err(TierError::NotAValue)
    ));
    assert_eq!(
        (load(&cache, "list", 1).await, load(&cache, "text", 2).await),
        (1, 2)
    );
    assert_eq!(cache.stats().shared.unwrap().corrupt, 2);
    until("both are healed", || writes(&cache) == 2).await;
    let other = self::cache(redis);
    assert_eq!(
        (load(&other, "list", 8).await, load(&other, "text", 9).await),
        (1, 2)
    );
}

async fn keys_of_any_bytes_are_told_apart(redis: &Redis) {
    let keys = [
        "",
        "\0",
        "\r\nFLUSHALL\r\n",
        "{x}",
        "}{",
        "*",
        "\\",
        "\u{fffd}",
    ];
    let writer = cache(redis);
    for (value, key) in (0..).zip(keys) {
        writer.insert(key.to_owned(), vec![value]).await.unwrap();
    }
    let reader = cache(redis);
    for (value, key) in (0..).zip(keys) {
        assert_eq!(load(&reader, key, 99).await, value, "{key:?}");
    }
}

async fn a_foreign_value_of_100_mb_is_a_miss_and_healed(redis: &Redis) {
    redis.cli(&["config", "set", "maxmemory", "0"]);
    redis.cli(&["setrange", "lb:{}:real:0:huge", "104857600", "x"]);
    let cache = cache(redis);
    assert_eq!(load(&cache, "huge", 1).await, 1);
    until("it is healed", || writes(&cache) == 1).await;
    let length = redis.cli(&["strlen", "lb:{}:real:0:huge"]);
    assert!(length.trim().parse::<u32>().unwrap() < 1_000, "{length}");
    redis.cli(&["config", "set", "maxmemory", "64mb"]);
}

async fn clearing_removes_the_namespace_and_nothing_else(redis: &Redis) {
    let cache = cache(redis);
    redis.cli(&["set", "stranger", "stays"]);
    let tier = tier(redis);
    // More than one step of a clearing.
    for n in 0..1_500 {
        let key = format!("lb:{{}}:real:0:{n}").into();
        let put = tier.put(key, "x".into(), None, When::Always);
        assert!(put.await.unwrap());
    }
    cache.insert("k".to_owned(), vec![1]).await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(redis.cli(&["get", "stranger"]).trim(), "stays");
    assert_eq!(redis.cli(&["keys", "lb:{}:real:*"]).trim(), "");
}

async fn many_keys_come_in_one_round_trip(redis: &Redis) {
    let writer = cache(redis);
    let keys: Vec<String> = (0..50).map(|n| format!("many-{n}")).collect();
    for key in &keys {
        writer.insert(key.clone(), vec![7]).await.unwrap();
    }
    let reader = cache(redis);
    let found = reader.get_many(&keys).await;
    assert!(
        found
            .iter()
            .all(|value| value.as_ref().is_ok_and(Option::is_some))
    );
    assert_eq!(reader.stats().shared.unwrap().latency.count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_be_away_at_first_die_freeze_and_come_back() {
    let port = testkit::port::free();
    let url = format!("redis://127.0.0.1:{port}");
    let tier = RedisTier::single(url)
        .password(PASSWORD)
        .build()
        .expect("an address");
    let cache = Cache::builder("away")
        .shared(tier, Duration::from_secs(60))
        .build()
        .expect("a valid policy");
    assert_eq!(load(&cache, "k", 1).await, 1, "away at first");

    let redis = Redis::start_with(port, &[]).expect("redis");
    until("the first write", || {
        drop(tokio::spawn(cache.get_or_load(&"k".to_owned(), || async {
            Ok::<_, BoxError>(vec![2])
        })));
        writes(&cache) > 0
    })
    .await;

    redis.server().freeze();
    for n in 0..10 {
        assert_eq!(load(&cache, &format!("frozen-{n}"), n).await, n);
    }
    cache.invalidate(&"k".to_owned()).await.unwrap();
    assert_eq!(
        load(&cache, "k", 3).await,
        3,
        "the frozen server still holds 2"
    );
    redis.server().thaw();
    until("the repair after the freeze", || {
        cache
            .stats()
            .shared
            .is_some_and(|shared| shared.distrusted_keys == 0)
    })
    .await;

    redis.restart().expect("redis again");
    let before = writes(&cache);
    until("writes after the restart", || {
        let key = format!("again-{}", writes(&cache));
        drop(tokio::spawn(
            cache.get_or_load(&key, || async { Ok::<_, BoxError>(vec![4]) }),
        ));
        writes(&cache) > before
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_costs_nothing_but_the_tier() {
    let redis = Redis::start().expect("redis");
    let tier = RedisTier::single(redis.url())
        .password("wrong")
        .build()
        .expect("an address");
    let cache = Cache::builder("locked")
        .shared(tier, Duration::from_secs(60))
        .build()
        .expect("a valid policy");
    assert_eq!(load(&cache, "k", 1).await, 1);
    assert_eq!(cache.stats().shared.unwrap().hits, 0);
}
