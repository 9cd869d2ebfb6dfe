//! Who the client is: the address of its connection, and what trusted proxies
//! say about the one behind.
//!
//! A request says nothing reliable about its sender by itself. The server in
//! front knows the address of the connection ([`PeerAddr`]); forwarding fields
//! count only as far as each hop that wrote them is trusted ([`TrustedProxies`]).
//! An address becomes a key for balancing or limits with [`network`], because a
//! client with IPv6 owns a whole prefix and could change its address per request.
//!
//! ```
//! use lb_core::client::network;
//!
//! let home = network("2001:db8:1:2:aaaa::1".parse()?, 64);
//! assert_eq!(home, network("2001:db8:1:2:bbbb::9".parse()?, 64));
//! assert_eq!(network("::ffff:192.0.2.7".parse()?, 64).to_string(), "192.0.2.7");
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4};

use http::{HeaderMap, HeaderName};

/// A network such as `10.0.0.0/8` or `fd00::/8`; it is read with `parse`.
pub use ipnet::IpNet;

/// The address of the client's connection, as a request extension.
///
/// A server or a layer that knows it may insert it; without it, and without
/// [`ReverseProxy::peer`](crate::ReverseProxy::peer), nothing is said to
/// endpoints about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The network that stands for a client: an IPv4 address as a whole, also when
/// it comes mapped into IPv6; of an IPv6 address the first `v6_prefix` bits (128
/// at most).
#[must_use]
pub fn network(address: IpAddr, v6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let host_bits = 128 - u32::from(v6_prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
        v4 => v4,
    }
}

/// The proxies whose word about a client is taken. Default: nobody's.
///
/// From a peer in one of these networks the fields `Forwarded`, `X-Forwarded-*`
/// and `X-Real-IP` are kept, and the peer is appended to `X-Forwarded-For`. From
/// anyone else they are dropped and written anew, because a client can send
/// whatever it likes.
///
/// ```
/// use lb_core::client::TrustedProxies;
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
    /// use lb_core::client::TrustedProxies;
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

/// Who was there before the peer, as each hop saw it.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// One entry of `X-Forwarded-For`: an address, with or without a port. Brackets
/// hold an IPv6 address and nothing else, and only a port may follow them.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let address = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']')?;
            let known = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            IpAddr::V6(known.then(|| host.parse().ok())??)
        }
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => text.parse::<SocketAddrV4>().ok()?.ip().to_owned().into(),
        },
    };
    Some(address.to_canonical())
}

/// A decimal port without a sign.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
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

    #[test]
    fn brackets_hold_an_ipv6_address_and_only_a_port_may_follow() {
        assert_eq!(client("10.0.0.1", "[2001:db8::1]"), "2001:db8::1");
        for garbled in [
            "[1.1.1.1]",
            "[1.1.1.1:80]:80",
            "[0.0.0.0:1]:8010 :1]:1",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "[2001:db8::1]:+80",
            "[2001:db8::1",
            "1.1.1.1:+80",
            "1.1.1.1:65536",
        ] {
            assert_eq!(client("10.0.0.1", garbled), "10.0.0.1", "{garbled}");
        }
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
