//! redb as the database tier: embedded, in one file, no server.
//!
//! Writes of many callers share one commit, which is on disk when they are
//! acknowledged: what was acknowledged survives `kill -9`. Expired values leave
//! with later writes. The file grows with what has no end; clear it, or set
//! [`crate::Policy::database_ttl`].
//!
//! ```
//! use lb_cache::redb::RedbTier;
//! use lb_cache::TieredCache;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("cache.redb");
//! let results = TieredCache::<String, u64>::builder("results").database(RedbTier::open(&path)?).build()?;
//! results.insert("k".to_owned(), 7).await?;
//! drop(results);
//!
//! let again = TieredCache::<String, u64>::builder("results").database(RedbTier::open(&path)?).build()?;
//! assert_eq!(again.get(&"k".to_owned()).await?.as_deref(), Some(&7));
//! # Ok(()) }
//! ```

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::clock::unix_now;
use crate::envelope::generation_bytes;
use crate::freshness::UnixMillis;
use crate::source::BoxFuture;
use crate::tier::{Answer, Tier, TierError, When, all_or_none};

/// Key to eight bytes of expiry (milliseconds since 1970, big endian) and the value.
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");
/// Expiry and key, to find what has expired.
const EXPIRIES: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("expiries");

const NEVER: u64 = u64::MAX;
/// Writes waiting for the writer; more callers wait.
const QUEUE: usize = 1_024;
/// So many writes share one commit.
const BATCH: usize = 256;
/// So many expired values leave with each commit, and keys with each step of a clearing.
const PURGE: usize = 64;
const CLEAR_STEP: usize = 1_000;

/// redb as a tier; see the module. Dropping the last clone closes the file, after
/// the writes that were asked for.
#[derive(Clone, Debug)]
pub struct RedbTier {
    file: Arc<File>,
}

#[derive(Debug)]
struct File {
    database: Arc<Database>,
    /// `None` only while it is dropped.
    writes: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for File {
    fn drop(&mut self) {
        // Without a sender the writer ends; it holds the file until then.
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            let _a_panic_was_reported = writer.join();
        }
    }
}

#[derive(Debug)]
struct Job {
    work: Work,
    done: oneshot::Sender<Result<bool, TierError>>,
}

#[derive(Debug)]
enum Work {
    Put {
        key: Bytes,
        value: Bytes,
        expires: u64,
        when: When,
    },
    Clear {
        prefix: Bytes,
    },
}

impl RedbTier {
    /// Opens or creates the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or another process has it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TierError> {
        let database = Arc::new(Database::create(path).map_err(TierError::failed)?);
        let setup = database.begin_write().map_err(TierError::failed)?;
        setup.open_table(VALUES).map_err(TierError::failed)?;
        setup.open_table(EXPIRIES).map_err(TierError::failed)?;
        setup.commit().map_err(TierError::failed)?;
        let (writes, jobs) = mpsc::channel(QUEUE);
        let target = Arc::clone(&database);
        let writer = std::thread::Builder::new()
            .name("lb-cache-redb".to_owned())
            .spawn(move || write_batches(&target, jobs))
            .map_err(TierError::failed)?;
        let file = File {
            database,
            writes: Some(writes),
            writer: Some(writer),
        };
        Ok(Self {
            file: Arc::new(file),
        })
    }

    async fn write(&self, work: Work) -> Result<bool, TierError> {
        let (done, outcome) = oneshot::channel();
        let writes = self.file.writes.as_ref().ok_or_else(gone)?;
        writes.send(Job { work, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    async fn look_up(&self, keys: Vec<Bytes>) -> Result<Vec<Option<Bytes>>, TierError> {
        let read = self.read(move |database| {
            let now = unix_now();
            let table = database.begin_read()?.open_table(VALUES)?;
            let value = |key: &Bytes| {
                let held = table.get(&**key)?;
                Ok(held.and_then(|held| living(held.value(), now).map(Bytes::copy_from_slice)))
            };
            keys.iter().map(value).collect()
        });
        read.await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, ::redb::Error> + Send + 'static,
    ) -> Result<T, TierError> {
        let database = Arc::clone(&self.file.database);
        let read = tokio::task::spawn_blocking(move || read(&database)).await;
        read.map_err(TierError::failed)?.map_err(TierError::failed)
    }
}

impl Tier for RedbTier {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Answer> {
        Box::pin(async move { Ok(self.look_up(vec![key]).await?.pop().flatten()) })
    }

    fn get_many(&self, keys: Vec<Bytes>) -> BoxFuture<'_, Vec<Answer>> {
        all_or_none(keys, |keys| self.look_up(keys))
    }

    fn put(
        &self,
        key: Bytes,
        value: Bytes,
        ttl: Option<Duration>,
        when: When,
    ) -> BoxFuture<'_, Result<bool, TierError>> {
        let expires = ttl.map_or(NEVER, |ttl| unix_now().after(ttl).0);
        Box::pin(self.write(Work::Put {
            key,
            value,
            expires,
            when,
        }))
    }

    fn clear(&self, prefix: Bytes) -> BoxFuture<'_, Result<(), TierError>> {
        Box::pin(async move {
            while self
                .write(Work::Clear {
                    prefix: prefix.clone(),
                })
                .await?
            {}
            Ok(())
        })
    }
}

