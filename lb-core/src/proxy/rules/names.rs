//! Field names: which end at this hop, and which survive being nominated.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// At most so many names in all `Connection` fields of a message.
const MAX_NOMINATED: u8 = 32;

/// `true` for fields that describe one connection only (RFC 9110, 7.6.1, and
/// the older `Keep-Alive`, `Proxy-Connection` and `HTTP2-Settings`).
pub(crate) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// `true` for fields that `Connection: name` must not remove: they carry
/// identity, routing, tracing or the meaning of the body, and whoever can make
/// the proxy drop them can pretend to be someone else.
pub(crate) fn is_protected(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "authorization"
            | "cookie"
            | "set-cookie"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "content-range"
            | "cache-control"
            | "date"
            | "expect"
            | "forwarded"
            | "location"
            | "max-forwards"
            | "origin"
            | "strict-transport-security"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "b3"
            | "vary"
            | "via"
            | "www-authenticate"
            | "x-real-ip"
            | "x-request-id"
    ) || [
        "x-forwarded-",
        "x-b3-",
        "sec-",
        "access-control-",
        "content-security-policy",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// `true` for trailer fields that would change how a message is framed, routed
/// or authorised after the decision was taken (RFC 9110, 6.5.1).
pub(crate) fn is_forbidden_trailer(name: &str) -> bool {
    is_hop_by_hop(name) || (is_protected(name) && name != "date")
}

/// Too many names, or a name that is no token, in `Connection`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadConnection;

/// What a message's `Connection` fields say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    /// The sender closes after this message.
    pub(crate) close: bool,
    /// The sender keeps the connection open (only of interest in HTTP/1.0).
    pub(crate) keep_alive: bool,
    /// The sender wants to speak another protocol.
    pub(crate) upgrade: bool,
    /// Other fields are nominated: each field has to be looked up.
    pub(crate) nominates: bool,
    count: u8,
}

impl ConnectionOptions {
    /// Takes one more `Connection` value in.
    pub(crate) fn read(&mut self, value: &HeaderValue) -> Result<(), BadConnection> {
        // What nearly everybody says, without a look at its parts.
        if value.as_bytes() == b"keep-alive" && self.count < MAX_NOMINATED {
            self.count += 1;
            self.keep_alive = true;
            return Ok(());
        }
        for token in tokens(value.as_bytes()) {
            self.count += 1;
            if self.count > MAX_NOMINATED {
                return Err(BadConnection);
            }
            if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.nominates = true;
            }
        }
        Ok(())
    }
}

/// `true` when a `Connection` field nominates `name` and nothing protects it.
pub(crate) fn is_nominated(headers: &HeaderMap, name: &HeaderName) -> bool {
    !is_protected(name.as_str())
        && headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| tokens(value.as_bytes()))
            .any(|token| token.eq_ignore_ascii_case(name.as_str().as_bytes()))
}

/// The non-empty members of a comma separated list.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(value: &'static str) -> Result<ConnectionOptions, BadConnection> {
        let mut options = ConnectionOptions::default();
        options
            .read(&HeaderValue::from_static(value))
            .map(|()| options)
    }

    #[test]
    fn connection_names_what_is_removed_except_protected_fields() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "connection",
            HeaderValue::from_static("close, X-Private, Cookie"),
        );
        assert!(is_nominated(
            &headers,
            &HeaderName::from_static("x-private")
        ));
        assert!(!is_nominated(&headers, &HeaderName::from_static("cookie")));
        assert!(!is_nominated(&headers, &HeaderName::from_static("x-other")));
    }

    #[test]
    fn only_names_beyond_the_well_known_ones_cost_a_look_up() {
        assert!(!options("keep-alive, Upgrade").unwrap().nominates);
        assert!(options("close, x-a").unwrap().nominates);
    }

    #[test]
    fn a_connection_field_cannot_name_without_end() {
        let many = Box::leak("a,".repeat(33).into_boxed_str());
        assert_eq!(options(many), Err(BadConnection));
    }

    #[test]
    fn framing_and_credentials_are_no_trailers() {
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
        ] {
            assert!(is_forbidden_trailer(name), "{name}");
        }
        assert!(!is_forbidden_trailer("grpc-status"));
    }
}
