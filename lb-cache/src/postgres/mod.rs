//! PostgreSQL as the database tier: pooled, one table, every statement on an index.
//!
//! The table is made by [`PostgresTier::create_table`], or by you from
//! [`CREATE_TABLE`]. Expired rows are skipped by reads and removed by
//! [`PostgresTier::purge`], which the tier calls itself now and then.
//!
//! ```
//! use lb_cache::postgres::PostgresTier;
//!
//! let tier = PostgresTier::new("host=127.0.0.1 user=cache dbname=cache", 8)?; // No network yet.
//! # Ok::<(), lb_cache::tier::TierError>(())
//! ```
//!
//! Connections are encrypted by `PostgresTier::with_tls` (feature `postgres-tls`),
//! and never otherwise, whatever the description says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Timeouts};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, Socket};

use crate::clock::unix_now;
use crate::source::BoxFuture;
use crate::tier::{Answer, Tier, TierError, When, all_or_none};

#[cfg(feature = "postgres-tls")]
mod tls;

/// The table and its index.
pub const CREATE_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS lb_cache (
    key bytea PRIMARY KEY,
    value bytea NOT NULL,
    expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS lb_cache_expires_at ON lb_cache (expires_at) WHERE expires_at IS NOT NULL;";

/// Reads one key; larger values than `$2` bytes are not read.
pub const GET: &str = "SELECT value FROM lb_cache \
    WHERE key = $1 AND (expires_at IS NULL OR expires_at > now()) AND octet_length(value) <= $2";
/// Reads many keys.
pub const GET_MANY: &str = "SELECT key, value FROM lb_cache \
    WHERE key = ANY($1) AND (expires_at IS NULL OR expires_at > now()) AND octet_length(value) <= $2";
/// Writes whatever is held.
pub const PUT: &str = "INSERT INTO lb_cache (key, value, expires_at) VALUES ($1, $2, $3) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
/// Writes if nothing is held.
pub const PUT_NEW: &str = "INSERT INTO lb_cache (key, value, expires_at) VALUES ($1, $2, $3) \
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at \
    WHERE lb_cache.expires_at <= now()";
/// Writes if the held generation (bytes 24 to 32 of the envelope) is still `$4`.
pub const PUT_UNCHANGED: &str = "UPDATE lb_cache SET value = $2, expires_at = $3 \
    WHERE key = $1 AND substring(value from 25 for 8) = $4 AND (expires_at IS NULL OR expires_at > now())";
/// Removes up to 1,000 keys of a range.
pub const CLEAR: &str = "DELETE FROM lb_cache WHERE key IN \
    (SELECT key FROM lb_cache WHERE key >= $1 AND key < $2 ORDER BY key LIMIT 1000)";
/// Removes up to 1,000 expired rows.
pub const PURGE: &str = "DELETE FROM lb_cache WHERE key IN \
    (SELECT key FROM lb_cache WHERE expires_at < now() ORDER BY expires_at LIMIT 1000)";

/// After so many writes one purge runs.
const PURGE_EVERY: u64 = 1_000;
/// Larger values are not read: the cache would refuse them anyway.
const MAX_VALUE_BYTES: i32 = 64 << 20;

/// PostgreSQL as a tier; see the module.
#[derive(Clone, Debug)]
pub struct PostgresTier {
    pool: Pool,
    writes: std::sync::Arc<AtomicU64>,
}

impl PostgresTier {
    /// A pool of at most `connections` to the server of a `key=value` or
    /// `postgresql://` description. Touches no network.
    ///
    /// # Errors
    ///
    /// If the description is none.
    pub fn new(description: &str, connections: usize) -> Result<Self, TierError> {
        let config = description.parse().map_err(TierError::failed)?;
        Self::over(config, NoTls, connections)
    }

    fn over<T>(mut config: Config, tls: T, connections: usize) -> Result<Self, TierError>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + Sync,
        T::TlsConnect: Send + Sync,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_millis(250));
        }
        let manager_config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let wait = Some(Duration::from_millis(250));
        let pool = Pool::builder(Manager::from_config(config, tls, manager_config))
            .max_size(connections)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .timeouts(Timeouts {
                wait,
                create: wait,
                recycle: wait,
            })
            .build()
            .map_err(TierError::failed)?;
        Ok(Self {
            pool,
            writes: std::sync::Arc::default(),
        })
    }

    /// Makes the table and its index, if they are not there.
    ///
    /// # Errors
    ///
    /// See [`TierError`].
    pub async fn create_table(&self) -> Result<(), TierError> {
        self.client()
            .await?
            .batch_execute(CREATE_TABLE)
            .await
            .map_err(TierError::failed)
    }

    /// Removes up to 1,000 expired rows, and says how many.
    ///
    /// # Errors
    ///
    /// See [`TierError`].
    pub async fn purge(&self) -> Result<u64, TierError> {
        self.execute(PURGE, &[]).await
    }

    async fn client(&self) -> Result<Object, TierError> {
        self.pool.get().await.map_err(TierError::failed)
    }

    async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, TierError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(sql)
            .await
            .map_err(TierError::failed)?;
        client
            .execute(&statement, parameters)
            .await
            .map_err(TierError::failed)
    }

    async fn read(&self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, TierError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(GET_MANY)
            .await
            .map_err(TierError::failed)?;
        let wanted: Vec<&[u8]> = keys.iter().map(|key| &**key).collect();
        let rows = client
            .query(&statement, &[&wanted, &MAX_VALUE_BYTES])
            .await
            .map_err(TierError::failed)?;
        let mut found = std::collections::HashMap::with_capacity(rows.len());
        for row in &rows {
            found.insert(row.get::<_, &[u8]>(0), row.get::<_, &[u8]>(1));
        }
        Ok(keys
            .iter()
            .map(|key| found.get(&**key).map(|value| Bytes::copy_from_slice(value)))
            .collect())
    }

    async fn read_one(&self, key: Bytes) -> Result<Option<Bytes>, TierError> {
        let client = self.client().await?;
        let statement = client
            .prepare_cached(GET)
            .await
            .map_err(TierError::failed)?;
        let row = client
            .query_opt(&statement, &[&&*key, &MAX_VALUE_BYTES])
            .await
            .map_err(TierError::failed)?;
        Ok(row.map(|row| Bytes::copy_from_slice(row.get(0))))
    }

    async fn write(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> Result<bool, TierError> {
        // Beyond this the server's time stamps end: such values live for ever.
        let far = Duration::from_secs(100 * 365 * 24 * 3_600);
        let expires = ttl
            .filter(|ttl| *ttl < far)
            .map(|ttl| SystemTime::UNIX_EPOCH + Duration::from_millis(unix_now().after(ttl).0));
        let (key, value) = (&*key, &*value);
        let written = match when {
            When::Always => self.execute(PUT, &[&key, &value, &expires]).await?,
            When::Unchanged(seen) if seen.is_empty() => {
                self.execute(PUT_NEW, &[&key, &value, &expires]).await?
            }
            When::Unchanged(seen) => {
                self.execute(PUT_UNCHANGED, &[&key, &value, &expires, &&*seen])
                    .await?
            }
        };
        // Relaxed: only a rough count.
        if self.writes.fetch_add(1, Ordering::Relaxed) % PURGE_EVERY == PURGE_EVERY - 1 {
            let tier = self.clone();
            tokio::spawn(async move { tier.purge().await });
        }
        Ok(written > 0)
    }
}

impl Tier for PostgresTier {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(self.read_one(key))
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        all_or_none(keys, |keys| self.read(keys))
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
            let end = after(&prefix);
            while self.execute(CLEAR, &[&&*prefix, &end.as_slice()]).await? > 0 {}
            Ok(())
        })
    }
}

/// The first key after all those that begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_prefix_ends_right_after_it() {
        assert_eq!(after(b"lb:a:"), b"lb:a;");
        assert_eq!(after(b"a\xff"), b"b");
    }
}
