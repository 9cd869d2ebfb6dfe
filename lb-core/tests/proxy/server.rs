//! The gateway as a server of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lb_core::Pool;
use lb_core::policy::PolicyConfig;
use lb_core::proxy::{GatewayServer, ServeOptions, serve_gateway};

use crate::moody::Moody;
use crate::origin2::{PING, SETTINGS, frame};
use crate::support::*;

fn start(urls: &[String], options: impl FnOnce(ServeOptions) -> ServeOptions) -> GatewayServer {
    let plain = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(2);
    serve_gateway(&pool(urls).reverse_proxy(), &options(plain)).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn every_worker_serves_the_same_port() {
    let origin = Origin::saying("hello");
    let server = start(&[origin.url()], |options| options);
    for _ in 0..20 {
        let answer = Client::connect(server.local_addr()).await.ask(GET).await;
        assert_eq!((answer.status, answer.text()), (200, "hello"));
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed_and_an_idle_connection_is_not() {
    let origin = Origin::saying("ok");
    let server = start(&[origin.url()], |options| {
        options.head_timeout(Duration::from_secs(1))
    });
    let mut idle = Client::connect(server.local_addr()).await;
    assert_eq!(idle.ask(GET).await.status, 200);
    let mut slow = Client::connect(server.local_addr()).await;
    slow.send("GET / HTTP/1.1\r\nHo").await;
    assert!(slow.is_closed().await);
    assert_eq!(idle.ask(GET).await.status, 200);
}

#[tokio::test]
async fn what_is_no_head_may_take_longer_than_one() {
    let origin = Origin::saying("ok");
    let server = start(&[origin.url()], |options| {
        options.head_timeout(Duration::from_secs(1)).workers(1)
    });
    // A body whose head was answered in passing, so that something was written since.
    let mut upload = Client::connect(server.local_addr()).await;
    let put = "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(upload.ask(put).await.status, 100);
    upload.send("a").await;
    // And an unused connection of HTTP/2 whose last frame was its own.
    let mut unused = Client::connect(server.local_addr()).await;
    let settings = frame(SETTINGS, 0, 0, &[]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    unused.send([preface.as_slice(), &settings].concat()).await;
    until_acknowledged(&mut unused, SETTINGS).await;
    unused.send(frame(SETTINGS, 1, 0, &[])).await;
    // A head that was begun after all that is given up.
    let mut slow = Client::connect(server.local_addr()).await;
    slow.send("GET / HTTP/1.1\r\nHo").await;
    assert!(slow.is_closed().await);
    let answer = upload.ask("bc").await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    unused.send(frame(PING, 0, 0, &[0; 8])).await;
    until_acknowledged(&mut unused, PING).await;
    // The next head has to hurry again.
    upload.send("GET / HTTP/1.1\r\nHo").await;
    assert!(upload.is_closed().await);
}

#[tokio::test]
async fn a_client_that_is_refused_early_may_send_to_the_end() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let refusal = "HTTP/1.1 413 Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
        stream.write_all(refusal.as_bytes()).unwrap();
    });
    let server = start(&[url], |options| options.workers(1));
    let mut client = Client::connect(server.local_addr()).await;
    const LENGTH: usize = 32 << 20;
    let head = format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.send(head).await;
    client.send(vec![0; LENGTH]).await;
    let answer = client
        .answer()
        .await
        .expect("the answer was not taken back");
    assert_eq!((answer.status, answer.text()), (413, "big"));
    assert!(client.is_closed().await);
}

/// Reads frames until one of this kind has the flag that acknowledges.
async fn until_acknowledged(client: &mut Client, kind: u8) {
    loop {
        let head = client.raw(9).await;
        client.raw(usize::from(head[2])).await;
        if (head[3], head[4]) == (kind, 1) {
            return;
        }
    }
}

#[tokio::test]
async fn a_shutdown_lets_running_requests_finish() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |_| {
        told.lock().unwrap().recv_timeout(PATIENCE).ok();
        Reply::Keep(ok("late"))
    });
    let pool = pool(&[origin.url()]);
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(2);
    let server = serve_gateway(&pool.reverse_proxy(), &options).unwrap();
    let address = server.local_addr();
    let mut client = Client::connect(address).await;
    client.send(GET).await;
    until("in flight", || pool.endpoints()[0].stats().in_flight() == 1).await;
    let ending = tokio::spawn(server.shutdown(PATIENCE));
    until("closed to new clients", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    tell.send(()).unwrap();
    let answer = client.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "late"));
    ending.await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_stops_at_once() {
    let origin = Origin::start(|_| Reply::Silence);
    let server = start(&[origin.url()], |options| options);
    let mut client = Client::connect(server.local_addr()).await;
    client.send(GET).await;
    drop(server);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_policy_that_panics_costs_its_request_and_not_the_connection() {
    let origin = Origin::saying("hello");
    let mood = Moody::default();
    let policy = PolicyConfig::Custom(Arc::new(mood.clone()));
    let pool = Pool::builder("test").endpoints([origin.url()]);
    let pool = pool.policy(policy).build().unwrap();
    let options = ServeOptions::new("127.0.0.1:0".parse().unwrap()).workers(1);
    let server = serve_gateway(&pool.reverse_proxy(), &options).unwrap();
    let mut client = Client::connect(server.local_addr()).await;
    for (angry, status) in [(false, 200), (true, 500), (true, 500), (false, 200)] {
        mood.0.store(angry, Ordering::SeqCst);
        let answer = client.ask(GET).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(angry == answer.text().contains("\"internal\""));
    }
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
}
