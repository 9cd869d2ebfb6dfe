//! The smallest service, and one call of any.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower_service::Service;

/// What the services here are asked.
pub type Asked = Request<Empty<Bytes>>;

/// Answers at once.
#[derive(Clone, Debug)]
pub struct Echo;

impl Service<Asked> for Echo {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Asked) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// One empty request from beginning to end.
pub fn call<S: Service<Asked>>(service: &mut S) {
    drop(black_box(ask(service, Request::new(Empty::new()))));
}

/// One request from beginning to end, and its answer.
///
/// # Panics
///
/// If the service does not answer at once.
pub fn ask<S: Service<Asked>>(service: &mut S, request: Asked) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    while service.poll_ready(&mut cx).is_pending() {}
    let mut answer = std::pin::pin!(service.call(black_box(request)));
    match answer.as_mut().poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("not answered at once"),
    }
}
