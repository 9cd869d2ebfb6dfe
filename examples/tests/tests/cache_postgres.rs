//! lb-cache on a real PostgreSQL: conditions, expiry, kill -9, and every statement on an index at 1e6 rows.

use std::time::Duration;

use bytes::Bytes;
use lb_cache::postgres::{self, PostgresTier};
use lb_cache::tier::{Tier, When};
use lb_cache::{BoxError, Level, Local, TieredCache};
use testkit::postgres::Postgres;

type Cache = TieredCache<String, u32>;

async fn tier(server: &Postgres) -> PostgresTier {
    let tier = PostgresTier::new(&server.description(), 4).expect("a description");
    tier.create_table().await.expect("the table");
    tier
}

fn cache(tier: &PostgresTier) -> Cache {
    Cache::builder("pg")
        .local(Local::ttl(100, Duration::from_secs(60)))
        .database(tier.clone())
        // The machine may be busy; the limits of a call are not the subject here.
        .tier_deadline(Duration::from_secs(5))
        .build()
        .expect("a valid policy")
}

async fn load(cache: &Cache, key: &str, value: u32) -> u32 {
    let loaded = cache.get_or_load(
        &key.to_owned(),
        move || async move { Ok::<_, BoxError>(value) },
    );
    *loaded.await.expect("loads")
}

const PATIENCE: Duration = Duration::from_secs(20);

