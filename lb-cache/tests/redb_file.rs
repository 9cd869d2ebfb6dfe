//! redb on a real file: conditions, expiry, kill -9 of the writing process.
#![cfg(feature = "redb")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use lb_cache::TieredCache;
use lb_cache::redb::RedbTier;
use lb_cache::tier::{Tier, When};

const WRITER: &str = "LB_CACHE_TEST_WRITER";

#[tokio::test]
async fn a_conditional_write_loses_against_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let tier = RedbTier::open(folder.path().join("c.redb")).unwrap();
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

#[tokio::test]
async fn expired_values_are_gone_and_may_be_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let tier = RedbTier::open(folder.path().join("c.redb")).unwrap();
    tier.put("k".into(), "x".into(), Some(Duration::ZERO), When::Always)
        .await
        .unwrap();
    assert_eq!(tier.get("k".into()).await.unwrap(), None);
    let anew = tier
        .put("k".into(), "y".into(), None, When::Unchanged(Bytes::new()))
        .await;
    assert!(anew.unwrap());
    let both = tier.get_many(vec!["none".into(), "k".into()]).await;
    let both: Vec<_> = both.into_iter().map(Result::unwrap).collect();
    assert_eq!(both, [None, Some("y".into())]);
}

#[tokio::test]
async fn clearing_removes_the_prefix_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let tier = RedbTier::open(folder.path().join("c.redb")).unwrap();
    let tier = &tier;
    let put = |key: String| {
        tier.put(
            key.into(),
            "x".into(),
            Some(Duration::from_secs(60)),
            When::Always,
        )
    };
    for n in 0..20 {
        put(format!("a:{n}")).await.unwrap();
    }
    put("b:1".to_owned()).await.unwrap();
    tier.clear("a:".into()).await.unwrap();
    assert_eq!(tier.get("a:7".into()).await.unwrap(), None);
    assert!(tier.get("b:1".into()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_second_opener_gets_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.redb");
    let _first = RedbTier::open(&path).unwrap();
    assert!(RedbTier::open(&path).is_err());
}

fn cache(path: &str) -> TieredCache<u32, u32> {
    let tier = RedbTier::open(path).expect("the file opens");
    TieredCache::builder("file")
        .database(tier)
        .tier_deadline(Duration::from_secs(10))
        .build()
        .expect("a valid policy")
}

/// What the process does that the next test kills.
async fn write_until_killed(path: &str) {
    let cache = cache(path);
    for n in 0.. {
        cache.insert(n, n).await.expect("a write");
        println!("acknowledged {n}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    if let Ok(path) = std::env::var(WRITER) {
        return write_until_killed(&path).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.redb").display().to_string();
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_was_acknowledged_survives_kill_9",
            "--nocapture",
        ])
        .env(WRITER, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let number = |line: String| {
        line.split_once("acknowledged ")
            .and_then(|(_, n)| n.parse::<u32>().ok())
    };
    let last = lines.filter_map(number).find(|n| *n >= 50).unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    let cache = cache(&path);
    for n in 0..=last {
        assert_eq!(cache.get(&n).await.unwrap().as_deref(), Some(&n));
    }
}
