//! One line around an axum application, against the embedded server over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use lb_registry::membership::Member;
use lb_registry::{Consul, Discovery, EmbeddedServer, InProcess, Membership, Status, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(15);

async fn registry() -> (InProcess, Consul) {
    let store = InProcess::default();
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback works");
    let url = format!("http://{}", listener.local_addr().expect("loopback works"));
    tokio::spawn(EmbeddedServer::new(store.clone()).serve(listener));
    (store, Consul::new(&url).expect("loopback works"))
}

async fn until(watch: &mut Watch, condition: impl Fn(&lb_registry::Snapshot) -> bool) {
    tokio::time::timeout(SOON, watch.until(condition))
        .await
        .expect("it happens soon")
        .expect("the watch is alive");
}

/// The member `w` of `web`, registered, with its registry and whoever watches it.
async fn registered() -> (InProcess, Watch, Member) {
    let (store, consul) = registry().await;
    let watch = store.watch("web");
    let membership = Membership::new("web", "10.0.0.1:80")
        .id("w")
        .ttl(Duration::from_secs(3))
        .http_check(None);
    let mut member = membership.join(&consul);
    tokio::time::timeout(SOON, member.registered())
        .await
        .expect("it registers");
    (store, watch, member)
}

#[tokio::test]
async fn it_registers_serves_drains_and_deregisters() {
    let (store, consul) = registry().await;
    let mut watch = store.watch("web");
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback works");
    let port = listener.local_addr().expect("loopback works").port();
    let (end, ended) = oneshot::channel::<()>();
    let (job, finished) = oneshot::channel::<()>();
    let finished = std::sync::Arc::new(tokio::sync::Mutex::new(Some(finished)));
    let membership = Membership::new("web", "127.0.0.1")
        .version("1.2.3")
        .metadata("team", "blue")
        .propagation(Duration::ZERO)
        .on_drain(move || {
            let finished = std::sync::Arc::clone(&finished);
            async move {
                if let Some(finished) = finished.lock().await.take() {
                    let _ = finished.await;
                }
            }
        });
    let app = Router::new().route("/", get(|| async { "hello" }));
    let serving = tokio::spawn(async move {
        membership
            .serve_until(&consul, listener, app, async { drop(ended.await) })
            .await
    });
    until(&mut watch, |set| {
        set.instances
            .iter()
            .any(|one| one.status == Status::Passing)
    })
    .await;
    let instance = watch.latest().instances[0].clone();
    assert_eq!((instance.port, instance.version.as_str()), (port, "1.2.3"));
    assert_eq!(instance.metadata["team"], "blue");
    end.send(()).expect("loopback works");
    until(&mut watch, |set| {
        set.instances
            .iter()
            .any(|one| one.status == Status::Draining)
    })
    .await;
    job.send(()).expect("loopback works");
    until(&mut watch, |set| set.instances.is_empty()).await;
    serving
        .await
        .expect("loopback works")
        .expect("loopback works");
}

#[tokio::test]
async fn the_application_is_told_who_asks() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback works");
    let address = listener.local_addr().expect("loopback works");
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let app = Router::new().route("/", get(who));
    let (_end, ended) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let end = async { drop(ended.await) };
        let membership = Membership::new("web", "127.0.0.1");
        membership
            .serve_until(&InProcess::default(), listener, app, end)
            .await
    });
    let mut client = TcpStream::connect(address).await.expect("it listens");
    let us = client.local_addr().expect("loopback works").to_string();
    let request = b"GET / HTTP/1.0\r\n\r\n";
    client.write_all(request).await.expect("loopback works");
    let mut answer = String::new();
    tokio::time::timeout(SOON, client.read_to_string(&mut answer))
        .await
        .expect("it answers")
        .expect("loopback works");
    assert!(answer.ends_with(&us), "{us}: {answer}");
    serving.abort();
}

#[tokio::test]
async fn a_dropped_member_deregisters_in_the_background() {
    let (_store, mut watch, member) = registered().await;
    drop(member);
    until(&mut watch, |set| set.instances.is_empty()).await;
}

#[tokio::test]
async fn a_member_that_drains_goes_on_draining_when_the_registry_forgot_it() {
    let (store, mut watch, member) = registered().await;
    member.drain().await;
    store
        .change(|catalog, now| catalog.deregister("w", now))
        .expect("it was registered");
    until(&mut watch, |set| set.instances.is_empty()).await;
    until(&mut watch, |set| {
        let states = set.instances.iter().map(|one| one.status);
        states.eq([Status::Draining])
    })
    .await;
}

#[tokio::test]
async fn a_member_that_the_registry_forgot_registers_again() {
    let (store, mut watch, member) = registered().await;
    store
        .change(|catalog, now| catalog.deregister("w", now))
        .expect("it is registered");
    assert!(watch.latest().instances.is_empty());
    until(&mut watch, |set| set.instances.len() == 1).await;
    member.leave().await;
    assert!(watch.latest().instances.is_empty());
}
