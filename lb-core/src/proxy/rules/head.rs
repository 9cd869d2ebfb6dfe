//! The request head as an endpoint receives it: written from typed parts.
//!
//! No framing field of the client is ever copied; the length or the chunked
//! coding is written from the plan, exactly once.

use std::io::Write as _;
use std::net::IpAddr;

use bytes::{BufMut as _, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request;

use super::names::{is_forbidden_trailer, is_hop_by_hop, is_nominated};
use super::request::{Framing, Plan};
use crate::client::FORWARDED_FOR;

/// `true` for fields that speak about a client on someone's word.
fn is_forwarding(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded-")
}

/// What is added about the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// The peer of this connection, if the server told.
    pub(crate) peer: Option<IpAddr>,
    /// The peer is a proxy whose fields are kept.
    pub(crate) trusted: bool,
    /// The client's connection is encrypted.
    pub(crate) tls: bool,
}

/// Appends the head of `request` to `out`, in HTTP/1.1.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    request: &request::Parts,
    plan: &Plan,
    authority: &[u8],
    client: Client,
) {
    let method = if plan.tunnel {
        "GET"
    } else {
        request.method.as_str()
    };
    let target = request
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    out.put_slice(method.as_bytes());
    // The target of an absolute form without a path begins with its query.
    out.put_slice(if target.starts_with('?') { b" /" } else { b" " });
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\nhost: ");
    out.put_slice(authority);
    out.put_slice(b"\r\n");
    write_client_fields(out, &request.headers, plan, client);
    write_forwarding(out, &request.headers, authority, client);
    if plan.te_trailers {
        out.put_slice(b"te: trailers\r\nconnection: te");
        out.put_slice(if plan.tunnel {
            b", upgrade\r\n"
        } else {
            b"\r\n"
        });
    } else if plan.tunnel {
        out.put_slice(b"connection: upgrade\r\n");
    }
    if plan.tunnel {
        out.put_slice(b"upgrade: websocket\r\n");
    }
    match plan.framing {
        Framing::Length(length) => {
            out.put_slice(b"content-length: ");
            write_decimal(out, length);
            out.put_slice(b"\r\n");
        }
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Empty | Framing::Close => {}
    }
    out.put_slice(b"\r\n");
}

/// The client's own fields, without those of its hop. Cookies that HTTP/2 sent
/// in pieces are joined again (RFC 9113, 8.2.3).
fn write_client_fields(out: &mut Vec<u8>, headers: &HeaderMap, plan: &Plan, client: Client) {
    let mut cookies = false;
    for (name, value) in headers {
        let text = name.as_str();
        cookies |= name == header::COOKIE;
        let dropped = is_hop_by_hop(text)
            || name == header::HOST
            || name == header::CONTENT_LENGTH
            || name == header::COOKIE
            || text.as_bytes().contains(&b'_')
            || (is_forwarding(text) && (!client.trusted || name == FORWARDED_FOR))
            || (plan.connection.nominates && is_nominated(headers, name));
        if !dropped {
            write_field(out, text, value.as_bytes());
        }
    }
    if cookies {
        write_joined(out, headers, &header::COOKIE, b"; ", None);
    }
}

fn write_forwarding(out: &mut Vec<u8>, headers: &HeaderMap, authority: &[u8], client: Client) {
    let Some(peer) = client.peer else { return };
    let mut text = [0; 64];
    let peer = format_address(&mut text, peer);
    if !client.trusted {
        // The same as below, in few pieces: it happens with every request.
        out.put_slice(b"x-forwarded-for: ");
        out.put_slice(peer);
        let fields: &[u8] = if client.tls {
            b"\r\nx-forwarded-proto: https\r\nx-forwarded-host: "
        } else {
            b"\r\nx-forwarded-proto: http\r\nx-forwarded-host: "
        };
        out.put_slice(fields);
        out.put_slice(authority);
        out.put_slice(b"\r\n");
        return;
    }
    write_joined(out, headers, &FORWARDED_FOR, b", ", Some(peer));
    if !headers.contains_key("x-forwarded-proto") {
        let scheme: &[u8] = if client.tls { b"https" } else { b"http" };
        write_field(out, "x-forwarded-proto", scheme);
    }
    if !headers.contains_key("x-forwarded-host") {
        write_field(out, "x-forwarded-host", authority);
    }
}

