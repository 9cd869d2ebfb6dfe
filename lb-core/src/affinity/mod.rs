//! Session affinity: the same client stays on the same endpoint.
//!
//! Two strengths. A *signed token* is strong: it names one life of one endpoint,
//! lives with the client and nowhere else, so any number of gateways agree
//! without a shared table, and a million clients cost no memory. A *key* of the
//! request (a header, the client's address, a part of the target) is best effort:
//! it is hashed, and equal keys meet on one endpoint while the members stay.
//!
//! | what a client is known by | strength |
//! |---------------------------|----------|
//! | [`Affinity::cookie`], [`Affinity::signed_header`] | strong |
//! | [`Affinity::header`], [`Affinity::client_address`], [`Affinity::path_segment`], [`Affinity::query`] | best effort |
//! | the same with [`Affinity::remember`] | strong on this gateway |
//!
//! Tokens are opaque and signed: a client can neither read which endpoint one
//! names nor make up another. Whatever is not valid (forged, cut, expired, signed
//! by an unknown key, 8 KiB long) is no binding, and never an error. Keys need a
//! hashing policy ([`ConsistentHash`](crate::policy::ConsistentHash)), or `remember`;
//! a pool that is built with neither warns.
//!
//! What a binding means depends on its endpoint:
//!
//! | endpoint | requests with a binding | requests without |
//! |----------|-------------------------|------------------|
//! | active | go there | balanced, then bound |
//! | draining | go there | go elsewhere |
//! | ejected for a while, or full | go elsewhere, stay bound; refused or waiting if [`OnDown`] says so | go elsewhere |
//! | down, removed, restarted | [`OnDown`] decides | go elsewhere |
//!
//! A hash alone is no binding: its keys leave a draining endpoint at once. One
//! failed request never moves a binding: it may be answered by another endpoint,
//! and the next one goes back. WebSocket handshakes are bound like any other
//! request; the token travels with the 101.
//!
//! Secrets rotate without losing a session: sign with the new one, and keep
//! reading the old with [`Affinity::also_accept`] until its tokens are gone.
//!
//! ```
//! use std::time::Duration;
//! use lb_core::{Affinity, Pool};
//!
//! let pool = Pool::builder("simulation")
//!     .endpoints(["http://127.0.0.1:8001", "http://127.0.0.1:8002"])
//!     .affinity(
//!         Affinity::cookie("lb_session", "at least sixteen bytes of secret")
//!             .also_accept("the secret of last month")
//!             .lifetime(Duration::from_secs(8 * 3600)),
//!     )
//!     .build()?;
//! # Ok::<(), lb_core::ConfigError>(())
//! ```

mod cookies;
mod key;
mod known;
mod memory;
mod near;
mod session;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use self::key::HashKey;
use self::known::Known;
use self::memory::Memory;
pub(crate) use self::session::{Asked, NoLease, Session};
pub use self::token::Binding;
use self::token::KeyRing;
use crate::client::TrustedProxies;
use crate::clock::bounded;
use crate::endpoint::Endpoint;
use crate::error::ConfigError;
use crate::pool::{Picked, Pool, PoolBuilder};

/// A shorter secret could be guessed.
const MIN_KEY_BYTES: usize = 16;
/// Endpoints whose newest token is remembered.
const SEALED: usize = 256;
/// More remembered sessions than this are a mistake.
const MAX_SESSIONS: usize = 10_000_000;

/// What happens to a session whose endpoint is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDown {
    /// It is bound to another endpoint. The default.
    #[default]
    Rebind,
    /// Its requests are refused with 503 until the endpoint returns, or the
    /// binding expires: for endpoints that hold state nobody else has.
    Fail,
    /// Its requests wait this long for the endpoint to return, then are refused
    /// as with [`Fail`](Self::Fail). Each waiting request holds its connection. The
    /// reverse proxy waits for an endpoint that refuses connections, too, and asks it
    /// four times a second.
    Wait(Duration),
}

