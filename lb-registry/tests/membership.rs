//! One line around an axum application, against the embedded server over real sockets.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use lb_registry::{Consul, Discovery, EmbeddedServer, InProcess, Membership, Status, Watch};
use tokio::net::TcpListener;
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
async fn a_dropped_member_deregisters_in_the_background() {
    let (store, consul) = registry().await;
    let mut watch = store.watch("web");
    let mut member = Membership::new("web", "10.0.0.1:80")
        .http_check(None)
        .join(&consul);
    tokio::time::timeout(SOON, member.registered())
        .await
        .expect("it registers");
    drop(member);
    until(&mut watch, |set| set.instances.is_empty()).await;
}

#[tokio::test]
async fn a_member_that_drains_goes_on_draining_when_the_registry_forgot_it() {
    let (store, consul) = registry().await;
    let mut watch = store.watch("web");
    let membership = Membership::new("web", "10.0.0.1:80")
        .id("w")
        .ttl(Duration::from_secs(3))
        .http_check(None);
    let mut member = membership.join(&consul);
    tokio::time::timeout(SOON, member.registered())
        .await
        .expect("it registers");
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
    let (store, consul) = registry().await;
    let mut watch = store.watch("web");
    let membership = Membership::new("web", "10.0.0.1:80")
        .id("w")
        .ttl(Duration::from_secs(3))
        .http_check(None);
    let mut member = membership.join(&consul);
    tokio::time::timeout(SOON, member.registered())
        .await
        .expect("it registers");
    store
        .change(|catalog, now| catalog.deregister("w", now))
        .expect("it is registered");
    assert!(watch.latest().instances.is_empty());
    until(&mut watch, |set| set.instances.len() == 1).await;
    member.leave().await;
    assert!(watch.latest().instances.is_empty());
}
