//! What the application brings along may panic: it costs one request.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use lb_core::Pool;
use lb_core::balance::BalanceLayer;
use lb_core::policy::PolicyConfig;
use tokio::sync::oneshot;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::moody::Moody;
use crate::support::*;

/// A piece, and a panic when it is told to, or at once.
struct Explosive {
    piece: Option<Bytes>,
    fuse: Option<oneshot::Receiver<()>>,
}

impl Body for Explosive {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(fuse) = &mut self.fuse {
            ready!(Pin::new(fuse).poll(cx)).ok();
        }
        panic!("a body of the application's");
    }
}

fn put<B>(body: B) -> Request<B> {
    let request = Request::put("/").header("host", "h");
    request.body(body).unwrap()
}

#[tokio::test]
async fn a_request_whose_body_panics_fails_alone() {
    let origin = Origin::saying("ok");
    let pool = pool(&[origin.url()]);
    for piece in [None, Some(Bytes::from("abc"))] {
        let body = Explosive { piece, fuse: None };
        let answer = pool.reverse_proxy().oneshot(put(body)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(text.starts_with(br#"{"error":"internal""#), "{text:?}");
    }
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
    assert!(origin.seen().is_empty(), "no request was whole");
    let good = put(Full::new(Bytes::from("abc")));
    let answer = pool.reverse_proxy().oneshot(good).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_answer_under_way_breaks_off_when_the_requests_body_panics() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let early = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc";
        stream.write_all(early.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let pool = pool(&[url]);
    let (light, fuse) = oneshot::channel();
    let body = Explosive {
        piece: Some(Bytes::from("abc")),
        fuse: Some(fuse),
    };
    let answer = pool.reverse_proxy().oneshot(put(body)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    light.send(()).unwrap();
    assert!(answer.into_body().collect().await.is_err());
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
}

#[derive(Clone)]
struct Angry;

#[tokio::test]
async fn a_way_to_find_the_client_that_panics_costs_its_request() {
    let origin = Origin::saying("ok");
    let pool = pool(&[origin.url()]);
    let proxy = pool.reverse_proxy().peer(|extensions| {
        assert!(extensions.get::<Angry>().is_none(), "in a bad mood");
        None
    });
    for (angry, status) in [(true, 500), (false, 200), (true, 500)] {
        let mut request = put(Full::new(Bytes::from("abc")));
        if angry {
            request.extensions_mut().insert(Angry);
        }
        let answer = proxy.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
}

/// What a layer around the only endpoint of this pool answers, as a status and a text.
async fn layered(pool: &Pool, find_angry: bool) -> (StatusCode, Bytes) {
    let here = service_fn(|_: Request<Full<Bytes>>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::from("here"))))
    });
    let proxy = pool.reverse_proxy().peer(|extensions| {
        assert!(extensions.get::<Angry>().is_none(), "in a bad mood");
        None
    });
    let only = pool.endpoints()[0].id().clone();
    let layer = BalanceLayer::with_proxy(proxy).local(only);
    let mut request = put(Full::new(Bytes::from("abc")));
    if find_angry {
        request.extensions_mut().insert(Angry);
    }
    let answer = layer.layer(here).oneshot(request).await.unwrap();
    let status = answer.status();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

#[tokio::test]
async fn in_a_balanced_router_a_panicking_policy_and_a_panicking_peer_cost_their_request_too() {
    let mood = Moody::default();
    let pool = Pool::builder("instances")
        .endpoints(["http://127.0.0.1:1"])
        .policy(PolicyConfig::Custom(Arc::new(mood.clone())))
        .build()
        .unwrap();
    for (angry, find_angry) in [(true, false), (false, false), (false, true), (false, false)] {
        mood.0.store(angry, Ordering::SeqCst);
        let (status, text) = layered(&pool, find_angry).await;
        if angry || find_angry {
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(text.starts_with(br#"{"error":"internal""#), "{text:?}");
        } else {
            assert_eq!((status, &text[..]), (StatusCode::OK, &b"here"[..]));
        }
        assert_eq!(pool.endpoints()[0].stats().in_flight(), 0);
    }
}
