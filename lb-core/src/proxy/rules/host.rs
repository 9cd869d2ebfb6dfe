//! Who the request is for: one authority, or a refusal.

use std::net::Ipv6Addr;

use http::{HeaderMap, Uri, header};

use crate::proxy::ProxyError;

/// The authority of a request: the target's if it has one (absolute form, or
/// `:authority` in HTTP/2), else the one `Host` field.
///
/// A target's authority wins over `Host`, as RFC 9112, 3.2.2 demands; the field
/// that is forwarded is written from the answer, so both cannot differ.
/// Two `Host` fields, none, or one with user information are refused.
pub(crate) fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a [u8], ProxyError> {
    // A walk over few fields costs less than a hashed look-up.
    let mut hosts = headers
        .iter()
        .filter_map(|(name, value)| (name == header::HOST).then_some(value));
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(ProxyError::InvalidHost);
    }
    let name = match (uri.authority(), host) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(ProxyError::InvalidHost),
    };
    if is_authority(name) {
        Ok(name)
    } else {
        Err(ProxyError::InvalidHost)
    }
}

/// `host[:port]` without user information: a name, an IPv4 address or an IPv6
/// address in brackets (RFC 3986, 3.2.2), with a decimal port.
fn is_authority(bytes: &[u8]) -> bool {
    let (host, port) = match bytes.first() {
        None => return false,
        Some(b'[') => {
            let Some(end) = bytes.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let literal = std::str::from_utf8(&bytes[1..end]);
            if !literal.is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
                return false;
            }
            (&bytes[..=end], &bytes[end + 1..])
        }
        Some(_) => {
            let in_name = |byte: &u8| NAME_BYTES[usize::from(*byte)];
            let end = bytes.iter().position(|byte| !in_name(byte));
            bytes.split_at(end.unwrap_or(bytes.len()))
        }
    };
    !host.is_empty() && is_port(port)
}

/// What may stand in a name, by byte: a host is judged with every request.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};

/// Unreserved characters and sub-delimiters of a registered name. Escapes would be
/// one name in two spellings, and no server is known by one.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'')
        || matches!(byte, b'(' | b')' | b'*' | b'+' | b';' | b'=')
}

/// Nothing, or a colon and at most five digits.
fn is_port(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn decide(target: &str, hosts: &[&'static str]) -> Result<String, ProxyError> {
        let uri: Uri = target.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        authority(&uri, &headers).map(|name| String::from_utf8(name.to_vec()).unwrap())
    }

    #[test]
    fn the_target_wins_over_the_host_field() {
        assert_eq!(decide("http://right/x", &["wrong"]).unwrap(), "right");
        assert_eq!(decide("/x", &["a.example:8080"]).unwrap(), "a.example:8080");
    }

    #[test]
    fn two_hosts_no_host_and_user_information_are_refused() {
        for hosts in [
            &["a", "a"][..],
            &[],
            &["a@b"],
            &[""],
            &["a b"],
            &["a/b"],
            &["a,b"],
        ] {
            assert_eq!(
                decide("/", hosts),
                Err(ProxyError::InvalidHost),
                "{hosts:?}"
            );
        }
        assert_eq!(
            decide("http://user@host/", &["host"]),
            Err(ProxyError::InvalidHost)
        );
    }

    #[test]
    fn ports_are_short_decimals_and_addresses_may_stand_in_brackets() {
        for host in ["[::1]:80", "[fe80::1]", "a:", "10.0.0.1:8000"] {
            assert!(is_authority(host.as_bytes()), "{host}");
        }
        for host in [
            "[",
            "[]",
            "[::1",
            "[:::::]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[::1]x",
            "a:80x",
            "a:123456",
            "a:80:80",
            ":80",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host}");
        }
    }
}
