//! What an endpoint says before it answers: interim answers (1xx).

use std::sync::Arc;
use std::sync::mpsc::channel;

use lb_core::Pool;
use lb_core::proxy::{GatewayServer, ServeOptions, serve_gateway};
use proptest::prelude::*;

use crate::support::*;

pub(crate) fn gateway(pool: &Pool) -> GatewayServer {
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    serve_gateway(&pool.reverse_proxy(), &options).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
pub(crate) const LAST: &str = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";

/// What comes before the final head, and the status of that.
pub(crate) fn split(text: &str) -> (&str, &str) {
    let mut start = 0;
    while text[start..].starts_with("HTTP/1.1 1") && !text[start..].starts_with("HTTP/1.1 101") {
        start += text[start..].find("\r\n\r\n").expect("a whole head") + 4;
    }
    let status = text.get(start + 9..start + 12).unwrap_or("none");
    (&text[..start], status)
}

/// All that comes over one connection for one request, its last.
pub(crate) async fn everything(server: &GatewayServer, request: &str) -> String {
    let mut client = Client::connect(server.local_addr()).await;
    client.send(request).await;
    while client.more().await.is_some() {}
    String::from_utf8(client.drain()).unwrap()
}

/// What an endpoint says, what its client hears of it, and the final status.
struct Case {
    name: &'static str,
    said: String,
    heard: String,
    status: &'static str,
}

fn case(name: &'static str, said: impl Into<String>, heard: impl Into<String>) -> Case {
    Case {
        name,
        said: said.into(),
        heard: heard.into(),
        status: "200",
    }
}

fn invalid(name: &'static str, said: impl Into<String>) -> Case {
    Case {
        status: "502",
        ..case(name, said, "")
    }
}

/// Whatever is said here, a plain 200 follows.
fn said_in_passing() -> Vec<Case> {
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    let hop = "HTTP/1.1 103 Early Hints\r\nConnection: close, x-private\r\nx-private: 1\r\n\
               keep-alive: timeout=5\r\ncontent-length: 5\r\nlink: </a>\r\n\r\n";
    let no_hop = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let large = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n",
        "a".repeat(9 << 10)
    );
    vec![
        case("nothing", "", ""),
        case("hints", HINTS, HINTS),
        case("two hints", HINTS.repeat(2), HINTS.repeat(2)),
        case("processing", processing, processing),
        case("no reason", "HTTP/1.1 199\r\n\r\n", "HTTP/1.1 199 \r\n\r\n"),
        case("an older version", HINTS.replace("/1.1", "/1.0"), HINTS),
        case("fields of the hop and of a body", hop, no_hop),
        case(
            "a continuation nobody asked for",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "",
        ),
        case(
            "as many as are handed on",
            HINTS.repeat(16),
            HINTS.repeat(16),
        ),
        case("one more", HINTS.repeat(17), HINTS.repeat(16)),
        case("as large as is handed on", &large, &large),
        case("two of them", large.repeat(2), &large),
    ]
}

fn said_in_error() -> Vec<Case> {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let lengths = "HTTP/1.1 103 x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n";
    let flood = Case {
        heard: HINTS.repeat(16),
        ..invalid("a flood", HINTS.repeat(101))
    };
    let end = Case {
        heard: HINTS.into(),
        ..invalid("then the end of the connection", format!("{HINTS}\0"))
    };
    vec![
        invalid("a control byte", HINTS.replace("rel", "r\x01l")),
        invalid("a folded field", HINTS.replace(" rel", "\r\n rel")),
        invalid("two lengths", lengths),
        invalid("protocols switched unasked", switched),
        flood,
        end,
    ]
}

#[tokio::test]
async fn clients_hear_what_endpoints_say_in_passing_and_nothing_else() {
    for case in said_in_passing().into_iter().chain(said_in_error()) {
        let said = case.said;
        let origin = Origin::start(move |_| match said.strip_suffix('\0') {
            Some(said) => Reply::Close(said.into()),
            None => Reply::Keep([said.as_bytes(), &ok("abc")].concat()),
        });
        let pool = pool(&[origin.url()]);
        let server = gateway(&pool);
        let text = everything(&server, LAST).await;
        let expected = (case.heard.as_str(), case.status);
        assert_eq!(split(&text), expected, "{}: {text}", case.name);
        assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
    }
}

