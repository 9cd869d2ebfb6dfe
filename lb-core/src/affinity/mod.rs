//! Session affinity: the same client stays on the same endpoint.
//!
//! A binding lives in a cookie and nowhere else, so that any number of gateways
//! agree without a shared table, and a million clients cost no memory. The
//! cookie is opaque and signed: a client can neither read which endpoint it
//! names nor make up another. Whatever is not a valid cookie (forged, cut,
//! expired, signed by an unknown key, 8 KiB long) is no binding, and never an
//! error.
//!
//! What a binding means depends on its endpoint:
//!
//! | endpoint | requests with a binding | requests without |
//! |----------|-------------------------|------------------|
//! | active | go there | balanced, then bound |
//! | draining | go there | go elsewhere |
//! | ejected for a while, or full | go elsewhere, stay bound | go elsewhere |
//! | down, removed, restarted | [`OnDown`] decides | go elsewhere |
//!
//! One failed request never moves a binding: it may be answered by another
//! endpoint, and the next one goes back. WebSocket handshakes are bound like any
//! other request; the cookie travels with the 101.
//!
//! Keys rotate without losing a session: sign with the new key, and keep reading
//! the old one with [`Affinity::also_accept`] until its cookies are gone.
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
mod token;

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

pub use self::token::Binding;
use self::token::KeyRing;
use crate::endpoint::Endpoint;
use crate::error::ConfigError;
use crate::pool::{Pool, PoolBuilder};

/// A shorter key could be guessed.
const MIN_KEY_BYTES: usize = 16;

/// What happens to a session whose endpoint is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDown {
    /// It is bound to another endpoint. The default.
    #[default]
    Rebind,
    /// Its requests are refused with 503 until the endpoint returns, or the
    /// cookie expires: for endpoints that hold state nobody else has.
    Fail,
}

/// How requests are bound to endpoints; see the [module](self).
#[derive(Clone, Debug)]
pub struct Affinity {
    name: String,
    keys: KeyRing,
    shortest_key: usize,
    lifetime: Duration,
    on_down: OnDown,
    always_secure: bool,
}

impl Affinity {
    /// Binds by a signed cookie of this name. `key` is secret, at least 16
    /// bytes, and the same on every gateway that shares the endpoints.
    #[must_use]
    pub fn cookie(name: impl Into<String>, key: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.into(),
            keys: KeyRing::new(key.as_ref()),
            shortest_key: key.as_ref().len(),
            lifetime: Duration::from_secs(24 * 3600),
            on_down: OnDown::default(),
            always_secure: false,
        }
    }

    /// Also honours cookies signed with a former key; they are replaced as they
    /// come. At most 3 former keys are kept, the latest ones.
    #[must_use]
    pub fn also_accept(mut self, former: impl AsRef<[u8]>) -> Self {
        self.shortest_key = self.shortest_key.min(former.as_ref().len());
        self.keys.add_former(former.as_ref());
        self
    }

    /// A binding ends after this time, and is renewed in its second half.
    /// Default: 24 hours; whole minutes count. The browser forgets it earlier,
    /// with its session.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
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
    /// [`ConfigError::Range`] for a short key, a name that is no cookie name, or
    /// a lifetime below one minute.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let range = |what, must| Err(ConfigError::Range { what, must });
        if self.shortest_key < MIN_KEY_BYTES {
            return range("affinity key", "at least 16 bytes long");
        }
        if !cookies::is_name(&self.name) {
            return range("affinity cookie", "a token of 1 to 64 characters");
        }
        if self.lifetime < Duration::from_secs(60) {
            return range("affinity lifetime", "at least one minute");
        }
        Ok(())
    }

    /// What happens when the bound endpoint is gone.
    #[must_use]
    pub fn when_down(&self) -> OnDown {
        self.on_down
    }

    /// The first valid binding among the cookies of a request.
    #[must_use]
    pub fn binding(&self, headers: &HeaderMap, unix_seconds: u64) -> Option<Binding> {
        cookies::values(headers, &self.name)
            .filter_map(|value| self.keys.open(value))
            .find(|binding| binding.expires_minute > unix_seconds / 60)
    }

    /// `true` when the cookie should be written again: its second half has
    /// begun, or it was signed with a former key.
    #[must_use]
    pub fn is_due(&self, binding: &Binding, unix_seconds: u64) -> bool {
        let left = binding.expires_minute.saturating_sub(unix_seconds / 60);
        binding.former_key || left < self.lifetime.as_secs() / 120
    }

    /// The `Set-Cookie` value that binds a client to `endpoint`. `None` if its
    /// name is longer than 200 bytes: such endpoints are never bound to.
    #[must_use]
    pub fn bind(&self, endpoint: &Endpoint, unix_seconds: u64, tls: bool) -> Option<HeaderValue> {
        let minute = unix_seconds / 60 + self.lifetime.as_secs() / 60;
        let value = self
            .keys
            .seal(endpoint.id().as_str(), endpoint.incarnation(), minute)?;
        let secure = if tls || self.always_secure {
            "; Secure"
        } else {
            ""
        };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}",
            self.name
        );
        HeaderValue::try_from(text).ok()
    }
}

impl PoolBuilder {
    /// Keeps each client on its endpoint, see [`affinity`](self). The reverse
    /// proxy honours it. Default: none.
    pub fn affinity(self, affinity: Affinity) -> Self {
        let checked = affinity.check();
        self.extra(affinity, checked)
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
