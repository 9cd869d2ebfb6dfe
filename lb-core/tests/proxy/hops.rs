//! How far a request may go: `Max-Forwards`, and `Via` against circles.

use lb_core::EndpointSpec;
use lb_core::proxy::Via;

use crate::support::*;

fn options(fields: &str) -> String {
    format!("OPTIONS /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
}

#[tokio::test]
async fn an_options_that_may_go_no_further_is_answered_here_and_the_connection_goes_on() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let answer = client.ask(options("Max-Forwards: 0\r\n")).await;
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert_eq!(answer.field("content-length"), Some("0"));
    let allow = answer.field("allow").unwrap();
    assert!(
        allow.contains("options") && allow.contains("get"),
        "{allow}"
    );
    assert!(origin.seen().is_empty());
    let further = client.ask(options("Max-Forwards: 5\r\n")).await;
    assert_eq!((further.status, further.text()), (200, "ok"));
    let seen = origin.seen();
    assert!(seen[0].contains("\r\nmax-forwards: 4\r\n"), "{}", seen[0]);
}

#[tokio::test]
async fn connection_cannot_take_the_count_away() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    let mut client = Client::connect(gateway).await;
    let nominated = options("Connection: max-forwards, via\r\nMax-Forwards: 5\r\nVia: 1.1 a\r\n");
    assert_eq!(client.ask(nominated).await.status, 200);
    let seen = origin.seen();
    assert!(seen[0].contains("\r\nmax-forwards: 4\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("\r\nvia: 1.1 a\r\n"), "{}", seen[0]);
}

/// A gateway of this name whose only endpoint is at `url`, or it itself.
async fn signing(name: &str, url: Option<String>) -> String {
    let there = url.clone().unwrap_or_else(|| "http://127.0.0.1:1".into());
    let pool = pool(&[there]);
    let proxy = pool.reverse_proxy().via(Via::new(name).unwrap());
    let here = format!("http://{}", serve(proxy).await);
    if url.is_none() {
        let itself = EndpointSpec::new("itself", here.as_str());
        pool.set_endpoints([itself]).unwrap();
    }
    here
}

async fn get(gateway: &str, fields: &str) -> Answer {
    let address = gateway.trim_start_matches("http://").parse().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    Client::connect(address).await.ask(request).await
}

#[tokio::test]
async fn a_request_that_comes_back_is_answered_with_508() {
    let circle = signing("edge", None).await;
    let answer = get(&circle, "").await;
    assert_eq!(answer.status, 508);
    assert!(answer.text().contains("loop_detected"), "{answer:?}");
    // A circle of two.
    let outer = signing("edge", Some(signing("inner", Some(circle)).await)).await;
    assert_eq!(get(&outer, "").await.status, 508);
}

#[tokio::test]
async fn gateways_of_two_names_sign_one_behind_the_other() {
    let origin = Origin::saying("ok");
    let inner = signing("inner", Some(origin.url())).await;
    let outer = signing("outer", Some(inner)).await;
    assert_eq!(get(&outer, "Via: 1.0 fred\r\n").await.status, 200);
    let head = origin.seen().remove(0);
    let signed = head.lines().filter_map(|line| line.strip_prefix("via: "));
    let signed: Vec<_> = signed.collect();
    assert_eq!(signed.join(", "), "1.0 fred, 1.1 outer, 1.1 inner");
}

#[tokio::test]
async fn nothing_is_signed_by_default() {
    let origin = Origin::saying("ok");
    let gateway = serve(pool(&[origin.url()]).reverse_proxy()).await;
    assert_eq!(get(&format!("http://{gateway}"), "").await.status, 200);
    assert!(!origin.seen()[0].contains("via:"));
}
