//! What values and keys look like in the lower tiers, and what happens when something else stands there.

use std::time::Duration;

use bytes::Bytes;
use lb_cache::codec::{Codec, Postcard};
use lb_cache::policy::WriteMode;
use lb_cache::tier::{Chaos, ChaosTier, MemoryTier, Tier, When};
use lb_cache::{BoxError, Builder, Level, Local, Policy, TieredCache};

const MINUTE: Duration = Duration::from_secs(60);
type Memory = ChaosTier<MemoryTier>;
type Cache = TieredCache<String, u32>;

fn tier() -> Memory {
    ChaosTier::new(MemoryTier::new(10_000))
}

fn builder(tier: &Memory) -> Builder<String, u32> {
    Cache::builder("test")
        .local(Local::lru(1_000))
        .virtual_time()
        .shared(tier.clone(), 10 * MINUTE)
}

fn shared(tier: &Memory) -> Cache {
    builder(tier).build().expect("a valid policy")
}

async fn load(cache: &Cache, key: &str, value: u32) -> u32 {
    let load = move || async move { Ok::<_, BoxError>(value) };
    *cache
        .get_or_load(&key.to_owned(), load)
        .await
        .expect("loads")
}

#[tokio::test(start_paused = true)]
async fn damaged_foreign_and_huge_values_are_misses() {
    let redis = tier();
    let cache = shared(&redis);
    cache.insert("k".to_owned(), 1).await.unwrap();
    cache.clear_level(Level::Local).await.unwrap();
    redis.set(Chaos::Damaged);
    assert_eq!(load(&cache, "k", 2).await, 2);
    redis.set(Chaos::Well);
    let key: Bytes = "lb:{}:test:0:x".into();
    for garbage in [
        vec![],
        vec![0; 3],
        b"LC\x01".to_vec(),
        b"LC\x09 newer than this".to_vec(),
        vec![7; 20 << 20],
    ] {
        redis
            .put(key.clone(), garbage.into(), None, When::Always)
            .await
            .unwrap();
        assert_eq!(load(&cache, "x", 5).await, 5);
        cache.clear_level(Level::Local).await.unwrap();
    }
    assert!(cache.stats().shared.unwrap().corrupt >= 4);
}

