//! Builds a [`RedisTier`].

use std::sync::Arc;
use std::time::Duration;

use ::redis::AsyncConnectionConfig;
use ::redis::cluster::ClusterClient;

use super::connection::Connection;
use super::supervisor::Supervisor;
use super::tls::Tls;
use super::{RedisTier, slots};
use crate::tier::TierError;

/// Collects what a connection needs.
#[must_use = "a builder does nothing until `build`"]
pub struct RedisBuilder {
    urls: Vec<String>,
    clustered: bool,
    username: Option<String>,
    password: Option<String>,
    connect_timeout: Duration,
    response_timeout: Duration,
    max_value_bytes: usize,
    pub(super) tls: Tls,
}

impl RedisBuilder {
    pub(super) fn new(urls: Vec<String>, clustered: bool) -> Self {
        Self {
            urls,
            clustered,
            username: None,
            password: None,
            connect_timeout: Duration::from_millis(250),
            response_timeout: Duration::from_millis(200),
            max_value_bytes: 16 << 20,
            tls: Tls::default(),
        }
    }

    /// The user of the access control list. Default: the one in the address, or `default`.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password. Default: the one in the address, or none.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// How long connecting to one node may take. Default: 250 ms.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long a request may take. Default: 200 ms; keep it below the deadline of the cache.
    pub fn response_timeout(mut self, limit: Duration) -> Self {
        self.response_timeout = limit;
        self
    }

    /// Larger values are neither written nor read. Default: 16 MiB.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Checks the addresses and builds the tier. Touches no network.
    ///
    /// # Errors
    ///
    /// If an address is none, or there is none at all.
    pub fn build(self) -> Result<RedisTier, TierError> {
        let domains = if self.clustered { slots::DOMAINS } else { 1 };
        let supervisor = if self.clustered {
            self.cluster(domains)?
        } else {
            self.single(domains)?
        };
        Ok(RedisTier {
            supervisor,
            max_value_bytes: self.max_value_bytes,
            response_timeout: self.response_timeout,
            clustered: self.clustered,
        })
    }

    fn cluster(&self, domains: usize) -> Result<Arc<Supervisor>, TierError> {
        let urls = self.urls.iter().map(String::as_str);
        let mut builder = ClusterClient::builder(urls)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.response_timeout)
            .retries(2)
            .min_retry_wait(10)
            .max_retry_wait(100);
        if let Some(username) = &self.username {
            builder = builder.username(username);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password);
        }
        let client = self
            .tls
            .cluster(builder)
            .build()
            .map_err(TierError::failed)?;
        let connect = move || {
            let client = client.clone();
            Box::pin(async move { client.get_async_connection().await.map(Connection::Cluster) })
                as _
        };
        Ok(Supervisor::new(
            Box::new(connect),
            self.connect_timeout,
            domains,
            true,
        ))
    }

    fn single(&self, domains: usize) -> Result<Arc<Supervisor>, TierError> {
        let url = self.urls.first().map(String::as_str).unwrap_or_default();
        let mut info =
            ::redis::IntoConnectionInfo::into_connection_info(url).map_err(TierError::failed)?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        info = info.set_redis_settings(settings);
        let client = self.tls.client(info).map_err(TierError::failed)?;
        // Every exchange has a time-out of ours: a second timer would cost, and say nothing.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None);
        let connect = move || {
            let (client, config) = (client.clone(), config.clone());
            Box::pin(async move {
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map(Connection::Single)
            }) as _
        };
        Ok(Supervisor::new(
            Box::new(connect),
            self.connect_timeout,
            domains,
            false,
        ))
    }
}

impl std::fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither addresses nor the password: both may hold secrets.
        f.debug_struct("RedisBuilder")
            .field("clustered", &self.clustered)
            .finish_non_exhaustive()
    }
}
