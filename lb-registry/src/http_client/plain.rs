//! Connections without TLS.

use hyper_util::client::legacy::connect::HttpConnector;

pub(super) const SCHEMES: [&str; 1] = ["http"];

pub(super) type Connector = HttpConnector;

pub(super) fn connector(tcp: HttpConnector) -> Connector {
    tcp
}
