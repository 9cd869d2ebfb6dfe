//! What the clients of this crate share: HTTP, bounded in size and time, with TLS if the feature `tls` is on.

#[cfg(not(feature = "tls"))]
mod plain;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[cfg(not(feature = "tls"))]
use self::plain::{Connector, SCHEMES, connector};
#[cfg(feature = "tls")]
use self::tls::{Connector, SCHEMES, connector};

const CONNECT: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(30);

/// A list may have this many bytes.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Not of the form `http://host:port`, or with the feature `tls` `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a URL of the form http://host:port")]
pub struct InvalidUrl(pub String);

pub(crate) type Connections = hyper_util::client::legacy::Client<Connector, Full<Bytes>>;

/// A server and the connections to it. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The URL without a slash at its end.
    pub(crate) base: String,
    pub(crate) connections: Connections,
}

impl Origin {
    pub(crate) fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl(url.into());
        let uri: http::Uri = url.parse().map_err(|_| invalid())?;
        let known = uri
            .scheme_str()
            .is_some_and(|scheme| SCHEMES.contains(&scheme));
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !url.contains('#');
        if !known || !is_bare || uri.host().is_none_or(str::is_empty) {
            return Err(invalid());
        }
        Ok(Self {
            base: url.trim_end_matches('/').into(),
            connections: connections(connector(tcp())),
        })
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_nodelay(true);
    tcp
}

fn connections(connector: Connector) -> Connections {
    hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_an_origin_and_nothing_more() {
        for url in [
            "http://h",
            "http://h:8500",
            "http://h:8500/",
            "http://[::1]:8500",
        ] {
            assert!(Origin::new(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "h:8500",
            "ftp://h",
            "http://",
            "http://h/v1",
            "http://h?a=b",
            "http://h/?a",
            "http://h/#a",
        ] {
            assert!(Origin::new(url).is_err(), "{url}");
        }
    }
}
