//! Where probes may go.
//!
//! Whoever may register a check makes this server open connections. Without a rule that is a way into the
//! server's own network: to loopback services, or to the metadata address of a cloud. So link-local, loopback,
//! multicast and unspecified addresses are refused by default: an address in a registration with 400, and a
//! name that resolves to one when it is probed, on every probe anew.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which addresses probes may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckTargets {
    loopback: bool,
    link_local: bool,
    only: Vec<(IpAddr, u8)>,
}

/// The rule of a running server, which is more generous once it listens on loopback.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    rule: CheckTargets,
    on_loopback: Arc<AtomicBool>,
}

impl Current {
    pub(super) fn new(rule: CheckTargets) -> Self {
        Self {
            rule,
            on_loopback: Arc::default(),
        }
    }

    pub(super) fn listening(&self, address: IpAddr) {
        // Relaxed: a flag by itself.
        self.on_loopback
            .store(address.is_loopback(), Ordering::Relaxed);
    }

    pub(super) fn rule(&self) -> CheckTargets {
        // Relaxed: as above.
        match self.on_loopback.load(Ordering::Relaxed) {
            true => self.rule.clone().allow_loopback(),
            false => self.rule.clone(),
        }
    }
}

// === impl CheckTargets ===

impl CheckTargets {
    /// Allows this machine's loopback addresses. A server that itself listens on loopback allows them anyway:
    /// whoever reaches it could reach them without it.
    #[must_use]
    pub fn allow_loopback(mut self) -> Self {
        self.loopback = true;
        self
    }

    /// Allows link-local addresses, among them the metadata services of clouds.
    #[must_use]
    pub fn allow_link_local(mut self) -> Self {
        self.link_local = true;
        self
    }

    /// Allows this network, and no other but those added in the same way. `bits` is the length of its prefix.
    #[must_use]
    pub fn only(mut self, network: IpAddr, bits: u8) -> Self {
        self.only.push((network, bits));
        self
    }

    /// May a probe go to this address?
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_never(address)
            || (address.is_loopback() && !self.loopback)
            || (is_link_local(address) && !self.link_local)
        {
            return false;
        }
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|(network, bits)| contains(*network, *bits, address))
    }

    /// Of several addresses of one name, those that are allowed.
    pub(super) fn allowed(&self, addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        addresses
            .filter(|address| self.allows(address.ip()))
            .collect()
    }

    /// Refuses what can be refused before anything is resolved.
    pub(super) fn check_url(&self, url: &str) -> Result<(), String> {
        let uri: http::Uri = url.parse().map_err(|_| format!("{url:?} is no URL"))?;
        match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(host)) => self.check_host(host),
            (Some("https"), _) => Err("https checks are not supported by this agent".into()),
            _ => Err(format!("{url:?} is no absolute http URL")),
        }
    }

    pub(super) fn check_authority(&self, authority: &str) -> Result<(), String> {
        match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => self.check_host(host),
            _ => Err(format!("{authority:?} is not host:port")),
        }
    }

    fn check_host(&self, host: &str) -> Result<(), String> {
        let bare = host.trim_matches(['[', ']']);
        let address = match bare.parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) if bare.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
            Err(_) => return Ok(()),
        };
        match self.allows(address) {
            true => Ok(()),
            false => Err(format!("probes to {host} are not allowed on this agent")),
        }
    }
}

fn is_never(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let whole = |address: IpAddr| match address {
        IpAddr::V4(address) => (32, u128::from(address.to_bits())),
        IpAddr::V6(address) => (128, address.to_bits()),
    };
    let ((size, network), (other, address)) = (whole(network), whole(address));
    let ignored = size - u32::from(bits).min(size);
    size == other && network.checked_shr(ignored) == address.checked_shr(ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_metadata_addresses_are_refused_however_they_are_written() {
        let targets = CheckTargets::default();
        for url in [
            "http://127.0.0.1/",
            "http://127.9.9.9:80/",
            "http://localhost/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[fe80::1]/",
            "http://0.0.0.0/",
            "https://10.0.0.1/",
            "file:///etc/passwd",
            "nonsense",
        ] {
            assert!(targets.check_url(url).is_err(), "{url}");
        }
        assert_eq!(targets.check_url("http://10.0.0.7:8000/health"), Ok(()));
    }

    #[test]
    fn with_a_list_of_networks_everything_else_is_refused() {
        let targets = CheckTargets::default().only([10, 1, 0, 0].into(), 16);
        assert!(targets.allows([10, 1, 2, 3].into()));
        assert!(!targets.allows([10, 2, 2, 3].into()));
        assert!(!targets.allows("fd00::1".parse().unwrap()));
    }

    #[test]
    fn a_prefix_of_zero_bits_is_every_address_of_the_family() {
        let targets = CheckTargets::default().only([0, 0, 0, 0].into(), 0);
        assert!(targets.allows([8, 8, 8, 8].into()));
    }
}
