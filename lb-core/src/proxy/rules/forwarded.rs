//! What an endpoint is told about the client, and by whom it may be told.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The proxies whose word about a client is taken. Default: nobody's.
///
/// From a peer in one of these networks the fields `Forwarded`, `X-Forwarded-*`
/// and `X-Real-IP` are kept, and the peer is appended to `X-Forwarded-For`. From
/// anyone else they are dropped and written anew, because a client can send
/// whatever it likes.
///
/// ```
/// use lb_core::proxy::TrustedProxies;
///
/// let trusted = TrustedProxies::new(["10.0.0.0/8".parse()?, "fd00::/8".parse()?]);
/// assert!(trusted.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!trusted.contains("192.0.2.1".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Entries of `X-Forwarded-For` that are walked, at most.
const MAX_HOPS: usize = 32;

impl TrustedProxies {
    /// Trusts every address in `networks`.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// `true` when `address` is trusted. An IPv4 address mapped into IPv6 is
    /// looked up as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind `peer`: `peer` itself unless it is trusted, else the
    /// right-most address of `X-Forwarded-For` that is not.
    ///
    /// An entry that is no address ends the walk, and at most 32 entries are
    /// looked at: the last trusted hop stands for what lies behind it.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use lb_core::proxy::TrustedProxies;
    ///
    /// let trusted = TrustedProxies::new(["10.0.0.0/8".parse()?]);
    /// let mut headers = HeaderMap::new();
    /// headers.insert("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9".parse()?);
    /// assert_eq!(trusted.client("10.0.0.1".parse()?, &headers).to_string(), "192.0.2.7");
    /// assert_eq!(trusted.client("9.9.9.9".parse()?, &headers).to_string(), "9.9.9.9");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MAX_HOPS) {
            if !self.contains(client) {
                break;
            }
            let Some(address) = parse_hop(hop) else { break };
            client = address;
        }
        client
    }
}

pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// One entry of `X-Forwarded-For`: an address, with or without a port.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|pair| pair.0);
    let address = bare.unwrap_or(text);
    let parsed = address.parse::<IpAddr>().ok().or_else(|| {
        let (host, port) = address.split_once(':')?;
        port.parse::<u16>().ok()?;
        host.parse().ok()
    });
    parsed.map(|address| address.to_canonical())
}

/// `true` for fields that speak about a client on someone's word.
pub(crate) fn is_forwarding(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, forwarded: &str) -> String {
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, forwarded.parse().unwrap());
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn an_untrusted_peer_speaks_only_for_itself() {
        assert_eq!(client("192.0.2.1", "1.1.1.1"), "192.0.2.1");
    }

    #[test]
    fn the_walk_stops_at_the_first_hop_nobody_vouches_for() {
        assert_eq!(client("10.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.2"), "2.2.2.2");
        assert_eq!(
            client("::ffff:10.0.0.1", "[2001:db8::1]:443"),
            "2001:db8::1"
        );
        assert_eq!(client("10.0.0.1", "2.2.2.2:99"), "2.2.2.2");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_walk() {
        assert_eq!(client("10.0.0.1", "1.1.1.1, unknown, 10.0.0.2"), "10.0.0.2");
        assert_eq!(client("10.0.0.1", "unknown"), "10.0.0.1");
    }

    proptest! {
        /// Nothing a client writes makes it someone the proxies did not see.
        #[test]
        fn noise_never_panics_and_never_moves_an_untrusted_peer(noise in "[ -~]{0,80}") {
            prop_assert_eq!(client("192.0.2.1", &noise), "192.0.2.1");
            client("10.0.0.1", &noise);
        }
    }
}