async fn until_written(cache: &Cache, writes: u64) {
    testkit::wait::found("the write arrives", PATIENCE, async || {
        let database = cache.stats().database?;
        (database.writes >= writes).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_what_the_tier_promises() {
    let server = Postgres::start().expect("postgres");
    let tier = tier(&server).await;
    conditions_hold(&tier).await;
    values_expire_and_are_purged(&tier).await;
    a_cache_reads_through_and_clears(&tier).await;
    acknowledged_writes_survive_kill_9(&server, &tier).await;
    every_statement_uses_an_index_at_a_million_rows(&server, &tier).await;
}

async fn conditions_hold(tier: &PostgresTier) {
    let key = Bytes::from("cond");
    let stamped = |n: u8| Bytes::from([vec![0; 24], vec![n; 8], vec![9]].concat());
    let seen = |n: u8| When::Unchanged(Bytes::from(vec![n; 8]));
    let put = |value, when| tier.put(key.clone(), value, None, when);
    assert!(
        put(stamped(1), When::Unchanged(Bytes::new()))
            .await
            .expect("PostgreSQL answers")
    );
    assert!(
        !put(stamped(2), When::Unchanged(Bytes::new()))
            .await
            .expect("PostgreSQL answers")
    );
    assert!(put(stamped(2), seen(1)).await.expect("PostgreSQL answers"));
    assert!(!put(stamped(3), seen(1)).await.expect("PostgreSQL answers"));
    assert!(
        put(stamped(4), When::Always)
            .await
            .expect("PostgreSQL answers")
    );
    assert_eq!(
        tier.get(key.clone()).await.expect("PostgreSQL answers"),
        Some(stamped(4))
    );
    let both = tier.get_many(vec!["none".into(), key.clone()]).await;
    let both: Vec<_> = both.into_iter().flatten().collect();
    assert_eq!(both, [None, Some(stamped(4))]);
}

async fn values_expire_and_are_purged(tier: &PostgresTier) {
    let brief = Some(Duration::from_millis(1));
    tier.put("brief".into(), "x".into(), brief, When::Always)
        .await
        .expect("PostgreSQL answers");
    testkit::wait::found("it expires", PATIENCE, async || {
        let kept = tier.get("brief".into()).await.expect("PostgreSQL answers");
        kept.is_none().then_some(())
    })
    .await;
    assert!(
        tier.put(
            "brief".into(),
            "y".into(),
            brief,
            When::Unchanged(Bytes::new())
        )
        .await
        .expect("PostgreSQL answers")
    );
    let purged = testkit::wait::found("it is purged", PATIENCE, async || {
        let purged = tier.purge().await.expect("PostgreSQL answers");
        (purged > 0).then_some(purged)
    });
    assert_eq!(purged.await, 1);
}

async fn a_cache_reads_through_and_clears(tier: &PostgresTier) {
    let (a, b) = (cache(tier), cache(tier));
    assert_eq!(load(&a, "k", 1).await, 1);
    until_written(&a, 1).await;
    assert_eq!(load(&b, "k", 2).await, 1);
    a.invalidate(&"k".to_owned())
        .await
        .expect("PostgreSQL answers");
    b.clear_level(Level::Local)
        .await
        .expect("PostgreSQL answers");
    assert_eq!(load(&b, "k", 3).await, 3);
    a.insert("l".to_owned(), 4)
        .await
        .expect("PostgreSQL answers");
    a.clear().await.expect("PostgreSQL answers");
    assert_eq!(load(&cache(tier), "l", 5).await, 5);
}

async fn acknowledged_writes_survive_kill_9(server: &Postgres, tier: &PostgresTier) {
    let cache = cache(tier);
    for n in 0..100 {
        cache
            .insert(format!("kept-{n}"), n)
            .await
            .expect("PostgreSQL answers");
    }
    server.server().kill();
    // The server's children serve on for a moment, until they notice.
    let refused = async { while cache.insert("lost".to_owned(), 1).await.is_ok() {} };
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await;
    refused.expect("a write without a server is reported");
    assert_eq!(
        load(&cache, "elsewhere", 7).await,
        7,
        "a read without a server is not"
    );
    server.restart().expect("postgres again");
    let again = self::cache(&self::tier(server).await);
    for n in 0..100 {
        assert_eq!(load(&again, &format!("kept-{n}"), 1_000).await, n);
    }
}

async fn every_statement_uses_an_index_at_a_million_rows(server: &Postgres, tier: &PostgresTier) {
    let (client, connection) =
        tokio_postgres::connect(&server.description(), tokio_postgres::NoTls)
            .await
            .expect("a connection");
    let driver = tokio::spawn(connection);
    client
        .batch_execute(
            "INSERT INTO lb_cache SELECT convert_to('row:' || n, 'UTF8'), convert_to(repeat('v', 40), 'UTF8'), \
             CASE WHEN n % 2 = 0 THEN now() + n * interval '1 second' END FROM generate_series(1, 1000000) n; \
             ANALYZE lb_cache;",
        )
        .await
        .expect("a million rows");
    let statements = [
        (postgres::GET, "'row:77'::bytea, 1000"),
        (
            postgres::GET_MANY,
            "ARRAY['row:77', 'row:78']::bytea[], 1000",
        ),
        // How an upsert finds its row: "Conflict Arbiter Indexes".
        (postgres::PUT, "'row:77'::bytea, 'x'::bytea, now()"),
        (postgres::PUT_NEW, "'row:77'::bytea, 'x'::bytea, now()"),
        (
            postgres::PUT_UNCHANGED,
            "'row:77'::bytea, 'x'::bytea, now(), 'y'::bytea",
        ),
        (postgres::CLEAR, "'row:1'::bytea, 'row:2'::bytea"),
        (postgres::PURGE, ""),
    ];
    for (number, (statement, arguments)) in statements.iter().enumerate() {
        uses_an_index(&client, &format!("s{number}"), statement, arguments).await;
    }
    let none = "SELECT 1 FROM lb_cache WHERE octet_length(value) = 7";
    let blind = format!("PREPARE blind AS {none}");
    client.batch_execute(&blind).await.expect("a statement");
    assert!(
        plan(&client, "blind").await.contains("Seq Scan"),
        "the judge"
    );
    assert!(
        tier.put("row:77".into(), "x".into(), None, When::Always)
            .await
            .expect("PostgreSQL answers")
    );
    driver.abort();
}

/// Whether this call finds its rows by an index, with the plan for its arguments and with the one for any
/// that a server settles on later.
async fn uses_an_index(
    client: &tokio_postgres::Client,
    name: &str,
    statement: &str,
    arguments: &str,
) {
    client
        .batch_execute(&format!("PREPARE {name} AS {statement}"))
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    let call = if arguments.is_empty() {
        name.to_owned()
    } else {
        format!("{name}({arguments})")
    };
    for mode in ["force_custom_plan", "force_generic_plan"] {
        client
            .batch_execute(&format!("SET plan_cache_mode = {mode}"))
            .await
            .expect("a mode");
        let plan = plan(client, &call).await;
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{mode}: {statement}\n{plan}"
        );
    }
}

async fn plan(client: &tokio_postgres::Client, call: &str) -> String {
    let explain = format!("EXPLAIN EXECUTE {call}");
    let rows = client.query(&explain, &[]).await.expect("a plan");
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}
