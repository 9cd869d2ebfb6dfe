//! How many allocations does one proxied request cost? Counted, not timed: the
//! server and the proxy run on this thread, clients and origins on others.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lb_core::{Affinity, Pool, ReverseProxy};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nserver: o\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";

/// Answers everything with the same bytes; requests are never cut in these tests.
fn origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = [0; 8 << 10];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Sends `request` so many times on one connection.
fn client(address: SocketAddr, request: String, times: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let mut buffer = [0; 8 << 10];
        for _ in 0..times {
            stream.write_all(request.as_bytes()).expect("written");
            let mut seen = Vec::new();
            while !seen.ends_with(b"hello") {
                let count = stream.read(&mut buffer).expect("an answer");
                assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
                seen.extend_from_slice(&buffer[..count]);
            }
        }
    })
}

/// Allocations on this thread while one connection sends its requests.
fn allocations(proxy: &ReverseProxy, request: &str, times: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let client = client(
        listener.local_addr().expect("an address"),
        request.to_owned(),
        times,
    );
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let (stream, peer) = listener.accept().await.expect("a client");
            let service = service_fn(|request| {
                let answer = proxy.forward(request, Some(peer.ip()));
                async { Ok::<_, Infallible>(answer.await.expect("never fails")) }
            });
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    });
    client.join().expect("the client was served");
    counted.count_total
}

/// Exactly what one more request costs.
fn per_request(proxy: &ReverseProxy, request: &str) -> f64 {
    let few = allocations(proxy, request, 100);
    let many = allocations(proxy, request, 1_100);
    (many as f64 - few as f64) / 1_000.0
}

const KEY: &str = "only for counting bytes";

fn pool() -> Pool {
    let affinity = Affinity::cookie("lb", KEY);
    let builder = Pool::builder("count")
        .endpoints([origin(), origin()])
        .affinity(affinity);
    builder.build().expect("a pool")
}

/// The exchange is boxed, so that idle connections stay small, in a box that others had
/// before it.
#[test]
fn a_get_costs_no_allocation() {
    let pool = Pool::builder("count")
        .endpoints([origin(), origin()])
        .build()
        .expect("a pool");
    let request = "GET /s HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n";
    let cost = per_request(&pool.reverse_proxy(), request);
    assert!(cost < 0.1, "{cost}");
}

/// They are hyper's own: its channel of body pieces, and the next read buffer with its
/// shared handle, because the body still holds the last one.
#[test]
fn a_post_of_a_kilobyte_costs_three() {
    let body = "x".repeat(1 << 10);
    let request = format!("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 1024\r\n\r\n{body}");
    let pool = Pool::builder("count")
        .endpoints([origin(), origin()])
        .build()
        .expect("a pool");
    let cost = per_request(&pool.reverse_proxy(), &request);
    assert!(cost < 3.1, "{cost}");
}

/// Opened tokens are remembered.
#[test]
fn a_bound_get_costs_no_more() {
    let pool = pool();
    let home = &pool.endpoints()[0];
    let affinity = pool.affinity().expect("it was configured");
    let (_, cookie) = affinity
        .bind(home, far_future(), false)
        .expect("a short name");
    let cookie = cookie
        .to_str()
        .expect("text")
        .split(';')
        .next()
        .expect("a value")
        .to_owned();
    let request = format!("GET /s HTTP/1.1\r\nHost: h\r\nCookie: {cookie}\r\n\r\n");
    let cost = per_request(&pool.reverse_proxy(), &request);
    assert!(cost < 0.1, "{cost}");
    assert_eq!(
        pool.endpoints()[1].stats().picks_total(),
        0,
        "the cookie was honoured"
    );
}

/// Seconds since 1970 in the year 2090: no clock is needed to be after now.
fn far_future() -> u64 {
    3_786_912_000
}
