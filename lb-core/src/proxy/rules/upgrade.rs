//! When bytes may flow raw: only for WebSocket, only after the endpoint's 101.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::names::{ConnectionOptions, tokens};

/// `true` when the one `Upgrade` field offers exactly `websocket`.
///
/// `h2c` and every other protocol are not offered to the endpoint: the request
/// goes on as a plain one, as RFC 9110, 7.8 allows.
pub(crate) fn offers_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let only = values.next().filter(|_| values.next().is_none());
    only.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What the client asked for in its handshake, kept to judge the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// Every sub-protocol on offer, as sent.
    pub(crate) protocols: Vec<HeaderValue>,
}

impl Handshake {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        Self {
            protocols: offers.iter().cloned().collect(),
        }
    }

    /// `true` when `status` and `headers` complete this handshake: 101, an
    /// upgrade to `websocket`, an accept key, and a sub-protocol that was offered.
    ///
    /// The accept key itself is checked by the client, who made the challenge;
    /// it reaches the client untouched.
    pub(crate) fn is_completed_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        status == StatusCode::SWITCHING_PROTOCOLS
            && offers_websocket(headers)
            && says_upgrade(headers)
            && is_single(headers, &header::SEC_WEBSOCKET_ACCEPT)
            && self.offered(headers)
    }

    fn offered(&self, headers: &HeaderMap) -> bool {
        let Some(chosen) = headers.get(header::SEC_WEBSOCKET_PROTOCOL) else {
            return true;
        };
        is_single(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            && self
                .protocols
                .iter()
                .flat_map(|offer| tokens(offer.as_bytes()))
                .any(|offer| offer == chosen.as_bytes())
    }
}

fn says_upgrade(headers: &HeaderMap) -> bool {
    let mut options = ConnectionOptions::default();
    headers
        .get_all(header::CONNECTION)
        .iter()
        .all(|value| options.read(value).is_ok())
        && options.upgrade
}

fn is_single(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        fields.iter().map(pair).collect()
    }

    const ANSWER: [(&str, &str); 3] = [
        ("upgrade", "WebSocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    #[test]
    fn only_a_whole_101_opens_the_tunnel() {
        let handshake = Handshake {
            protocols: Vec::new(),
        };
        let good = headers(&ANSWER);
        assert!(handshake.is_completed_by(StatusCode::SWITCHING_PROTOCOLS, &good));
        assert!(!handshake.is_completed_by(StatusCode::OK, &good));
        for missing in 0..ANSWER.len() {
            let mut fields = ANSWER.to_vec();
            fields.remove(missing);
            let answer = headers(&fields);
            assert!(!handshake.is_completed_by(StatusCode::SWITCHING_PROTOCOLS, &answer));
        }
    }

    #[test]
    fn a_sub_protocol_that_was_not_offered_is_refused() {
        let handshake = Handshake {
            protocols: vec![HeaderValue::from_static("v1, v2")],
        };
        let chosen = |name| {
            let mut fields = ANSWER.to_vec();
            fields.push(("sec-websocket-protocol", name));
            headers(&fields)
        };
        assert!(handshake.is_completed_by(StatusCode::SWITCHING_PROTOCOLS, &chosen("v2")));
        assert!(!handshake.is_completed_by(StatusCode::SWITCHING_PROTOCOLS, &chosen("v3")));
    }

    #[test]
    fn h2c_is_no_upgrade_we_know() {
        assert!(!offers_websocket(&headers(&[("upgrade", "h2c")])));
        assert!(!offers_websocket(&headers(&[(
            "upgrade",
            "websocket, h2c"
        )])));
        assert!(offers_websocket(&headers(&[("upgrade", "WEBSOCKET")])));
    }
}