fn gone() -> TierError {
    TierError::failed("the writer is gone")
}

/// The value of a row that has not expired.
fn living(row: &[u8], now: UnixMillis) -> Option<&[u8]> {
    let (expires, value) = row.split_first_chunk()?;
    (u64::from_be_bytes(*expires) > now.0).then_some(value)
}

fn expiry(row: &[u8]) -> u64 {
    row.first_chunk()
        .map_or(NEVER, |expires| u64::from_be_bytes(*expires))
}

/// Writes until nobody can ask any more; callers that came meanwhile share a commit.
fn write_batches(database: &Database, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Ok(next) = jobs.try_recv()
        {
            batch.push(next);
        }
        let (work, done): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.work, job.done)).unzip();
        match write_batch(database, &work) {
            Ok(outcomes) => {
                for (done, outcome) in done.into_iter().zip(outcomes) {
                    let _caller_may_be_gone = done.send(Ok(outcome));
                }
            }
            Err(error) => {
                let error = TierError::failed(error);
                for done in done {
                    let _caller_may_be_gone = done.send(Err(error.clone()));
                }
            }
        }
    }
}

fn write_batch(database: &Database, work: &[Work]) -> Result<Vec<bool>, ::redb::Error> {
    let now = unix_now();
    let transaction = database.begin_write()?;
    let mut outcomes = Vec::with_capacity(work.len());
    for work in work {
        outcomes.push(match work {
            Work::Put {
                key,
                value,
                expires,
                when,
            } => put(&transaction, key, value, *expires, when, now)?,
            Work::Clear { prefix } => clear_step(&transaction, prefix)?,
        });
    }
    purge(&transaction, now)?;
    transaction.commit()?;
    Ok(outcomes)
}

fn put(
    transaction: &WriteTransaction,
    key: &[u8],
    value: &[u8],
    expires: u64,
    when: &When,
    now: UnixMillis,
) -> Result<bool, ::redb::Error> {
    let mut values = transaction.open_table(VALUES)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    let held = values.get(key)?.map(|held| held.value().to_vec());
    let generation = held
        .as_deref()
        .and_then(|row| living(row, now))
        .map_or(&[][..], generation_bytes);
    if let When::Unchanged(seen) = when
        && generation != seen
    {
        return Ok(false);
    }
    if let Some(row) = &held {
        expiries.remove((expiry(row), key))?;
    }
    if expires != NEVER {
        expiries.insert((expires, key), ())?;
    }
    values.insert(key, [&expires.to_be_bytes(), value].concat().as_slice())?;
    Ok(true)
}

/// Removes some keys with this prefix; `true` if more may be left.
fn clear_step(transaction: &WriteTransaction, prefix: &[u8]) -> Result<bool, ::redb::Error> {
    let mut values = transaction.open_table(VALUES)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    let mut doomed = Vec::new();
    for row in values.range(prefix..)?.take(CLEAR_STEP) {
        let (key, row) = row?;
        if !key.value().starts_with(prefix) {
            break;
        }
        doomed.push((key.value().to_vec(), expiry(row.value())));
    }
    for (key, expires) in &doomed {
        values.remove(key.as_slice())?;
        expiries.remove((*expires, key.as_slice()))?;
    }
    Ok(doomed.len() == CLEAR_STEP)
}

fn purge(transaction: &WriteTransaction, now: UnixMillis) -> Result<(), ::redb::Error> {
    let mut values = transaction.open_table(VALUES)?;
    let mut expiries = transaction.open_table(EXPIRIES)?;
    let mut expired = Vec::new();
    for row in expiries.range(..(now.0, &[][..]))?.take(PURGE) {
        let (row, _) = row?;
        let (expires, key) = row.value();
        expired.push((expires, key.to_vec()));
    }
    for (expires, key) in expired {
        values.remove(key.as_slice())?;
        expiries.remove((expires, key.as_slice()))?;
    }
    Ok(())
}
