//! Unused connections, ready for the next request to the same endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;
use tokio::runtime::Handle;

use super::connection::Connection;
use super::http2::Session;
use crate::endpoint::{Cause, Endpoint, Stats};
use crate::spread::ByAddress;

/// Threads beyond this share a part.
const SHARDS: usize = 32;
/// Shared connections kept per endpoint and thread.
const SESSIONS: usize = 8;
/// How often a part looks for connections that outlived their time.
const SWEEP: Duration = Duration::from_secs(1);

/// Unused connections by endpoint address.
///
/// Each thread uses its own part, so that threads do not wait for each other.
/// Within a part the most recently used connection goes first, so that
/// the others can grow old and be closed. Nothing runs in the background: at most once
/// a second a return closes what has grown old in its part, and whatever belongs to
/// endpoints that were ejected, are down, or are no members any more.
#[derive(Debug)]
pub(crate) struct IdleConnections {
    shards: [Mutex<Shard>; SHARDS],
    per_endpoint: usize,
}

#[derive(Debug, Default)]
struct Shard {
    stacks: ByAddress<Stack>,
    /// When it looks for old ones next.
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Stack {
    /// Keeps the key's memory.
    _authority: Authority,
    stats: Arc<Stats>,
    /// Boxed: they are handed on several times per request.
    #[expect(clippy::vec_box, reason = "a request takes the box with it")]
    connections: Vec<Box<Connection>>,
    /// Those that many requests share, and when each was last seen in use.
    sessions: Vec<(Arc<Session>, Instant)>,
}

impl IdleConnections {
    /// Keeps at most `per_endpoint` connections per endpoint and thread.
    pub(crate) fn new(per_endpoint: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            per_endpoint,
        }
    }

    /// A connection to `uri` that was used within `limit` and is still quiet, or a
    /// stream on a shared one. For a `tunnel`, only one that can carry it.
    pub(crate) fn take(
        &self,
        uri: &Uri,
        tunnel: bool,
        limit: Duration,
        now: Instant,
    ) -> Option<Box<Connection>> {
        let authority = uri.authority()?;
        let runtime = Handle::current().id();
        let mut shard = self.shard();
        let stack = shard.stacks.get_mut(&key(authority))?;
        stack.close_old_sessions(limit, now);
        let fits = |(session, _): &&mut (Arc<Session>, Instant)| {
            session.runtime == runtime
                && session.has_room(1)
                && (!tunnel || session.takes_tunnels())
        };
        if let Some((session, since)) = stack.sessions.iter_mut().find(fits) {
            *since = now;
            return Some(Box::new(Connection::on(session, true, now)));
        }
        while let Some(mut connection) = stack.connections.pop() {
            // To add costs less than to take a difference.
            let young = connection
                .since
                .checked_add(limit)
                .is_none_or(|end| now < end);
            if connection.runtime == runtime && young && connection.stream.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps `connection` for the next request to `endpoint`.
    pub(crate) fn put(
        &self,
        endpoint: &Endpoint,
        mut connection: Box<Connection>,
        limit: Duration,
        now: Instant,
    ) {
        let Some(authority) = endpoint.uri().authority() else {
            return;
        };
        connection.since = now;
        connection.reused = true;
        let mut shard = self.shard();
        shard.sweep(limit, now);
        let stack = shard.stack(authority, endpoint);
        if stack.connections.len() < self.per_endpoint {
            stack.connections.push(connection);
        }
    }

    /// Lets further requests to `endpoint` share `session`.
    pub(crate) fn share(
        &self,
        endpoint: &Endpoint,
        session: &Arc<Session>,
        limit: Duration,
        now: Instant,
    ) {
        let Some(authority) = endpoint.uri().authority() else {
            return;
        };
        let mut shard = self.shard();
        shard.sweep(limit, now);
        let stack = shard.stack(authority, endpoint);
        if stack.sessions.len() < SESSIONS {
            stack.sessions.push((Arc::clone(session), now));
        }
    }

    /// Closes every unused connection to `uri`; a shared one as soon as the last
    /// request on it has ended.
    pub(crate) fn close(&self, uri: &Uri) {
        let Some(authority) = uri.authority() else {
            return;
        };
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.stacks.remove(&key(authority));
        }
    }

    fn shard(&self) -> std::sync::MutexGuard<'_, Shard> {
        // A panic elsewhere left whole connections behind: the map is sound.
        self.shards[thread_index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stack {
    /// Lets go of those that nobody used for `limit`, or that take no more requests.
    fn close_old_sessions(&mut self, limit: Duration, now: Instant) {
        self.sessions.retain_mut(|(session, since)| {
            if !session.is_idle(1) {
                *since = now;
            }
            now.saturating_duration_since(*since) < limit && session.is_open()
        });
    }
}

/// The endpoint takes requests: nothing stands against it, or it only takes no new
/// sessions. Whoever is ejected, down or gone begins with new connections.
pub(crate) fn is_welcome(stats: &Stats) -> bool {
    stats.causes() & !Cause::Draining.bit() == 0
}

impl Shard {
    fn stack(&mut self, authority: &Authority, endpoint: &Endpoint) -> &mut Stack {
        self.stacks.entry(key(authority)).or_insert_with(|| Stack {
            _authority: authority.clone(),
            stats: Arc::clone(&endpoint.stats),
            connections: Vec::new(),
            sessions: Vec::new(),
        })
    }

    fn sweep(&mut self, limit: Duration, now: Instant) {
        if self.sweep_at.is_some_and(|due| now < due) {
            return;
        }
        self.sweep_at = Some(now + SWEEP);
        self.stacks.retain(|_, stack| {
            if !is_welcome(&stack.stats) {
                return false;
            }
            let young = |one: &Connection| now.saturating_duration_since(one.since) < limit;
            stack.connections.retain(|one| young(one));
            stack.close_old_sessions(limit, now);
            !stack.connections.is_empty() || !stack.sessions.is_empty()
        });
    }
}

/// An endpoint's authority by where it lies in memory: no hashing of text. The
/// clone kept in the stack holds that memory, so no other text can come to lie
/// there. Equal text elsewhere merely has a stack of its own.
fn key(authority: &Authority) -> usize {
    authority.as_str().as_ptr().addr()
}

/// A small number of this thread's own.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Relaxed: only uniqueness counts.
        static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    INDEX.with(|index| *index)
}
