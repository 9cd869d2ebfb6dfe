//! Redis as the shared tier: one node, or a cluster.
//!
//! What the client alone does not give, and this module adds:
//!
//! - **Deadlines.** The asynchronous cluster client waits for a response without
//!   limit by default: a frozen primary freezes every caller. Here each request
//!   has a response time-out (200 ms), under the cache's own deadline.
//! - **Supervised connections.** A time-out does not make the client learn the
//!   new primary. After some failures in a row the connection is made anew, in
//!   the background, while the old one goes on serving the healthy nodes.
//! - **Lazy start.** Building a tier touches no network. A cache starts while
//!   Redis is away, and uses it once it is there.
//! - **Fault domains.** Each shard has a breaker of its own: one dead primary is
//!   left alone, the others are not.
//!
//! Connections are multiplexed and cloned, not pooled: many requests share one
//! socket per node, and a pool would open sockets and send PINGs to every
//! primary at each checkout.
//!
//! # Server settings
//!
//! | setting | why |
//! |---------|-----|
//! | `maxmemory` with `maxmemory-policy allkeys-lru` | a cache may forget; without it writes fail when memory is full |
//! | `cluster-require-full-coverage no` | one dead primary must not stop the others |
//! | `cluster-allow-reads-when-down yes` | a minority still serves reads |
//! | `cluster-node-timeout` 2,000 to 5,000 | how long a dead primary stays unnoticed |
//! | `requirepass` and `masterauth` | both, or a replica cannot follow after a failover |
//!
//! They are checked once after the first connection, and [`RedisTier::advice`]
//! says what differs.
//!
//! ```
//! use std::time::Duration;
//! use lb_cache::redis::RedisTier;
//! use lb_cache::{Local, TieredCache};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = RedisTier::cluster(["redis://127.0.0.1:7100", "redis://127.0.0.1:7101"])
//!     .password("secret")
//!     .build()?;
//! let results = TieredCache::<String, u64>::builder("results")
//!     .local(Local::ttl(1_000, Duration::from_secs(300)))
//!     .shared(redis, Duration::from_secs(3_600))
//!     .build()?; // No network yet.
//! # Ok(()) }
//! ```

use std::sync::Arc;
use std::time::Duration;

use ::redis::cmd;
use bytes::Bytes;

use crate::envelope::GENERATION;
use crate::source::BoxFuture;
use crate::tier::{Tier, TierError, When};

mod builder;
mod connection;
mod settings;
mod slots;
mod supervisor;

pub use builder::RedisBuilder;

use supervisor::Supervisor;

/// Writes if the key still holds the generation that the caller saw. What is of
/// another type holds none.
const FILL: &str = "local held = redis.pcall('GETRANGE', KEYS[1], ARGV[4], ARGV[5]) \
    if type(held) ~= 'string' then held = '' end \
    if held ~= ARGV[1] then return 0 end \
    if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) \
    else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end \
    return 1";

/// Redis as a tier; see the module.
#[derive(Debug)]
pub struct RedisTier {
    supervisor: Arc<Supervisor>,
    max_value_bytes: usize,
    response_timeout: Duration,
    clustered: bool,
}

impl RedisTier {
    /// One node: `redis://[user:password@]host:port[/db]`, or `rediss://` with feature `redis-tls`.
    pub fn single(url: impl Into<String>) -> RedisBuilder {
        RedisBuilder::new(vec![url.into()], false)
    }

    /// A cluster, found through any of these nodes.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> RedisBuilder {
        RedisBuilder::new(urls.into_iter().map(Into::into).collect(), true)
    }

    /// Which server settings do not fit a cache; empty if all do.
    ///
    /// # Errors
    ///
    /// See [`TierError`].
    pub async fn advice(&self) -> Result<Vec<String>, TierError> {
        let mut connection = self.supervisor.connection(self.response_timeout).await?;
        settings::advice(&mut connection, self.clustered)
            .await
            .map_err(from_redis)
    }

    /// How often the connection was made, the first time included.
    #[must_use]
    pub fn connections_made(&self) -> u64 {
        self.supervisor.made()
    }

    async fn request<T: ::redis::FromRedisValue>(
        &self,
        domain: usize,
        command: &::redis::Cmd,
    ) -> Result<T, TierError> {
        let answer = self.send(command).await;
        let trouble = answer.as_ref().err().is_some_and(TierError::is_trouble);
        self.supervisor.record(domain, !trouble);
        answer
    }

    async fn send<T: ::redis::FromRedisValue>(
        &self,
        command: &::redis::Cmd,
    ) -> Result<T, TierError> {
        let mut connection = self.supervisor.connection(self.response_timeout).await?;
        match tokio::time::timeout(self.response_timeout, connection.query(command)).await {
            Ok(answer) => answer.map_err(from_redis),
            Err(_) => Err(TierError::TimedOut),
        }
    }

    async fn read(&self, key: Bytes) -> Result<Option<Bytes>, TierError> {
        // One byte more than allowed is enough to know that a value is too large.
        let command = cmd("GETRANGE")
            .arg(&*key)
            .arg(0)
            .arg(self.max_value_bytes)
            .take();
        let value: Bytes = self.request(self.fault_domain(&key), &command).await?;
        Ok((!value.is_empty()).then_some(value))
    }

    async fn write(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> Result<bool, TierError> {
        if value.len() > self.max_value_bytes {
            return Err(TierError::TooLarge { bytes: value.len() });
        }
        let domain = self.fault_domain(&key);
        let millis = ttl.map(|ttl| crate::clock::millis(ttl).clamp(1, i64::MAX as u64 / 2));
        match when {
            When::Always => {
                let mut set = cmd("SET");
                set.arg(&*key).arg(&*value);
                if let Some(millis) = millis {
                    set.arg("PX").arg(millis);
                }
                self.request::<()>(domain, &set).await.map(|()| true)
            }
            When::Unchanged(seen) => {
                let fill = cmd("EVAL")
                    .arg(FILL)
                    .arg(1)
                    .arg(&*key)
                    .arg(&*seen)
                    .arg(&*value)
                    .arg(millis.unwrap_or(0))
                    .arg(GENERATION.start)
                    .arg(GENERATION.end - 1)
                    .take();
                self.request(domain, &fill).await
            }
        }
    }
}

impl Tier for RedisTier {
    fn name(&self) -> &'static str {
        if self.clustered {
            "redis-cluster"
        } else {
            "redis"
        }
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, TierError>> {
        Box::pin(self.read(key))
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, TierError>> {
        Box::pin(async move {
            let Some(first) = keys.first() else {
                return Ok(Vec::new());
            };
            let mut mget = cmd("MGET");
            for key in &keys {
                mget.arg(&**key);
            }
            // The cluster client splits this into one request per node.
            self.request(self.fault_domain(first), &mget).await
        })
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        Box::pin(self.write(key, value, ttl, when))
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(async move {
            let mut connection = self.supervisor.connection(self.response_timeout).await?;
            connection.clear(&prefix).await.map_err(from_redis)
        })
    }

    fn fault_domains(&self) -> usize {
        if self.clustered { slots::DOMAINS } else { 1 }
    }

    fn fault_domain(&self, key: &[u8]) -> usize {
        if self.clustered {
            self.supervisor.domain(key)
        } else {
            0
        }
    }
}

fn from_redis(error: ::redis::RedisError) -> TierError {
    match error.code() {
        Some("WRONGTYPE") => TierError::NotAValue,
        Some("OOM") => TierError::Full,
        _ if error.is_timeout() => TierError::TimedOut,
        _ => TierError::failed(error),
    }
}
