//! The hostile corpus: raw bytes, and what the proxy must do with them.
//!
//! The cases and the two columns of other proxies come from a measurement with
//! nginx 1.22.1 and HAProxy 2.6.12 in their default configuration; where RFC 9112
//! allows, ours is the stricter answer.

/// What must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// One of these statuses, said by the gateway: not a byte reaches the origin.
    Refused(&'static [u16]),
    /// 200, and so many requests reach the origin.
    Forwarded(usize),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

const BAD: Expect = Expect::Refused(&[400]);
const CODING: Expect = Expect::Refused(&[400, 501]);
const ONE: Expect = Expect::Forwarded(1);

/// A request with these fields and this body.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /p HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}").into_bytes()
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET /g HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case {
        name,
        bytes: bytes.into(),
        expect,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    [
        lengths(),
        codings(),
        chunks(),
        fields(),
        upgrades(),
        expectations(),
        hosts(),
        targets(),
        hops(),
        sizes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lengths() -> Vec<Case> {
    let length = |value: &str| post(&format!("Content-Length:{value}\r\n"), "abc");
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let reversed = "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n";
    let body = "3\r\nabc\r\n0\r\n\r\n";
    vec![
        // hyper drops the length before the proxy sees it: the coding is forwarded alone.
        case("length then chunked", post(both, body), ONE),
        case("chunked then length", post(reversed, body), ONE),
        case(
            "two lengths that differ",
            post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
            BAD,
        ),
        case("a list of lengths", length(" 3, 3"), BAD),
        case("length with plus", length(" +3"), BAD),
        case("negative length", length(" -3"), BAD),
        case("hexadecimal length", length(" 0x3"), BAD),
        case("length with a space", length(" 1 3"), BAD),
        case("empty length", length(""), BAD),
        case(
            "length above 2^64",
            length(" 18446744073709551619"),
            Expect::Refused(&[400, 413]),
        ),
    ]
}

fn codings() -> Vec<Case> {
    let coding = |line: &str| post(&format!("{line}\r\n"), "3\r\nabc\r\n0\r\n\r\n");
    let old = "POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    vec![
        case(
            "space before the colon",
            coding("Transfer-Encoding : chunked"),
            BAD,
        ),
        case(
            "space within the name",
            coding("Transfer Encoding: chunked"),
            BAD,
        ),
        case("xchunked", coding("Transfer-Encoding: xchunked"), CODING),
        case(
            "quoted chunked",
            coding("Transfer-Encoding: \"chunked\""),
            CODING,
        ),
        case(
            "vertical tab",
            coding("Transfer-Encoding: \x0bchunked"),
            CODING,
        ),
        case(
            "identity, chunked",
            coding("Transfer-Encoding: identity, chunked"),
            CODING,
        ),
        case(
            "gzip, chunked",
            coding("Transfer-Encoding: gzip, chunked"),
            CODING,
        ),
        case(
            "chunked, identity",
            coding("Transfer-Encoding: chunked, identity"),
            BAD,
        ),
        case(
            "chunked, chunked",
            coding("Transfer-Encoding: chunked, chunked"),
            BAD,
        ),
        case(
            "two codings",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            BAD,
        ),
        case(
            "identity then chunked",
            coding("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"),
            CODING,
        ),
        case("coding in HTTP/1.0", old, BAD),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        case(
            "chunk size with plus",
            chunked("+3\r\nabc\r\n0\r\n\r\n"),
            BAD,
        ),
        case("chunk size 0x3", chunked("0x3\r\nabc\r\n0\r\n\r\n"), BAD),
        // hyper reads the leading zeros; the proxy writes the size anew.
        case(
            "17 digits of size",
            chunked("00000000000000003\r\nabc\r\n0\r\n\r\n"),
            ONE,
        ),
        case(
            "size overflow",
            chunked("ffffffffffffffff1\r\nabc\r\n0\r\n\r\n"),
            BAD,
        ),
        case(
            "junk after a chunk",
            chunked("3\r\nabcXX\r\n0\r\n\r\n"),
            BAD,
        ),
        case(
            "line feed in an extension",
            chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"),
            BAD,
        ),
        case(
            "a valid extension",
            chunked("3;a=b\r\nabc\r\n0\r\n\r\n"),
            ONE,
        ),
        case(
            "framing in trailers",
            chunked("3\r\nabc\r\n0\r\nContent-Length: 9\r\nHost: x\r\n\r\n"),
            ONE,
        ),
    ]
}

fn fields() -> Vec<Case> {
    let bare = |text: &str| format!("GET / HTTP/1.1\r\n{text}\r\n").into_bytes();
    vec![
        case(
            "folded coding",
            get("Transfer-Encoding:\r\n chunked\r\n"),
            BAD,
        ),
        case("folded field", get("X-A: 1\r\n folded\r\n"), BAD),
        case("bare CR in a value", get("X-A: a\rb\r\n"), BAD),
        case("NUL in a value", get("X-A: a\0b\r\n"), BAD),
        case("space before the first field", bare(" Host: h\r\n"), BAD),
        case(
            "Connection names a protected field",
            get("Connection: X-Forwarded-For, Cookie\r\nCookie: a=1\r\n"),
            ONE,
        ),
        case(
            "fields of the hop",
            get(
                "Keep-Alive: 1\r\nTE: gzip\r\nProxy-Connection: x\r\nProxy-Authorization: y\r\nTrailer: z\r\n",
            ),
            ONE,
        ),
        case(
            "h2c",
            get(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
            ),
            ONE,
        ),
        case("underscore", get("Transfer_Encoding: chunked\r\n"), ONE),
        case(
            "hostile forwarding fields",
            get("Forwarded: for=\"[\";;=\r\nX-Forwarded-For: ,,\"\r\nX-Forwarded-Host: ../\r\n"),
            ONE,
        ),
        case(
            "two requests at once",
            [get(""), post("Content-Length: 3\r\n", "abc")].concat(),
            Expect::Forwarded(2),
        ),
    ]
}

/// Whether key and version will do is for the endpoint to say: it is told, and nothing is
/// a tunnel before its 101.
fn upgrades() -> Vec<Case> {
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let another = &format!("{upgrade}Sec-WebSocket-Version: 8\r\n");
    vec![
        case("upgrade without a key", get(upgrade), ONE),
        case("upgrade of another version", get(another), ONE),
        case(
            "upgrade answered with 200, then a request",
            [get(upgrade), get("")].concat(),
            Expect::Forwarded(2),
        ),
    ]
}

fn expectations() -> Vec<Case> {
    let old = "POST /p HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    let unknown = post("Expect: junk\r\nContent-Length: 3\r\n", "abc");
    vec![
        case("unknown expectation", unknown, Expect::Refused(&[417])),
        case("an expectation in HTTP/1.0", old, ONE),
        case(
            "an expectation without a body",
            get("Expect: 100-continue\r\n"),
            ONE,
        ),
    ]
}

fn hosts() -> Vec<Case> {
    let bare = |text: &str| format!("GET / HTTP/1.1\r\n{text}\r\n").into_bytes();
    vec![
        case("no host", bare(""), BAD),
        case("two hosts", bare("Host: a\r\nHost: b\r\n"), BAD),
        case("host with user", bare("Host: user@h\r\n"), BAD),
        case("host with a path", bare("Host: h/x\r\n"), BAD),
        case("host with an escape", bare("Host: a%62\r\n"), BAD),
        case("host of too many colons", bare("Host: [:::::]\r\n"), BAD),
        case("host with a zone", bare("Host: [fe80::1%25eth0]\r\n"), BAD),
        case("host of an address", bare("Host: [::1]:80\r\n"), ONE),
        case("host of a lone per cent", bare("Host: %\r\n"), BAD),
    ]
}

fn targets() -> Vec<Case> {
    let line = |line: &str| format!("{line}\r\nHost: h\r\n\r\n").into_bytes();
    vec![
        case(
            "absolute form, other host",
            line("GET http://right/x HTTP/1.1"),
            ONE,
        ),
        case(
            "absolute form with user",
            line("GET http://u@right/x HTTP/1.1"),
            BAD,
        ),
        case(
            "HTTP/1.2",
            line("GET / HTTP/1.2"),
            Expect::Refused(&[400, 505]),
        ),
        case(
            "HTTP/2.0 on the wire",
            line("GET / HTTP/2.0"),
            Expect::Refused(&[400, 505]),
        ),
        case("double space", line("GET  / HTTP/1.1"), BAD),
        case(
            "control byte in the target",
            line("GET /a\x01b HTTP/1.1"),
            BAD,
        ),
        case(
            "CONNECT",
            line("CONNECT h:80 HTTP/1.1"),
            Expect::Refused(&[405]),
        ),
        case(
            "CONNECT, then what a tunnel would carry",
            [line("CONNECT h:80 HTTP/1.1"), get("")].concat(),
            Expect::Refused(&[405]),
        ),
        case("TRACE", line("TRACE / HTTP/1.1"), Expect::Refused(&[405])),
        case("OPTIONS *", line("OPTIONS * HTTP/1.1"), ONE),
        case("GET *", line("GET * HTTP/1.1"), BAD),
        case(
            "dot segments as sent",
            line("GET /public/../admin HTTP/1.1"),
            ONE,
        ),
        case("lower-case method", line("get / HTTP/1.1"), ONE),
    ]
}

/// Only `OPTIONS` is counted; the gateway itself answers one that may go no further.
fn hops() -> Vec<Case> {
    let options = |fields: &str| format!("OPTIONS /o HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let last = Expect::Refused(&[200]);
    let far = &"9".repeat(40);
    vec![
        case("no hop left", options("Max-Forwards: 0\r\n"), last),
        case(
            "no hop left, and no host",
            "OPTIONS * HTTP/1.1\r\nMax-Forwards: 0\r\n\r\n",
            BAD,
        ),
        case("one hop left", options("Max-Forwards: 1\r\n"), ONE),
        case(
            "more hops than anybody counts",
            options(&format!("Max-Forwards: {far}\r\n")),
            ONE,
        ),
        case("less than no hops", options("Max-Forwards: -1\r\n"), BAD),
        case("a list of hops", options("Max-Forwards: 1, 0\r\n"), BAD),
        case(
            "hops said twice",
            options("Max-Forwards: 1\r\nMax-Forwards: 0\r\n"),
            BAD,
        ),
        case("hops that nobody said", options("Max-Forwards:\r\n"), BAD),
        case("no hop left to a GET", get("Max-Forwards: 0\r\n"), ONE),
    ]
}

fn sizes() -> Vec<Case> {
    let large = Expect::Refused(&[431]);
    vec![
        case("200 fields", get(&"X-A: 1\r\n".repeat(200)), large),
        case(
            "64 KiB field",
            get(&format!("X-A: {}\r\n", "a".repeat(64 << 10))),
            large,
        ),
        case(
            "40 KiB of fields",
            get(&format!("X-A: {}\r\n", "a".repeat(4 << 10)).repeat(10)),
            large,
        ),
        case(
            "16 KiB target",
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(16 << 10)),
            Expect::Refused(&[414]),
        ),
    ]
}
