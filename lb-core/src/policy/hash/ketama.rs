//! nginx's consistent hash, point by point.

use http::Uri;

use crate::policy::hash::{Table, ring::Circle};

/// Points per unit of weight.
const POINTS: u32 = 160;
/// More weight than this does not add points: 16 million points are enough.
const MOST_WEIGHT: u32 = 1_000;

/// The hash of a key as nginx's `hash $key consistent` takes it: CRC-32.
///
/// ```
/// assert_eq!(lb_core::policy::ketama_key(b"123456789"), 0xcbf4_3926);
/// ```
#[must_use]
pub fn ketama_key(key: &[u8]) -> u64 {
    u64::from(crc32fast::hash(key))
}

/// nginx's ring of `hash ... consistent`: each server has 160 points per unit
/// of weight, each the CRC-32 of host, a zero byte, port and the previous point.
#[derive(Debug)]
pub struct KetamaRing(Circle<u32>);

impl KetamaRing {
    /// A ring of these servers, named as in an nginx configuration (`host:port`, `host`,
    /// `[address]:port`, `unix:path`), with their weights.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut placed = Vec::new();
        for (owner, (address, weight)) in (0u32..).zip(servers) {
            let (host, port) = host_and_port(address);
            let mut base = crc32fast::Hasher::new();
            base.update(host.as_bytes());
            base.update(&[0]);
            base.update(port.as_bytes());
            let mut previous = 0u32;
            for _ in 0..POINTS * weight.min(MOST_WEIGHT) {
                let mut point = base.clone();
                point.update(&previous.to_le_bytes());
                previous = point.finalize();
                placed.push((previous, owner));
            }
        }
        Self(Circle::new(placed))
    }

    /// Whom a [`ketama_key`] belongs to, as the position among the servers given.
    #[must_use]
    pub fn owner(&self, key: u64) -> Option<usize> {
        self.find(key, &mut |_| true)
    }
}

/// What nginx takes for host and port: digits after the last colon are a port, anything
/// else belongs to the host, and a socket's path is a host without its `unix:`.
fn host_and_port(server: &str) -> (&str, &str) {
    const UNIX: &str = "unix:";
    if let Some((scheme, path)) = server.split_at_checked(UNIX.len())
        && scheme.eq_ignore_ascii_case(UNIX)
    {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

impl Table for KetamaRing {
    fn find(&self, key: u64, admits: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        // The low half: a CRC-32 has no other.
        self.0.find(key as u32, admits)
    }
}

/// `host:port` as an nginx configuration would name it.
pub(super) fn address(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    format!("{host}:{}", uri.port_u16().unwrap_or(default))
}
