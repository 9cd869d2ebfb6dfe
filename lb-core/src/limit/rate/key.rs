//! Clients by their address.

use std::net::{IpAddr, Ipv6Addr};

/// A client's address as a key: IPv4 whole, IPv6 without its lower 64 bits.
///
/// An IPv4 address mapped into IPv6 is the same client as the IPv4 address.
///
/// ```
/// use std::net::IpAddr;
///
/// use lb_core::limit::Client;
///
/// let client = |text: &str| text.parse::<IpAddr>().map(Client::from);
/// assert_eq!(client("2001:db8::1")?, client("2001:db8::2")?);
/// assert_eq!(client("::ffff:192.0.2.1")?, client("192.0.2.1")?);
/// assert_ne!(client("192.0.2.1")?, client("192.0.2.2")?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Self(Ipv6Addr::from(network).into())
            }
        }
    }
}
