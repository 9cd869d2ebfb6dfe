//! Sets of endpoints that come by themselves.

use std::time::Duration;

use lb_core::{ConfigError, EndpointSpec, Pool};
use tower::discover::Change;

use crate::common::specs;

#[tokio::test]
async fn the_latest_discovered_set_wins_and_outlives_its_stream() {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let pool = Pool::builder("test")
        .discover(Sets(receiver))
        .build()
        .expect("in a runtime");
    sender.send(specs(2)).await.expect("the pool listens");
    sender
        .send(vec![EndpointSpec::new("bad", "?"), specs(1).remove(0)])
        .await
        .expect("the pool listens");
    sender
        .send(vec![EndpointSpec::new("bad", "?")])
        .await
        .expect("the pool listens");
    drop(sender);
    tokio::task::yield_now().await;
    let names: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_string())
        .collect();
    assert_eq!(
        names,
        ["e0"],
        "the bad one is left out, the useless set is ignored"
    );
}

/// The stream is ready before the pool stands: on several threads its task may run first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_that_is_there_before_the_pool_is_not_lost() {
    for round in 0..500 {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        sender.send(specs(1)).await.expect("there is room");
        let pool = Pool::builder("test")
            .discover(Sets(receiver))
            .build()
            .expect("in a runtime");
        let known = async {
            while pool.endpoints().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(5), known).await;
        assert!(seen.is_ok(), "round {round}: the pool stayed empty");
    }
}

#[test]
fn discovery_without_a_runtime_is_an_error() {
    let (_sender, receiver) = tokio::sync::mpsc::channel(1);
    let result = Pool::builder("test").discover(Sets(receiver)).build();
    assert!(matches!(result, Err(ConfigError::NoRuntime { .. })));
}

struct Sets(tokio::sync::mpsc::Receiver<Vec<EndpointSpec>>);

impl futures_core::Stream for Sets {
    type Item = Vec<EndpointSpec>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

#[tokio::test]
async fn single_changes_of_a_tower_discover_become_members() {
    type Next = Result<Change<u8, EndpointSpec>, std::convert::Infallible>;
    struct Changes(tokio::sync::mpsc::Receiver<Next>);
    impl futures_core::Stream for Changes {
        type Item = Next;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Next>> {
            self.0.poll_recv(cx)
        }
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    let pool = Pool::builder("test")
        .discover_changes(Changes(receiver))
        .build()
        .expect("in a runtime");
    for (key, spec) in (0u8..).zip(specs(3)) {
        sender
            .send(Ok(Change::Insert(key, spec)))
            .await
            .expect("the pool listens");
    }
    sender
        .send(Ok(Change::Remove(1)))
        .await
        .expect("the pool listens");
    tokio::task::yield_now().await;
    let names: Vec<_> = pool
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_string())
        .collect();
    assert_eq!(names, ["e0", "e2"]);
}
