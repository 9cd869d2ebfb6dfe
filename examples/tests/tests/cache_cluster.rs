//! lb-cache on a real six-node cluster. The long fault runs are in lb-cache's example `cluster_faults`.

#![allow(
    clippy::unwrap_used,
    reason = "a step of these tests that fails ends the test"
)]

use std::time::Duration;

use lb_cache::redis::RedisTier;
use lb_cache::{BoxError, Level, Local, TieredCache};
use testkit::redis::PASSWORD;
use testkit::redis_cluster::RedisCluster;

type Cache = TieredCache<u32, u32>;

fn tier(cluster: &RedisCluster) -> RedisTier {
    RedisTier::cluster(cluster.urls())
        .password(PASSWORD)
        .build()
        .expect("addresses")
}

fn cache(cluster: &RedisCluster) -> Cache {
    Cache::builder("cluster")
        .local(Local::lru(1_000))
        .shared(tier(cluster), Duration::from_secs(600))
        .build()
        .expect("a valid policy")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cluster_keeps_what_the_tier_promises() {
    let cluster = RedisCluster::start().expect("a cluster");
    assert_eq!(
        tier(&cluster).advice().await.expect("settings"),
        Vec::<String>::new()
    );
    keys_of_all_shards_are_shared_and_come_in_batches(&cluster).await;
    clearing_reaches_every_primary(&cluster).await;
    a_killed_primary_reaches_no_caller(&cluster).await;
}

async fn keys_of_all_shards_are_shared_and_come_in_batches(cluster: &RedisCluster) {
    let (writer, reader) = (cache(cluster), cache(cluster));
    let keys: Vec<u32> = (0..60).collect();
    for key in &keys {
        writer.insert(*key, key * 2).await.unwrap();
    }
    // Before its first answer a tier knows no shards.
    assert_eq!(reader.get(&1_000).await.unwrap(), None);
    let questions = || reader.stats().shared.unwrap().latency.count;
    let before = questions();
    let values = reader.get_many(&keys).await;
    let values: Vec<u32> = values
        .into_iter()
        .map(|value| *value.unwrap().expect("shared"))
        .collect();
    assert_eq!(values, keys.iter().map(|key| key * 2).collect::<Vec<_>>());
    assert_eq!(questions() - before, 3, "one question to each shard");
    for primary in cluster.primaries() {
        assert_ne!(
            cluster.node(primary).cli(&["dbsize"]).trim(),
            "0",
            "every shard holds some"
        );
    }
}

async fn clearing_reaches_every_primary(cluster: &RedisCluster) {
    let cache = cache(cluster);
    cache.insert(1, 1).await.unwrap();
    cache.clear().await.unwrap();
    for primary in cluster.primaries() {
        assert_eq!(cluster.node(primary).cli(&["dbsize"]).trim(), "0");
    }
}

async fn a_killed_primary_reaches_no_caller(cluster: &RedisCluster) {
    let cache = cache(cluster);
    for key in 0..100 {
        cache.insert(key, key).await.unwrap();
    }
    let victim = cluster.primaries()[0];
    cluster.node(victim).server().kill();
    for key in 0..100 {
        cache.clear_level(Level::Local).await.unwrap();
        let value = cache
            .get_or_load(&key, move || async move { Ok::<_, BoxError>(key) })
            .await;
        assert_eq!(*value.expect("no error reaches a caller"), key);
    }
}