#[tokio::test]
async fn a_client_of_the_older_version_hears_nothing() {
    let origin = Origin::start(|_| Reply::Keep([HINTS.as_bytes(), &ok("abc")].concat()));
    let server = gateway(&pool(&[origin.url()]));
    let text = everything(&server, "GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
    assert!(
        text.starts_with("HTTP/1.0 200") && text.ends_with("abc"),
        "{text}"
    );
}

#[tokio::test]
async fn hints_arrive_while_the_endpoint_still_thinks() {
    let (tell, told) = channel::<()>();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(HINTS.as_bytes()).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
        stream.write_all(&ok("abc")).unwrap();
    });
    let server = gateway(&pool(&[url]));
    let mut client = Client::connect(server.local_addr()).await;
    let hints = client.ask(GET).await;
    assert_eq!(
        (hints.status, hints.field("link")),
        (103, Some("</a>; rel=preload"))
    );
    tell.send(()).unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "abc"));
}

#[tokio::test]
async fn hints_arrive_while_the_client_still_sends() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        while !seen.ends_with(b"first") {
            let count = stream.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
        }
        stream.write_all(HINTS.as_bytes()).unwrap();
        while !seen.ends_with(b"last") {
            let count = stream.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
        }
        stream.write_all(&ok("abc")).unwrap();
    });
    let server = gateway(&pool(&[url]));
    let mut client = Client::connect(server.local_addr()).await;
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nfirst";
    assert_eq!(client.ask(post).await.status, 103);
    assert_eq!(client.ask("last").await.status, 200);
}

#[tokio::test]
async fn a_client_that_waits_to_send_hears_one_continuation() {
    let go = "HTTP/1.1 100 Continue\r\n\r\n";
    for said in [
        format!("{HINTS}{go}"),
        format!("{go}{HINTS}"),
        format!("{go}{go}{HINTS}"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(said.as_bytes()).unwrap();
            let mut body = [0; 3];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(&ok("abc")).unwrap();
        });
        let server = gateway(&pool(&[url]));
        let mut client = Client::connect(server.local_addr()).await;
        let put = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        client.send(put).await;
        let mut statuses = vec![client.answer().await.unwrap().status];
        statuses.push(client.answer().await.unwrap().status);
        statuses.push(client.ask("abc").await.status);
        statuses[..2].sort_unstable();
        assert_eq!(statuses, [100, 103, 200]);
    }
}

#[tokio::test]
async fn hints_wait_for_the_end_of_the_answer_before() {
    const LENGTH: usize = 4 << 20;
    let large = Arc::new("x".repeat(LENGTH));
    let origin = Origin::start(move |request| {
        let first = request.starts_with(b"GET /large");
        Reply::Keep(if first {
            ok(&large)
        } else {
            [HINTS.as_bytes(), &ok("abc")].concat()
        })
    });
    let server = gateway(&pool(&[origin.url()]));
    let mut client = Client::connect(server.local_addr()).await;
    let large = "GET /large HTTP/1.1\r\nHost: h\r\n\r\n";
    client.send([large, GET, large, GET].concat()).await;
    for _ in 0..2 {
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, LENGTH));
        assert!(answer.body.iter().all(|byte| *byte == b'x'));
        assert_eq!(client.answer().await.unwrap().status, 103);
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "abc"));
    }
}

#[tokio::test]
async fn behind_another_server_hints_are_dropped() {
    let origin = Origin::start(|_| Reply::Keep([HINTS.as_bytes(), &ok("abc")].concat()));
    let address = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let answer = Client::connect(address).await.ask(GET).await;
    assert_eq!((answer.status, answer.text()), (200, "abc"));
}

/// Writes these pieces, each in a packet of its own.
fn in_pieces(pieces: Vec<Vec<u8>>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        for piece in pieces {
            stream.write_all(&piece).unwrap();
            std::thread::yield_now();
        }
        stream.read_to_end(&mut Vec::new()).ok();
    });
    url
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 50, ..ProptestConfig::default() })]
    /// However the endpoint's bytes are cut, the client reads the same.
    #[test]
    fn cuts_make_no_difference(
        heads in 0_usize..5,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = [HINTS.repeat(heads).as_bytes(), &ok("abc")].concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut start = 0;
        let pieces = cuts.into_iter().map(|end| bytes[std::mem::replace(&mut start, end)..end].to_vec());
        let url = in_pieces(pieces.collect());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(async { everything(&gateway(&pool(&[url])), LAST).await });
        let heard = HINTS.repeat(heads);
        prop_assert_eq!(split(&text), (heard.as_str(), "200"));
        prop_assert!(text.ends_with("\r\n\r\nabc"));
    }
}
