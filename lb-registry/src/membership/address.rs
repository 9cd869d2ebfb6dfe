//! Where others reach this instance.

use std::net::SocketAddr;

const DEFAULT_PORT: u16 = 8_000;
const DEFAULT_HOST: &str = "127.0.0.1";

/// Host and, if known, port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port; `None` is that of the listener.
    pub port: Option<u16>,
}

impl Address {
    /// From variables: host `POD_IP` or `HOSTNAME`, port `SERVICE_PORT`. `POD_IP` comes first because a
    /// pod's host name does not resolve in the cluster.
    pub(super) fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let filled = |name: &str| variable(name).filter(|text| !text.is_empty());
        let host = filled("POD_IP").or_else(|| filled("HOSTNAME"));
        let port = filled("SERVICE_PORT").and_then(|text| {
            let port = text.parse().ok();
            if port.is_none() {
                tracing::warn!(text, "SERVICE_PORT is no port: the default counts");
            }
            port
        });
        Self {
            host: host.unwrap_or_else(|| DEFAULT_HOST.into()),
            port: Some(port.unwrap_or(DEFAULT_PORT)),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: Some(address.port()),
        }
    }
}

impl From<&str> for Address {
    /// `host`, `host:port`, `[ipv6]:port` or a bare IPv6 address.
    fn from(text: &str) -> Self {
        let bare = |host: &str| Self {
            host: host.trim_matches(['[', ']']).into(),
            port: None,
        };
        let Some((host, port)) = text.rsplit_once(':') else {
            return bare(text);
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        match port.parse() {
            Ok(port) if bracketed || !host.contains(':') => Self {
                port: Some(port),
                ..bare(host)
            },
            _ => bare(text),
        }
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_address_is_understood() {
        let parsed = |text: &str| {
            let Address { host, port } = text.into();
            (host, port)
        };
        assert_eq!(parsed("10.0.0.7:8000"), ("10.0.0.7".into(), Some(8_000)));
        assert_eq!(parsed("worker"), ("worker".into(), None));
        assert_eq!(parsed("[::1]:80"), ("::1".into(), Some(80)));
        assert_eq!(parsed("fe80::1"), ("fe80::1".into(), None));
    }

    #[test]
    fn the_environment_has_defaults() {
        let address = |variables: &'static [(&str, &str)]| {
            let found = |name: &str| variables.iter().find(|(known, _)| *known == name);
            Address::from_env(|name| found(name).map(|(_, text)| (*text).into()))
        };
        let on = |host: &str, port| Address {
            host: host.into(),
            port: Some(port),
        };
        assert_eq!(address(&[]), on("127.0.0.1", 8_000));
        let pod = address(&[("HOSTNAME", "pod-1"), ("SERVICE_PORT", "9001")]);
        assert_eq!(pod, on("pod-1", 9_001));
        let nonsense = address(&[("POD_IP", ""), ("SERVICE_PORT", "http")]);
        assert_eq!(nonsense, on("127.0.0.1", 8_000));
    }
}