/// How requests are bound to endpoints; see the [module](self).
#[derive(Clone, Debug)]
pub struct Affinity {
    source: Source,
    lifetime: Duration,
    on_down: OnDown,
    always_secure: bool,
}

/// What a client is known by.
#[derive(Clone, Debug)]
enum Source {
    Token {
        carrier: Carrier,
        keys: KeyRing,
        shortest_key: usize,
        /// By the names that they bind to.
        sealed: Arc<Known<Sealed>>,
    },
    Key {
        key: HashKey,
        sessions: usize,
        memory: Option<Arc<Memory>>,
    },
}

/// The value that binds to one life of an endpoint for one minute's clients.
#[derive(Clone, Debug)]
struct Sealed {
    incarnation: u64,
    expires_minute: u64,
    secure: bool,
    value: HeaderValue,
}

/// Where a token travels.
#[derive(Clone, Debug)]
enum Carrier {
    Cookie(String),
    Header(Option<HeaderName>),
}

impl Affinity {
    /// Binds by a signed cookie of this name. `key` is secret, at least 16
    /// bytes, and the same on every gateway that shares the endpoints.
    #[must_use]
    pub fn cookie(name: impl Into<String>, key: impl AsRef<[u8]>) -> Self {
        Self::token(Carrier::Cookie(name.into()), key.as_ref())
    }

    /// Binds by a signed header, for clients without a cookie jar: a response
    /// carries it, and the client sends it back. `key` as for
    /// [`cookie`](Self::cookie).
    #[must_use]
    pub fn signed_header(name: &str, key: impl AsRef<[u8]>) -> Self {
        Self::token(Carrier::Header(name.parse().ok()), key.as_ref())
    }

    /// Requests with the same value of this header meet on one endpoint.
    #[must_use]
    pub fn header(name: &str) -> Self {
        Self::key(HashKey::Header(name.parse().ok()))
    }

    /// Requests of one client address meet on one endpoint. The address is that
    /// of the connection, or what `trusted` proxies say about the one behind;
    /// of an IPv6 address the first 64 bits count. Clients behind one NAT are
    /// one client: bound the load of the hashing policy.
    #[must_use]
    pub fn client_address(trusted: TrustedProxies) -> Self {
        Self::key(HashKey::ClientAddress {
            trusted,
            v6_prefix: 64,
        })
    }

    /// Requests with the same segment of the path meet on one endpoint; the
    /// first segment is number 0.
    #[must_use]
    pub fn path_segment(index: usize) -> Self {
        Self::key(HashKey::PathSegment(index))
    }

    /// Requests with the same value of this query parameter, as it is written,
    /// meet on one endpoint.
    #[must_use]
    pub fn query(name: impl Into<String>) -> Self {
        Self::key(HashKey::Query(name.into()))
    }

    fn token(carrier: Carrier, key: &[u8]) -> Self {
        Self::from(Source::Token {
            carrier,
            keys: KeyRing::new(key),
            shortest_key: key.len(),
            sealed: Arc::new(Known::new(SEALED)),
        })
    }

    fn key(key: HashKey) -> Self {
        Self::from(Source::Key {
            key,
            sessions: 0,
            memory: None,
        })
    }

    /// Also honours tokens signed with a former secret; they are replaced as they
    /// come. At most 3 former ones are kept, the latest. Keys are not signed and
    /// know none.
    #[must_use]
    pub fn also_accept(mut self, former: impl AsRef<[u8]>) -> Self {
        if let Source::Token {
            keys, shortest_key, ..
        } = &mut self.source
        {
            *shortest_key = (*shortest_key).min(former.as_ref().len());
            keys.add_former(former.as_ref());
        }
        self
    }

