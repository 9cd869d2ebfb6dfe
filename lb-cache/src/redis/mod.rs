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
//! - **Batches.** Keys of one shard that are asked for at about the same time go
//!   out as one pipeline of GETRANGEs: one exchange, one time-out.
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
//! # Access
//!
//! A user of the access control list needs no more than this:
//! `ACL SETUSER cache on >secret ~lb:* +@read +@write +@connection +eval +cluster|nodes +config|get`.
//! Without `config|get` the settings are not checked. With feature `redis-tls`
//! an address may be `rediss://`; `root_certificates` and `identity` of the
//! builder say whom to trust and who we are.
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Pipeline, RedisError, RedisResult, Value, cmd};
use bytes::Bytes;

use crate::envelope::GENERATION;
use crate::source::BoxFuture;
use crate::tier::{Answer, Tier, TierError, When, together};

mod builder;
mod connection;
mod settings;
mod slots;
mod supervisor;
#[cfg(feature = "redis-tls")]
mod tls;
#[cfg(not(feature = "redis-tls"))]
#[path = "plain.rs"]
mod tls;

pub use builder::RedisBuilder;

use connection::Connection;
use supervisor::Supervisor;

/// Writes if the key still holds the generation that the caller saw. What is of
/// another type holds none.
const FILL: &str = "local held = redis.pcall('GETRANGE', KEYS[1], ARGV[4], ARGV[5]) \
    if type(held) ~= 'string' then held = '' end \
    if held ~= ARGV[1] then return 0 end \
    if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) \
    else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end \
    return 1";

/// Redis as a tier; see the module. Clones share connections: give one to each cache.
#[derive(Clone, Debug)]
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
        let mut connection = self.connection().await?;
        // Four questions.
        let advice = settings::advice(&mut connection, self.clustered);
        let advice = tokio::time::timeout(self.response_timeout * 4, advice).await;
        advice.map_err(|_| TierError::TimedOut)?.map_err(from_redis)
    }

    async fn connection(&self) -> Result<Connection, TierError> {
        let connection = self.supervisor.connection(self.response_timeout).await;
        connection.ok_or(TierError::TimedOut)
    }

    /// How often the connection was made, the first time included.
    #[must_use]
    pub fn connections_made(&self) -> u64 {
        self.supervisor.made()
    }

    async fn request<T: ::redis::FromRedisValue>(
        &self,
        key: &[u8],
        command: &::redis::Cmd,
    ) -> Result<T, TierError> {
        let answer = self
            .send(async |mut connection| connection.query(command).await)
            .await;
        self.remember(key, 1, answer.as_ref().err());
        answer.map_err(from_redis)
    }

    /// One exchange with the server, within the response time-out: also the first
    /// one, which waits for the connection.
    async fn send<T>(
        &self,
        exchange: impl AsyncFnOnce(Connection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let timed_out = || std::io::Error::from(std::io::ErrorKind::TimedOut).into();
        let exchange = async {
            let connection = self.supervisor.connection(self.response_timeout).await;
            exchange(connection.ok_or_else(timed_out)?).await
        };
        let answer = tokio::time::timeout(self.response_timeout, exchange).await;
        answer.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Tells the supervisor how `requests` of one shard ended.
    fn remember(&self, key: &[u8], requests: usize, error: Option<&RedisError>) {
        let trouble = error.is_some_and(|error| from_redis(error.clone()).is_trouble());
        self.supervisor
            .record(self.fault_domain(key), !trouble, requests);
    }

    async fn read(&self, key: &Bytes) -> Answer {
        let value: Value = self.request(key, &self.get_range(key)).await?;
        bytes_of(value)
    }

    /// Not GET: a value that is too large shall not travel. One byte more than
    /// allowed is enough to know that it is.
    fn get_range(&self, key: &[u8]) -> Cmd {
        let mut command = Cmd::with_capacity(4, key.len() + 48);
        command
            .arg("GETRANGE")
            .arg(key)
            .arg(0)
            .arg(self.max_value_bytes);
        command
    }

    /// The values of keys, each by a request of its own.
    async fn read_apart(&self, keys: &[Bytes]) -> Vec<Answer> {
        together(keys.iter().map(|key| Box::pin(self.read(key)) as _)).await
    }

    /// The values of keys that one node holds, in one exchange.
    async fn read_together(&self, keys: Vec<Bytes>, slot: Option<u16>) -> Vec<Answer> {
        let [first, _, ..] = &keys[..] else {
            return self.read_apart(&keys).await;
        };
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in &keys {
            pipeline.add_command(self.get_range(key));
        }
        let answer = self
            .send(async |mut connection| connection.pipeline(pipeline, slot).await)
            .await;
        self.remember(first, keys.len(), answer.as_ref().err());
        match answer {
            Ok(values) => values.into_iter().map(bytes_of).collect(),
            // Slots have moved since we learned who holds them: now each key finds its own way.
            Err(error) if self.clustered && error.redirect_node().is_some() => {
                self.supervisor.learn_shards_again();
                self.read_apart(&keys).await
            }
            Err(error) => vec![Err(from_redis(error)); keys.len()],
        }
    }

    async fn read_many(&self, keys: Vec<Bytes>) -> Vec<Answer> {
        if !self.clustered {
            return self.read_together(keys, None).await;
        }
        // The shards are known as soon as there is a connection.
        let _late_is_an_answer_too = self.supervisor.connection(self.response_timeout).await;
        let mut shards: BTreeMap<usize, (u16, Vec<usize>)> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            let Some((shard, slot)) = self.supervisor.place(key) else {
                return self.read_apart(&keys).await;
            };
            shards
                .entry(shard)
                .or_insert((slot, Vec::new()))
                .1
                .push(index);
        }
        let questions = shards.values().map(|(slot, indices)| {
            let keys = indices.iter().map(|index| keys[*index].clone()).collect();
            Box::pin(self.read_together(keys, Some(*slot))) as _
        });
        let answers = together(questions).await;
        let mut found: Vec<Answer> = vec![Ok(None); keys.len()];
        for ((_, indices), answers) in shards.values().zip(answers) {
            for (index, answer) in indices.iter().zip(answers) {
                found[*index] = answer;
            }
        }
        found
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
        let millis = ttl.map(|ttl| crate::clock::millis(ttl).clamp(1, i64::MAX as u64 / 2));
        match when {
            When::Always => {
                let mut set = cmd("SET");
                set.arg(&*key).arg(&*value);
                if let Some(millis) = millis {
                    set.arg("PX").arg(millis);
                }
                self.request::<()>(&key, &set).await.map(|()| true)
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
                self.request(&key, &fill).await
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

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move { self.read(&key).await })
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        Box::pin(self.read_many(keys))
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
            let mut connection = self.connection().await?;
            connection.clear(&prefix).await.map_err(from_redis)
        })
    }

    /// Of a cluster, a question may take several exchanges.
    fn read_bound(&self) -> Option<Duration> {
        (!self.clustered).then_some(self.response_timeout)
    }

    fn fault_domains(&self) -> usize {
        if self.clustered { slots::DOMAINS } else { 1 }
    }

    fn fault_domain(&self, key: &[u8]) -> usize {
        let place = self.clustered.then(|| self.supervisor.place(key)).flatten();
        place.map_or(0, |(shard, _)| shard % slots::DOMAINS)
    }
}

fn bytes_of(value: Value) -> Answer {
    match value.extract_error().map_err(from_redis)? {
        Value::BulkString(value) if value.is_empty() => Ok(None),
        Value::BulkString(value) => Ok(Some(value.into())),
        Value::Nil => Ok(None),
        _ => Err(TierError::NotAValue),
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
