//! A Consul agent as the registry: the real one from 1.8 on, or our own
//! [`EmbeddedServer`](crate::EmbeddedServer).
//!
//! Registers with the agent (never the catalog, from which an agent removes what it does not know), reports with
//! TTL checks, drains with maintenance mode, and follows services with blocking queries. Answers that differ
//! between versions are understood in both forms: 404 and 500 for an unknown check, 200 and 404 for a service that
//! is already gone.
//!
//! # Following a service
//!
//! One task per watch asks for the full list, so that draining and failing instances are seen as what they are.
//! An index below one counts as one, an index that went back starts again from zero, and answers that come at once
//! are slowed down to one per second ([`blocking`]).
//!
//! A failing agent, a denied token and an unconfirmed empty list leave the set as it is: see
//! [`fail_static`](mod@crate::fail_static). A list that is empty because the token may not see it is told from a
//! real one by asking for the token itself.
//!
//! # Limits
//!
//! `https` URLs need the feature `tls`. An answer may have 16 MiB.
//!
//! ```no_run
//! use lb_registry::{Consul, Discovery, Membership};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Consul::new("http://127.0.0.1:8500")?.token("secret");
//! let member = Membership::new("simulation", "10.0.0.7:8000").join(&registry);
//! let watch = registry.watch("simulation");
//! # Ok(())
//! # }
//! ```

pub mod blocking;
mod http;
mod watch;
mod wire;

use std::fmt;
use std::path::PathBuf;

use ::http::{Method, StatusCode};
use serde_json::json;

use self::http::{Answer, Client};
use crate::fail_static::Settings;
use crate::{Discovery, InvalidUrl, Registration, Registry, RegistryError, Status, Watch};

const DEFAULT_URL: &str = "http://service-registry:8500";

/// A Consul agent as the registry. Clones share connections. See the [module documentation](self).
#[derive(Clone)]
pub struct Consul {
    client: Client,
    options: Options,
}

/// How services are followed.
#[derive(Clone, Debug, Default)]
struct Options {
    fail_static: Settings,
    snapshots: Option<PathBuf>,
}

// === impl Consul ===

impl Consul {
    /// The agent at this URL, such as `http://127.0.0.1:8500`. Connects on first use.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`].
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Ok(Self {
            client: Client::new(url)?,
            options: Options::default(),
        })
    }

    /// The agent named by `SERVICE_REGISTRY_URL` (default `http://service-registry:8500`), with the token in
    /// `CONSUL_HTTP_TOKEN` if there is one.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`].
    pub fn from_env() -> Result<Self, InvalidUrl> {
        let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        let consul = Self::new(
            variable("SERVICE_REGISTRY_URL")
                .as_deref()
                .unwrap_or(DEFAULT_URL),
        )?;
        Ok(match variable("CONSUL_HTTP_TOKEN") {
            Some(token) => consul.token(token),
            None => consul,
        })
    }

    /// The token to show. Default: none.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.client.token = Some(token.into());
        self
    }

    /// Trusts the certificates in this file (PEM), which is read now. Default: what the system trusts.
    ///
    /// # Errors
    ///
    /// [`InvalidCertificates`](crate::InvalidCertificates).
    #[cfg(feature = "tls")]
    pub fn ca_file(
        mut self,
        path: impl AsRef<std::path::Path>,
    ) -> Result<Self, crate::InvalidCertificates> {
        self.client.origin = self.client.origin.trusting(path.as_ref())?;
        Ok(self)
    }

    /// How much to protect the sets that are followed. Default: [`Settings::default`].
    #[must_use]
    pub fn fail_static(mut self, settings: Settings) -> Self {
        self.options.fail_static = settings;
        self
    }

    /// Keeps the latest set of each followed service in this folder, and starts with it until the first live
    /// answer. Default: nothing is kept.
    #[must_use]
    pub fn snapshots(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.snapshots = Some(folder.into());
        self
    }

    async fn put(
        &self,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<Answer, RegistryError> {
        self.client
            .send(Method::PUT, path, body, http::PATIENCE)
            .await
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("url", &self.client.origin.base)
            .finish_non_exhaustive()
    }
}

impl Registry for Consul {
    async fn register(&self, registration: &Registration) -> Result<(), RegistryError> {
        let body = wire::registration(registration);
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        self.put(path, Some(body)).await?.success()
    }

    async fn heartbeat(&self, id: &str, status: Status, note: &str) -> Result<(), RegistryError> {
        let check = http::encode(&Registration::ttl_check_id(id));
        let status = match status {
            Status::Passing | Status::Draining => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        };
        let body = json!({"Status": status, "Output": note});
        let answer = self
            .put(&format!("/v1/agent/check/update/{check}"), Some(body))
            .await?;
        let unknown = answer.status == StatusCode::NOT_FOUND
            || (answer.status == StatusCode::INTERNAL_SERVER_ERROR
                && wire::says_unknown(&answer.text()));
        match unknown {
            true => Err(RegistryError::Unknown { id: id.to_owned() }),
            false => answer.success(),
        }
    }

    async fn set_draining(&self, id: &str, reason: Option<&str>) -> Result<(), RegistryError> {
        let enable = reason.is_some();
        let reason = http::encode(reason.unwrap_or_default());
        let path = format!(
            "/v1/agent/service/maintenance/{}?enable={enable}&reason={reason}",
            http::encode(id)
        );
        let answer = self.put(&path, None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(RegistryError::Unknown { id: id.to_owned() }),
            _ => answer.success(),
        }
    }

    async fn deregister(&self, id: &str) -> Result<(), RegistryError> {
        let answer = self
            .put(
                &format!("/v1/agent/service/deregister/{}", http::encode(id)),
                None,
            )
            .await?;
        let gone = answer.status == StatusCode::NOT_FOUND
            || (answer.status == StatusCode::INTERNAL_SERVER_ERROR
                && wire::says_unknown(&answer.text()));
        if gone { Ok(()) } else { answer.success() }
    }
}

impl Discovery for Consul {
    fn watch(&self, service: &str) -> Watch {
        watch::start(self.client.clone(), &self.options, service)
    }
}
