//! Does the embedded server answer as Consul does? The same recorded facts are replayed on it and on a real Consul 1.8.7.
//!
//! A fact that the real one does not confirm is no fact, so both runs must be clean; and with one expectation
//! broken on purpose every single case must fail, so the comparison bites.

mod http;
mod replay;

use lb_registry::server::Compatibility;
use lb_registry::{EmbeddedServer, Etcd, InProcess};
use replay::Replay;
use serde_json::Value;
use testkit::consul::{Consul, MASTER_TOKEN};

fn cases() -> Value {
    serde_json::from_str(include_str!("cases.json")).expect("the cases are JSON")
}

/// Facts that nobody had recorded: filters, keys and checks at their edges.
fn own_cases() -> Value {
    serde_json::from_str(include_str!("own-cases.json")).expect("the cases are JSON")
}

/// The embedded server on a port of its own, until the runtime goes.
fn embedded(runtime: &tokio::runtime::Runtime, token: Option<&str>) -> Replay {
    serve(runtime, InProcess::default(), token)
}

fn serve(runtime: &tokio::runtime::Runtime, store: InProcess, token: Option<&str>) -> Replay {
    let mut server = EmbeddedServer::builder(store).compatibility(Compatibility::V1_8);
    if let Some(token) = token {
        server = server.token(token);
    }
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    runtime.spawn(server.build().serve(listener));
    Replay {
        port,
        token: token.map(Into::into),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("a runtime")
}

/// Every case with one expectation that cannot hold.
fn broken(mut cases: Value) -> Value {
    for case in cases["cases"].as_array_mut().expect("a list") {
        case["expect"]["status"] = 299.into();
    }
    cases
}

#[test]
fn the_embedded_server_answers_every_recorded_case() {
    let runtime = runtime();
    let (count, failures) = embedded(&runtime, None).failures(&cases());
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(count, 58);
}

#[test]
fn the_embedded_server_answers_every_case_of_our_own() {
    let runtime = runtime();
    let (count, failures) = embedded(&runtime, None).failures(&own_cases());
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(count, 42);
}

#[test]
fn the_embedded_server_answers_every_recorded_case_about_tokens() {
    let runtime = runtime();
    let (count, failures) = embedded(&runtime, Some(MASTER_TOKEN)).failures(&cases());
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(count, 4);
}

#[test]
fn a_server_that_is_one_of_several_answers_every_recorded_case_but_the_one_about_sessions() {
    let runtime = runtime();
    let etcd = testkit::etcd::Etcd::start().expect("an etcd");
    let store = InProcess::default();
    let _inside = runtime.enter();
    let shared = Etcd::new(etcd.urls()).expect("a URL").share(&store);
    let replica = shared.expect("it is not shared yet");
    runtime.block_on(replica.ready());
    let (_, failures) = serve(&runtime, store, None).failures(&cases());
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(
        failures[0].contains("session-lock-exclusive"),
        "{failures:?}"
    );
}

#[test]
fn a_real_consul_answers_every_recorded_case() {
    let consul = Consul::start().expect("a Consul");
    let real = Replay {
        port: consul.port(),
        token: None,
    };
    assert_eq!(real.failures(&cases()).1, Vec::<String>::new());
    assert_eq!(real.failures(&own_cases()).1, Vec::<String>::new());
}

#[test]
fn a_real_consul_answers_every_recorded_case_about_tokens() {
    let consul = Consul::start_with_rules().expect("a Consul");
    let real = Replay {
        port: consul.port(),
        token: Some(MASTER_TOKEN.into()),
    };
    assert_eq!(real.failures(&cases()).1, Vec::<String>::new());
}

#[test]
fn control_with_a_broken_expectation_every_case_fails() {
    let runtime = runtime();
    let (count, failures) = embedded(&runtime, None).failures(&broken(cases()));
    assert_eq!(failures.len(), count);
}