#[tokio::test(start_paused = true)]
async fn another_type_or_schema_under_the_same_key_is_a_miss() {
    let redis = tier();
    let texts = TieredCache::<String, String>::builder("test")
        .shared(redis.clone(), MINUTE)
        .build()
        .unwrap();
    texts
        .insert(
            "k".to_owned(),
            "a text that is no number \u{fffd}".repeat(9),
        )
        .await
        .unwrap();
    let mut policy = Policy::results();
    policy.schema = 1;
    let newer = Cache::builder("test")
        .policy(policy)
        .shared(redis.clone(), MINUTE)
        .build()
        .unwrap();
    assert_eq!(load(&newer, "k", 2).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_too_long_for_lower_tiers_works_here() {
    let redis = tier();
    let cache = shared(&redis);
    let key = "x".repeat(5_000);
    assert_eq!(load(&cache, &key, 1).await, 1);
    cache.insert(key.clone(), 2).await.unwrap();
    assert_eq!(cache.get_if_local(&key).as_deref(), Some(&2));
    cache.invalidate(&key).await.unwrap();
    assert_eq!(cache.get_if_local(&key), None);
    assert_eq!(cache.stats().shared.unwrap().writes, 0);
}

/// Postcard under another name.
struct Other;

impl Codec<u32> for Other {
    fn id(&self) -> u8 {
        200
    }

    fn encode(&self, value: &u32) -> Result<Vec<u8>, BoxError> {
        Postcard.encode(value)
    }

    fn decode(&self, bytes: &[u8]) -> Result<u32, BoxError> {
        Postcard.decode(bytes)
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_may_change_its_codec_while_it_runs() {
    let redis = tier();
    shared(&redis).insert("k".to_owned(), 1).await.unwrap();
    let newer = || builder(&redis).codec(Other).build().unwrap();
    let first = newer();
    assert_eq!(
        load(&first, "k", 2).await,
        2,
        "what another codec wrote is a miss"
    );
    assert_eq!(first.stats().shared.unwrap().corrupt, 1);
    first.insert("k".to_owned(), 3).await.unwrap();
    assert_eq!(load(&newer(), "k", 4).await, 3);
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_is_readable_in_the_tier() {
    let redis = tier();
    let build = || {
        let cache = TieredCache::<String, Vec<String>>::builder("json").virtual_time();
        let cache = cache.shared(redis.clone(), MINUTE);
        cache.codec(lb_cache::codec::Json).build().unwrap()
    };
    let words = vec!["a".to_owned(), "b".to_owned()];
    build().insert("k".to_owned(), words.clone()).await.unwrap();
    let stored = redis.get("lb:{}:json:0:k".into()).await.unwrap().unwrap();
    assert!(stored.ends_with(br#"["a","b"]"#), "{stored:?}");
    assert_eq!(
        build().get(&"k".to_owned()).await.unwrap().as_deref(),
        Some(&words)
    );
}

#[tokio::test(start_paused = true)]
async fn keys_of_any_bytes_are_told_apart() {
    let redis = tier();
    let keys = [
        "",
        "\0",
        " ",
        "\r\nFLUSHALL\r\n",
        "{x}",
        "}{",
        "*",
        "[a-z]",
        "\\",
        ":",
        "\u{fffd}",
    ];
    let cache = shared(&redis);
    for (value, key) in (0..).zip(keys) {
        cache.insert(key.to_owned(), value).await.unwrap();
    }
    let other = shared(&redis);
    for (value, key) in (0..).zip(keys) {
        assert_eq!(load(&other, key, 99).await, value, "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_around_the_cache_only_invalidates() {
    let redis = tier();
    let around = builder(&redis).writes(WriteMode::Around).build().unwrap();
    assert_eq!(load(&around, "k", 1).await, 1);
    around.insert("k".to_owned(), 2).await.unwrap();
    assert_eq!(around.get_if_local(&"k".to_owned()), None);
    assert_eq!(
        load(&shared(&redis), "k", 3).await,
        3,
        "nothing was written, the old value is gone"
    );
}

/// The bytes that the tier holds for a value of so many zeros, and how many of them come back.
async fn stored(policy: &Policy, zeros: usize) -> (Option<usize>, Option<usize>) {
    let redis = tier();
    let build = || {
        let cache = TieredCache::<String, Vec<u8>>::builder("big").policy(policy.clone());
        let cache = cache.virtual_time().shared(redis.clone(), MINUTE);
        cache.build().expect("a valid policy")
    };
    let key = "k".to_owned();
    let written = build().insert(key.clone(), vec![0; zeros]).await;
    written.expect("a shared tier fails nobody");
    let bytes = redis.get("lb:{}:big:0:k".into()).await.expect("memory");
    let read = build().get(&key).await.expect("no loader to fail");
    // A tombstone stands for what was not written.
    let bytes = bytes.map(|bytes| bytes.len()).filter(|_| read.is_some());
    (bytes, read.map(|value| value.len()))
}

#[tokio::test(start_paused = true)]
async fn large_values_are_compressed_and_too_large_ones_stay_here() {
    let mut policy = Policy::results();
    policy.max_value_bytes = 10_000;
    let (bytes, read) = stored(&policy, 9_000).await;
    assert!(read == Some(9_000) && bytes > Some(9_000), "{bytes:?}");
    policy.compress_above = Some(1_000);
    let (bytes, read) = stored(&policy, 9_000).await;
    let small = cfg!(feature = "compress");
    assert!(
        read == Some(9_000) && (bytes < Some(1_000)) == small,
        "{bytes:?}"
    );
    // However well they compress: a reader would have to unpack them.
    for zeros in [10_001, 100 << 20] {
        assert_eq!(stored(&policy, zeros).await, (None, None));
    }
}
