//! Keys of a request that are hashed, not signed.

use std::net::IpAddr;

use http::HeaderName;

use super::Asked;
use crate::client::{TrustedProxies, network};
use crate::policy::hash_key;

/// What of a request is hashed.
#[derive(Clone, Debug)]
pub(super) enum HashKey {
    /// `None`: a name that is none, refused when the pool is built.
    Header(Option<HeaderName>),
    ClientAddress {
        trusted: TrustedProxies,
        v6_prefix: u8,
    },
    PathSegment(usize),
    Query(String),
}

impl HashKey {
    /// The key of a request, hashed; `None` if the request has none.
    pub(super) fn of(&self, asked: &Asked<'_>) -> Option<u64> {
        match self {
            Self::Header(name) => {
                let value = asked.headers.get(name.as_ref()?)?;
                Some(hash_key(value.as_bytes()))
            }
            Self::ClientAddress { trusted, v6_prefix } => {
                let client = trusted.client(asked.peer?, asked.headers);
                Some(hash_address(network(client, *v6_prefix)))
            }
            Self::PathSegment(index) => {
                let mut segments = asked.uri.path().split('/').filter(|part| !part.is_empty());
                Some(hash_key(segments.nth(*index)?.as_bytes()))
            }
            Self::Query(name) => {
                let mut pairs = asked.uri.query()?.split('&');
                let value =
                    pairs.find_map(|pair| pair.strip_prefix(name.as_str())?.strip_prefix('='))?;
                Some(hash_key(value.as_bytes()))
            }
        }
    }
}

fn hash_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => hash_key(&v4.octets()),
        IpAddr::V6(v6) => hash_key(&v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Uri};

    use super::*;

    fn key_of(key: &HashKey, peer: &str, target: &str, forwarded: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        let uri: Uri = target.parse().unwrap();
        key.of(&Asked {
            uri: &uri,
            headers: &headers,
            peer: peer.parse().ok(),
        })
    }

    fn by_address() -> HashKey {
        HashKey::ClientAddress {
            trusted: TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]),
            v6_prefix: 64,
        }
    }

    #[test]
    fn an_untrusted_peer_cannot_choose_its_key() {
        let honest = key_of(&by_address(), "192.0.2.1", "/", "192.0.2.1");
        for lie in ["1.1.1.1", "10.0.0.9", "unknown", "::1, 2.2.2.2"] {
            assert_eq!(key_of(&by_address(), "192.0.2.1", "/", lie), honest);
        }
        let behind = key_of(&by_address(), "10.0.0.1", "/", "6.6.6.6, 192.0.2.1");
        assert_eq!(behind, honest, "a trusted proxy speaks for it");
    }

    #[test]
    fn mapped_addresses_and_one_prefix_are_one_client() {
        let of = |peer| key_of(&by_address(), peer, "/", "x");
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("no address"), None);
    }

    #[test]
    fn parts_of_the_target_are_keys() {
        let of = |key: &HashKey, target| key_of(key, "", target, "x");
        let tenant = HashKey::PathSegment(1);
        assert_eq!(of(&tenant, "/t/a/1"), of(&tenant, "/t/a/2?x"));
        assert_ne!(of(&tenant, "/t/a"), of(&tenant, "/t/b"));
        assert_eq!(of(&tenant, "/t"), None);
        let id = HashKey::Query("id".into());
        assert_eq!(of(&id, "/?a=1&id=7"), of(&id, "/x?id=7&b"));
        assert_eq!(of(&id, "/?idx=7"), None);
    }
}