/// All values of `name` and `last` in one field; nothing when there is none.
fn write_joined(
    out: &mut Vec<u8>,
    headers: &HeaderMap,
    name: &HeaderName,
    separator: &[u8],
    last: Option<&[u8]>,
) {
    let values = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .chain(last);
    let mut empty = true;
    for value in values {
        if empty {
            out.put_slice(name.as_str().as_bytes());
        }
        out.put_slice(if empty { b": " } else { separator });
        out.put_slice(value);
        empty = false;
    }
    if !empty {
        out.put_slice(b"\r\n");
    }
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The size line of a chunk, with the end of the one before it.
pub(crate) fn write_chunk_size(out: &mut Vec<u8>, size: usize, first: bool) {
    if !first {
        out.put_slice(b"\r\n");
    }
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.put_u8(b"0123456789abcdef"[(size >> (place * 4)) & 0xf]);
    }
    out.put_slice(b"\r\n");
}

/// The end of a chunked body, with the trailers that may be forwarded.
pub(crate) fn write_last_chunk(out: &mut Vec<u8>, first: bool, trailers: Option<&HeaderMap>) {
    out.put_slice(if first { b"0\r\n" } else { b"\r\n0\r\n" });
    for (name, value) in trailers.into_iter().flatten() {
        if !is_forbidden_trailer(name.as_str()) {
            write_field(out, name.as_str(), value.as_bytes());
        }
    }
    out.put_slice(b"\r\n");
}

fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

/// Every octet in decimal with a dot behind it, and the length of both.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut octet = 0;
    while octet < table.len() {
        let [hundreds, tens, units] = [octet / 100, octet / 10 % 10, octet % 10];
        let [hundreds, tens, units] =
            [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + units as u8];
        table[octet] = match octet {
            0..10 => ([units, b'.', 0, 0], 2),
            10..100 => ([tens, units, b'.', 0], 3),
            _ => ([hundreds, tens, units, b'.'], 4),
        };
        octet += 1;
    }
    table
};

/// Writes an address as text. The common form is written by hand: it happens
/// with every request, and formatting costs ten times as much.
fn format_address(buffer: &mut [u8; 64], address: IpAddr) -> &[u8] {
    let used = match address.to_canonical() {
        IpAddr::V4(address) => {
            let mut used = 0;
            for octet in address.octets() {
                let (text, length) = OCTETS[usize::from(octet)];
                buffer[used..used + text.len()].copy_from_slice(&text);
                used += usize::from(length);
            }
            used - 1
        }
        IpAddr::V6(address) => {
            let mut rest = &mut buffer[..];
            // The longest address has 45 characters.
            let _ = write!(rest, "{address}");
            64 - rest.len()
        }
    };
    &buffer[..used]
}

