//! Keeps a connection, and makes it anew when requests keep failing.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use ::redis::{RedisResult, cmd};
use tokio::sync::watch;

use super::connection::Connection;
use super::settings;
use super::slots::Shards;
use crate::source::BoxFuture;

/// Failures in a row, in one fault domain, after which the connection is made anew.
const FAILURES: u32 = 3;
/// The pause before a connection is made anew; each failure doubles it.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection that served nobody during so many attempts is worth nothing.
const IDLE_ATTEMPTS: u32 = 3;

type Connect = Box<dyn Fn() -> BoxFuture<'static, RedisResult<Connection>> + Send + Sync>;

pub(super) struct Supervisor {
    connect: Connect,
    /// Discovering a cluster visits several nodes.
    connect_within: Duration,
    current: watch::Sender<Option<Connection>>,
    connecting: AtomicBool,
    learning: AtomicBool,
    failures: Box<[AtomicU32]>,
    made: AtomicU64,
    /// Set by every success, cleared when a new connection is about to be made.
    serving: AtomicBool,
    shards: RwLock<Shards>,
    clustered: bool,
}

impl Supervisor {
    pub(super) fn new(
        connect: Connect,
        connect_timeout: Duration,
        domains: usize,
        clustered: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            connect,
            connect_within: connect_timeout.saturating_mul(8),
            current: watch::Sender::new(None),
            connecting: AtomicBool::new(false),
            learning: AtomicBool::new(false),
            failures: (0..domains).map(|_| AtomicU32::new(0)).collect(),
            made: AtomicU64::new(0),
            serving: AtomicBool::new(false),
            shards: RwLock::default(),
            clustered,
        })
    }

    /// The connection; before the first one, waits at most `limit` for it, and then `None`.
    pub(super) async fn connection(self: &Arc<Self>, limit: Duration) -> Option<Connection> {
        if let Some(connection) = self.current.borrow().clone() {
            return Some(connection);
        }
        self.make_anew(Duration::ZERO);
        let mut current = self.current.subscribe();
        let made = tokio::time::timeout(limit, current.wait_for(Option::is_some)).await;
        made.ok()?.ok()?.clone()
    }

    /// Remembers how so many requests ended.
    pub(super) fn record(self: &Arc<Self>, domain: usize, success: bool, requests: usize) {
        let requests = u32::try_from(requests).unwrap_or(FAILURES);
        let failures = &self.failures[domain % self.failures.len()];
        // Relaxed, all: a heuristic; an extra or a late renewal harms nobody.
        if success {
            if !self.serving.load(Ordering::Relaxed) {
                self.serving.store(true, Ordering::Relaxed);
            }
            if failures.load(Ordering::Relaxed) != 0 {
                failures.store(0, Ordering::Relaxed);
            }
        } else if failures
            .fetch_add(requests, Ordering::Relaxed)
            .saturating_add(requests)
            >= FAILURES
        {
            // Until the next success every failure is reason enough.
            self.make_anew(PAUSE);
        }
    }

    /// The shard and the slot of a key; `None` before the cluster is known.
    pub(super) fn place(&self, key: &[u8]) -> Option<(usize, u16)> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.are_known().then(|| shards.place(key))
    }

    /// Learns anew which slots belong together, in the background.
    pub(super) fn learn_shards_again(self: &Arc<Self>) {
        let Some(connection) = self.current.borrow().clone() else {
            return;
        };
        // AcqRel: pairs with itself; one question at a time.
        if !self.learning.swap(true, Ordering::AcqRel) {
            tokio::spawn(learn(Learning(Arc::downgrade(self)), connection));
        }
    }

    /// A connection to a cluster with a silent primary would stall for it again
    /// and again, and with it the requests for the others. The old connection
    /// does not, so a new one must reach every primary.
    async fn is_whole(&self, connection: &Connection) -> bool {
        let mut connection = connection.clone();
        let asked = tokio::time::timeout(self.connect_within, connection.reaches_everyone()).await;
        matches!(asked, Ok(Ok(true)))
    }

    async fn take(&self, connection: Connection) {
        if self.clustered {
            let learning = self.learn_shards(connection.clone());
            let _late_is_harmless = tokio::time::timeout(self.connect_within, learning).await;
        }
        self.current.send_replace(Some(connection.clone()));
        // Relaxed: a statistic.
        if self.made.fetch_add(1, Ordering::Relaxed) == 0 {
            let warning = settings::warn_of(connection, self.clustered);
            tokio::spawn(tokio::time::timeout(self.connect_within, warning));
        }
    }

    /// Learns which slots belong together.
    async fn learn_shards(&self, mut connection: Connection) {
        let nodes: RedisResult<String> = connection.query(cmd("CLUSTER").arg("NODES")).await;
        if let Ok(nodes) = nodes {
            *self.shards.write().unwrap_or_else(PoisonError::into_inner) = Shards::of(&nodes);
        }
    }

    pub(super) fn made(&self) -> u64 {
        // Relaxed: a statistic.
        self.made.load(Ordering::Relaxed)
    }

    /// Starts to make a connection in the background, unless that is under way.
    /// The old connection serves until the new one is there.
    fn make_anew(self: &Arc<Self>, pause: Duration) {
        // AcqRel: whoever wins sees what the last winner did before its release.
        if !self.connecting.swap(true, Ordering::AcqRel) {
            tokio::spawn(make(Making(Arc::downgrade(self)), pause));
        }
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connected = self.current.borrow().is_some();
        f.debug_struct("Supervisor")
            .field("connected", &connected)
            .finish_non_exhaustive()
    }
}

/// A connection in the making; however it ends, another may begin.
struct Making(Weak<Supervisor>);

impl Drop for Making {
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.upgrade() {
            // Release: pairs with the swap in `make_anew`.
            supervisor.connecting.store(false, Ordering::Release);
        }
    }
}

/// A question for the slots; however it ends, another may begin.
struct Learning(Weak<Supervisor>);

impl Drop for Learning {
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.upgrade() {
            // Release: pairs with the swap in `learn_shards_again`.
            supervisor.learning.store(false, Ordering::Release);
        }
    }
}

async fn learn(learning: Learning, connection: Connection) {
    if let Some(supervisor) = learning.0.upgrade() {
        let learned = supervisor.learn_shards(connection);
        let _late_is_harmless = tokio::time::timeout(supervisor.connect_within, learned).await;
    }
}

async fn make(making: Making, mut pause: Duration) {
    let mut idle_attempts = 0;
    loop {
        tokio::time::sleep(pause).await;
        let Some(supervisor) = making.0.upgrade() else {
            return;
        };
        // Relaxed, both: see `record`.
        supervisor.serving.store(false, Ordering::Relaxed);
        let made = tokio::time::timeout(supervisor.connect_within, (supervisor.connect)()).await;
        if let Ok(Ok(connection)) = made {
            let whole = supervisor.is_whole(&connection).await;
            let old_serves = supervisor.serving.load(Ordering::Relaxed);
            idle_attempts = if old_serves { 0 } else { idle_attempts + 1 };
            // Callers may all be waiting for one silent primary for a moment.
            if whole || idle_attempts > IDLE_ATTEMPTS || supervisor.current.borrow().is_none() {
                return supervisor.take(connection).await;
            }
        }
        drop(supervisor);
        pause = (pause * 2).clamp(PAUSE, LONGEST_PAUSE);
    }
}
