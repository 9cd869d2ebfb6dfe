//! Interim answers (1xx) as a client receives them: written anew, like requests.

use bytes::{BufMut as _, Bytes};
use http::{HeaderMap, HeaderName};

use super::head::write_field;
use super::names::is_nominated;
use super::response::Answer;
use super::vocabulary::Meaning;

/// The head as it is written to a client of HTTP/1.1. It has no body, so no field
/// that speaks of one goes along, and none of the endpoint's connection.
pub(crate) fn encode(answer: &Answer, fields: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(256);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(answer.status.as_str().as_bytes());
    out.put_u8(b' ');
    let reason = answer.status.canonical_reason().unwrap_or_default();
    out.put_slice(reason.as_bytes());
    out.put_slice(b"\r\n");
    let is_plain = |name: &HeaderName| {
        let nominated = answer.connection.nominates && is_nominated(fields, name);
        Meaning::of(name) == Meaning::Plain && !nominated
    };
    for (name, value) in fields.iter().filter(|(name, _)| is_plain(name)) {
        write_field(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::super::response::parse;
    use super::super::vocabulary::Vocabulary;
    use super::*;

    fn relay(text: &str) -> Option<String> {
        let (bytes, mut fields) = (Bytes::copy_from_slice(text.as_bytes()), HeaderMap::new());
        let mut vocabulary = Vocabulary::new();
        let answer = parse(&bytes, &Method::GET, &mut fields, &mut vocabulary).ok()??;
        let out = encode(&answer, &fields);
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn fields_of_the_hop_and_of_a_body_stay_behind() {
        let text = "HTTP/1.1 103 Whatever\r\nLink: </a>; rel=preload\r\nlink: </b>\r\n\
                    Connection: close, x-a\r\nx-a: 1\r\nKeep-Alive: 5\r\n\
                    Transfer-Encoding: chunked\r\nendpoint-load-metrics: TEXT cpu=1\r\n\r\n";
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\nlink: </b>\r\n\r\n";
        assert_eq!(relay(text).unwrap(), expected);
        let length = "HTTP/1.1 102 x\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(relay(length).unwrap(), "HTTP/1.1 102 Processing\r\n\r\n");
        assert_eq!(
            relay("HTTP/1.1 199\r\n\r\n").unwrap(),
            "HTTP/1.1 199 \r\n\r\n"
        );
    }

    proptest! {
        /// Whatever an endpoint says in passing, the client can read it in one way, as
        /// a head without a body.
        #[test]
        fn every_head_is_one_head(
            fields in prop::collection::vec(
                ("(connection|link|x-a|set-cookie|transfer-encoding|te|keep-alive)", "[ -~]{0,20}"),
                0..8,
            ),
            code in 102_u16..200,
        ) {
            let lines: String =
                fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            if let Some(out) = relay(&format!("HTTP/1.1 {code} x\r\n{lines}\r\n")) {
                prop_assert_eq!(out.matches("\r\n\r\n").count(), 1);
                prop_assert!(out.ends_with("\r\n\r\n"));
                prop_assert!(!out.contains("connection:") && !out.contains("transfer-encoding:"));
                let again = relay(&out);
                prop_assert_eq!(again.as_deref(), Some(out.as_str()));
            }
        }
    }
}
