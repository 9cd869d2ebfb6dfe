//! What do callers notice when a Redis Cluster breaks in every way it can?
//!
//! `cargo run -q --release -p lb-cache --example cluster_faults --all-features`
//!
//! Six real nodes (3 primaries, 3 replicas, password, append-only file synced
//! every second, 2 GB LRU). Sixteen callers read all the time, without a local
//! tier, so that every get meets Redis; behind it a source that takes 2 ms. One
//! fault after the other: a primary killed, a primary frozen for 9 s, the whole
//! cluster killed and started again, a replica killed.
//!
//! Required of each: no error and no wrong value reaches a caller; once the
//! breaker is open (from one second after the fault until the recovery) the p99 of
//! a get is at most the p99 of the source plus 5 ms; the tier serves again, without
//! one slip for half a second, within the node time-out plus 5 s. Then the control run: the same freeze without our deadlines and
//! breaker. It must miss the limits, or the judge is blind.

mod load;
mod report;

use std::time::Duration;

use lb_cache::breaker::Limits;
use lb_cache::redis::RedisTier;
use lb_cache::{BoxError, TieredCache};
use testkit::redis::PASSWORD;
use testkit::redis_cluster::{NODE_TIMEOUT, RedisCluster};

use load::Load;
use report::Verdict;

const FREEZE: Duration = Duration::from_secs(9);
/// How long the whole cluster is down.
const DOWN: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(5);
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let cluster = RedisCluster::start()?;
    println!("{}", report::HEADER);
    let ours = Load::start(guarded(&cluster)?);
    ours.calm().await;
    let mut verdicts = vec![
        primary_killed(&cluster, &ours).await?,
        primary_frozen(&cluster, &ours, "primary frozen 9 s").await,
        all_killed(&cluster, &ours).await?,
        replica_killed(&cluster, &ours).await?,
    ];
    drop(ours);
    assert_whole(&cluster);
    let control = Load::start(unguarded(&cluster)?);
    control.calm().await;
    let blind = primary_frozen(&cluster, &control, "control: no deadlines")
        .await
        .passed();
    drop(control);
    verdicts.retain(|verdict| !verdict.passed());
    match (verdicts.is_empty(), blind) {
        (true, false) => {
            println!("PASS: every limit held; the control run missed its limits, as it must");
        }
        (true, true) => return Err("FAIL: the control run passed, so the judge is blind".into()),
        (false, _) => {
            return Err(format!("FAIL: {} of 4 faults missed a limit", verdicts.len()).into());
        }
    }
    Ok(())
}

/// Our cache as it comes.
fn guarded(cluster: &RedisCluster) -> Result<load::Cache, BoxError> {
    let redis = RedisTier::cluster(cluster.urls())
        .password(PASSWORD)
        .build()?;
    Ok(TieredCache::builder("faults")
        .shared(redis, Duration::from_secs(3_600))
        .build()?)
}

/// The same without our deadlines and breaker.
fn unguarded(cluster: &RedisCluster) -> Result<load::Cache, BoxError> {
    let long = Duration::from_secs(60);
    let redis = RedisTier::cluster(cluster.urls())
        .password(PASSWORD)
        .response_timeout(long)
        .build()?;
    let never = Limits {
        failures: u32::MAX,
        ..Limits::default()
    };
    let builder = TieredCache::builder("control").shared(redis, Duration::from_secs(3_600));
    Ok(builder.tier_deadline(long).breaker(never).build()?)
}

async fn primary_killed(cluster: &RedisCluster, load: &Load) -> Result<Verdict, BoxError> {
    let victim = cluster.primaries()[0];
    cluster.node(victim).server().kill();
    let verdict = load
        .judge("primary killed -9", NODE_TIMEOUT + RECOVERY)
        .await;
    cluster.node(victim).restart()?;
    assert_whole(cluster);
    Ok(verdict)
}

async fn primary_frozen(cluster: &RedisCluster, load: &Load, name: &'static str) -> Verdict {
    let victim = cluster.primaries()[0];
    cluster.node(victim).server().freeze();
    let (verdict, ()) = tokio::join!(load.judge(name, NODE_TIMEOUT + RECOVERY), async {
        tokio::time::sleep(FREEZE).await;
        cluster.node(victim).server().thaw();
    });
    assert_whole(cluster);
    verdict
}

async fn all_killed(cluster: &RedisCluster, load: &Load) -> Result<Verdict, BoxError> {
    cluster.kill_all();
    let limit = DOWN + NODE_TIMEOUT + RECOVERY;
    let (verdict, restarted) = tokio::join!(load.judge("all killed for 3 s", limit), async {
        tokio::time::sleep(DOWN).await;
        tokio::task::block_in_place(|| cluster.restart_all())
    });
    restarted?;
    assert_whole(cluster);
    Ok(verdict)
}

async fn replica_killed(cluster: &RedisCluster, load: &Load) -> Result<Verdict, BoxError> {
    let victim = cluster.replicas()[0];
    cluster.node(victim).server().kill();
    let verdict = load
        .judge("replica killed -9", NODE_TIMEOUT + RECOVERY)
        .await;
    cluster.node(victim).restart()?;
    Ok(verdict)
}

/// Faults are told apart only if each begins on a whole cluster.
fn assert_whole(cluster: &RedisCluster) {
    let whole = tokio::task::block_in_place(|| cluster.is_whole_within(WHOLE_WITHIN));
    assert!(whole, "the cluster did not become whole again");
}