/// Bytes that a handshake key needs to look like when HTTP/2 sent none
/// (RFC 8441, 5): any 16 bytes, in base64.
pub(crate) fn handshake_fields(random: u128) -> [(HeaderName, HeaderValue); 2] {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.encode(random.to_be_bytes());
    let key = HeaderValue::from_maybe_shared(Bytes::from(key));
    let key = key.unwrap_or_else(|_| HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="));
    [
        (header::SEC_WEBSOCKET_KEY, key),
        (
            header::SEC_WEBSOCKET_VERSION,
            HeaderValue::from_static("13"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::super::request::{BodyHint, plan};
    use super::*;
    use crate::proxy::Limits;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn forward(fields: &[(&str, &str)], body: Option<u64>, trusted: bool) -> String {
        let mut builder = Request::post("/a?b=c").header("host", "h");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let head = builder.body(()).unwrap().into_parts().0;
        let hint = BodyHint {
            ended: body == Some(0),
            exact: body,
        };
        let plan = plan(&head, hint, false, &Limits::default()).unwrap();
        let mut out = Vec::new();
        write_head(
            &mut out,
            &head,
            &plan,
            b"h",
            Client {
                peer: Some(PEER),
                trusted,
                tls: false,
            },
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_of_the_hop_stay_and_the_rest_goes() {
        let sent = [
            ("connection", "keep-alive, x-private, cookie"),
            ("keep-alive", "5"),
            ("proxy-authorization", "secret"),
            ("http2-settings", "AAMAAABk"),
            ("te", "gzip"),
            ("x-private", "1"),
            ("x_under", "1"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("accept", "*/*"),
        ];
        assert_eq!(
            forward(&sent, Some(0), false),
            "POST /a?b=c HTTP/1.1\r\nhost: h\r\naccept: */*\r\ncookie: a=1; b=2\r\n\
             x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: h\r\n\r\n"
        );
    }

    #[test]
    fn only_a_trusted_peer_may_speak_for_others() {
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=1"),
        ];
        let stranger = forward(&sent, Some(0), false);
        assert!(
            stranger.contains("x-forwarded-for: 192.0.2.1\r\n"),
            "{stranger}"
        );
        assert!(
            !stranger.contains("for=1") && !stranger.contains("https"),
            "{stranger}"
        );
        let proxy = forward(&sent, Some(0), true);
        assert!(
            proxy.contains("x-forwarded-for: 1.1.1.1, 192.0.2.1\r\n"),
            "{proxy}"
        );
        assert!(proxy.contains("x-forwarded-proto: https\r\n"), "{proxy}");
        assert!(proxy.contains("forwarded: for=1\r\n"), "{proxy}");
    }

    #[test]
    fn the_framing_is_written_from_the_plan() {
        assert!(forward(&[], Some(12), false).contains("content-length: 12\r\n"));
        assert!(forward(&[], None, false).contains("transfer-encoding: chunked\r\n"));
        assert!(forward(&[("te", "trailers")], None, false).contains("te: trailers\r\n"));
    }

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        let mut out = Vec::new();
        write_chunk_size(&mut out, 0x1f0, true);
        write_chunk_size(&mut out, 1, false);
        write_last_chunk(&mut out, false, None);
        assert_eq!(out, b"1f0\r\n\r\n1\r\n\r\n0\r\n\r\n");
    }

    proptest! {
        #[test]
        fn addresses_are_written_as_everybody_writes_them(v4: [u8; 4], v6: [u16; 8]) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                let mut buffer = [0; 64];
                let text = std::str::from_utf8(format_address(&mut buffer, address)).unwrap();
                prop_assert_eq!(text, address.to_canonical().to_string());
            }
        }

        /// Whatever a client sends: one host, one way of framing, no field of the
        /// hop, and no byte that could start another line.
        #[test]
        fn no_head_is_ambiguous(
            fields in prop::collection::vec(
                ("(connection|te|x-a|x_b|cookie|forwarded|keep-alive|trailer|x-forwarded-for)",
                 "[ -~]{0,20}"), 0..8),
            length in prop::option::of(0_u64..1 << 30),
            trusted: bool,
        ) {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let text = forward(&fields, length, trusted);
            let head = text.strip_suffix("\r\n\r\n").unwrap();
            prop_assert!(!head.contains("\r\n\r\n"));
            let names: Vec<_> = head.split("\r\n").skip(1).map(|l| l.split(':').next().unwrap()).collect();
            let count = |name: &str| names.iter().filter(|n| **n == name).count();
            prop_assert_eq!(count("host"), 1);
            prop_assert!(count("content-length") + count("transfer-encoding") <= 1);
            for name in ["keep-alive", "trailer", "upgrade", "proxy-authorization"] {
                prop_assert_eq!(count(name), 0);
            }
            prop_assert!(head.bytes().all(|byte| byte == b'\r' || byte == b'\n' || byte >= b' '));
        }
    }
}