    /// Remembers where up to this many keys went (10 million at most), so that
    /// they stay when members come or begin to drain. The least recently used
    /// are forgotten first, at the earliest at half that number; one costs about
    /// 100 bytes. Other gateways know nothing of it. Tokens need no memory.
    /// Default: 0, hashing alone.
    #[must_use]
    pub fn remember(mut self, sessions: usize) -> Self {
        if let Source::Key {
            sessions: wanted,
            memory,
            ..
        } = &mut self.source
        {
            *wanted = sessions;
            let fits = (1..=MAX_SESSIONS).contains(&sessions);
            *memory = fits.then(|| Arc::new(Memory::new(sessions)));
        }
        self
    }

    /// A token ends after this time, up to a minute later, and is renewed in its
    /// second half; what is [remembered](Self::remember) ends after this time without
    /// a request. Default: 24 hours, at least one minute. The browser forgets a cookie
    /// earlier, with its session.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = bounded(lifetime);
        self
    }

    /// What happens when the bound endpoint is gone. Default: [`OnDown::Rebind`].
    #[must_use]
    pub fn on_down(mut self, on_down: OnDown) -> Self {
        self.on_down = on_down;
        self
    }

    /// Marks the cookie `Secure` even when the client's connection to this
    /// process is plain, for gateways behind a TLS terminator. Default: only
    /// when the client's own connection is encrypted.
    #[must_use]
    pub fn always_secure(mut self) -> Self {
        self.always_secure = true;
        self
    }

    /// # Errors
    ///
    /// [`ConfigError::Range`] for a short secret, a name that is no name, too
    /// many sessions, or a lifetime below one minute.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |what, must| Err(ConfigError::Range { what, must });
        match &self.source {
            Source::Token { shortest_key, .. } if *shortest_key < MIN_KEY_BYTES => {
                return range("affinity key", "at least 16 bytes long");
            }
            Source::Token {
                carrier: Carrier::Cookie(name),
                ..
            } if !cookies::is_name(name) => {
                return range("affinity cookie", "a token of 1 to 64 characters");
            }
            Source::Token {
                carrier: Carrier::Header(None),
                ..
            }
            | Source::Key {
                key: HashKey::Header(None),
                ..
            } => return range("affinity header", "the name of a header"),
            Source::Key { sessions, .. } if *sessions > MAX_SESSIONS => {
                return range("affinity remember", "at most 10 million");
            }
            _ => {}
        }
        if self.lifetime < Duration::from_secs(60) {
            return range("affinity lifetime", "at least one minute");
        }
        Ok(())
    }

    /// Clients are bound by a signed token.
    pub(crate) fn is_signed(&self) -> bool {
        matches!(self.source, Source::Token { .. })
    }

    /// Clients are bound by nothing but a hash.
    fn is_hashed(&self) -> bool {
        matches!(self.source, Source::Key { memory: None, .. })
    }

    /// What happens when the bound endpoint is gone.
    #[must_use]
    pub fn when_down(&self) -> OnDown {
        self.on_down
    }

    /// The first valid binding among the tokens of a request; `None` for keys.
    #[must_use]
    pub fn binding(&self, headers: &HeaderMap, unix_seconds: u64) -> Option<Binding> {
        let valid = self.first_valid(headers, || unix_seconds);
        valid.map(|(binding, _)| binding)
    }

    /// The same, but asks for the time only if there is a token, and says it.
    #[inline]
    pub(crate) fn first_valid(
        &self,
        headers: &HeaderMap,
        unix_seconds: impl Fn() -> u64,
    ) -> Option<(Binding, u64)> {
        let Source::Token { carrier, keys, .. } = &self.source else {
            return None;
        };
        let valid = |value: &[u8]| {
            let binding = keys.open(value)?;
            let now = unix_seconds();
            (binding.expires_minute > now / 60).then_some((binding, now))
        };
        match carrier {
            Carrier::Cookie(name) => cookies::find(headers, name, valid),
            Carrier::Header(name) => valid(headers.get(name.as_ref()?)?.as_bytes()),
        }
    }

    /// The endpoint of a session that goes on as it is: its token is the first that the
    /// request sends, this thread opened it before, it is neither over nor due, and the
    /// endpoint takes the request. `None` leaves everything to a [`Session`].
    #[inline]
    pub(crate) fn pick_near(
        &self,
        headers: &HeaderMap,
        unix_seconds: impl Fn() -> u64,
        pick: impl Fn(&Binding) -> Option<Picked>,
    ) -> Option<Picked> {
        let Source::Token { carrier, keys, .. } = &self.source else {
            return None;
        };
        let read = |binding: &Binding| {
            let now = unix_seconds();
            let goes_on = binding.expires_minute > now / 60 && !self.is_due(binding, now);
            goes_on.then(|| pick(binding)).flatten()
        };
        match carrier {
            Carrier::Cookie(name) => {
                let first = |value: &[u8]| Some(keys.read_near(value, read));
                cookies::find(headers, name, first).flatten()
            }
            Carrier::Header(name) => keys.read_near(headers.get(name.as_ref()?)?.as_bytes(), read),
        }
    }

    /// `true` when the token should be written again: its second half has
    /// begun, or it was signed with a former key.
    #[must_use]
    pub fn is_due(&self, binding: &Binding, unix_seconds: u64) -> bool {
        let left = (binding.expires_minute * 60).saturating_sub(unix_seconds);
        binding.former_key || left * 2 < self.lifetime.as_secs()
    }

    /// The response header that binds a client to `endpoint`. `None` for keys, and
    /// if its name is longer than 200 bytes: such endpoints are never bound to.
    #[must_use]
    pub fn bind(
        &self,
        endpoint: &Endpoint,
        unix_seconds: u64,
        tls: bool,
    ) -> Option<(HeaderName, HeaderValue)> {
        self.token_for(
            endpoint.id().as_str(),
            endpoint.incarnation(),
            unix_seconds,
            tls,
        )
    }

    /// The same for anything that has a name.
    pub(crate) fn token_for(
        &self,
        name: &str,
        incarnation: u64,
        unix_seconds: u64,
        tls: bool,
    ) -> Option<(HeaderName, HeaderValue)> {
        let Source::Token {
            carrier,
            keys,
            sealed,
            ..
        } = &self.source
        else {
            return None;
        };
        let header = match carrier {
            Carrier::Cookie(_) => header::SET_COOKIE,
            Carrier::Header(header) => header.clone()?,
        };
        let secure = tls || self.always_secure;
        // Rounded up: a short life counts as well.
        let expires_minute = (unix_seconds + self.lifetime.as_secs()).div_ceil(60);
        let key = sealed.key(name.as_bytes());
        if let Some(known) = key.and_then(|key| sealed.get(key))
            && (known.incarnation, known.expires_minute) == (incarnation, expires_minute)
            && known.secure == secure
        {
            return Some((header, known.value));
        }
        let token = keys.seal(name, incarnation, expires_minute)?;
        let value = match carrier {
            Carrier::Cookie(cookie) => cookies::set(cookie, &token, secure),
            Carrier::Header(_) => token,
        };
        let value = HeaderValue::try_from(value).ok()?;
        let new = Sealed {
            incarnation,
            expires_minute,
            secure,
            value: value.clone(),
        };
        if let Some(key) = key {
            sealed.put(key, new);
        }
        Some((header, value))
    }
}

impl From<Source> for Affinity {
    fn from(source: Source) -> Self {
        Self {
            source,
            lifetime: Duration::from_secs(24 * 3600),
            on_down: OnDown::default(),
            always_secure: false,
        }
    }
}

impl PoolBuilder {
    /// Keeps each client on its endpoint, see [`affinity`](self). The reverse
    /// proxy honours it. Default: none.
    pub fn affinity(self, affinity: Affinity) -> Self {
        let checked = affinity.check();
        self.keyed(affinity.is_hashed()).extra(affinity, checked)
    }
}

impl Pool {
    /// How clients are bound to endpoints, if they are.
    #[must_use]
    pub fn affinity(&self) -> Option<&Affinity> {
        self.extra()
    }
}

#[cfg(test)]
mod tests;
