//! Every layer of this crate under the seven assertions of `kit`, and breaches that the
//! kit must notice.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kit;

use std::error::Error as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use kit::{Broken, Strict, StrictFuture, is_broken, keeps_the_contract, never};
use lb_core::balance::{Balance, BalanceError, BalanceLayer};
use lb_core::limit::{ConcurrencyLimitLayer, Fixed, Quota, QuotaError, RateLimitLayer};
use lb_core::report::ReportLayer;
use lb_core::split::MirrorLayer;
use lb_core::{ConfigError, EndpointSpec, Pool};
use tower::{Layer, Service};

/// The failure is the innermost error itself.
fn itself<B>(answer: Result<Response<B>, Broken>) -> bool {
    answer.is_err_and(|error| is_broken(&error))
}

/// The failure became an answer that carries the reason.
fn carried<B>(answer: Result<Response<B>, std::convert::Infallible>) -> bool {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return never(&error),
    };
    let why = answer.extensions().get::<BalanceError>();
    answer.status() == 502 && why.is_some_and(|why| why.source().is_some_and(is_broken))
}

#[tokio::test]
async fn the_rate_limit_keeps_the_contract() {
    let quota = Quota::new(1_000, Duration::from_secs(1)).unwrap();
    let layer = RateLimitLayer::new(quota, |_| Some(1)).unwrap();
    keeps_the_contract(|inner| layer.layer(inner), itself).await;
    let absurd = Quota::new(0, Duration::from_secs(1));
    assert!(matches!(absurd, Err(QuotaError::Zero { .. })), "{absurd:?}");
}

#[tokio::test]
async fn the_concurrency_limit_keeps_the_contract_with_and_without_a_queue() {
    for waiting in [0, 4] {
        let queued = ConcurrencyLimitLayer::queued(Fixed(2), waiting, Duration::from_secs(60));
        keeps_the_contract(|inner| queued.layer(inner), itself).await;
        assert_eq!((queued.in_flight(), queued.waiting()), (0, 0));
    }
}

#[tokio::test]
async fn the_load_report_keeps_the_contract() {
    let layer = ReportLayer::new().capacity(4);
    keeps_the_contract(|inner| layer.layer(inner), itself).await;
}

#[tokio::test]
async fn the_mirror_keeps_the_contract() {
    let shadow = tower::service_fn(|_| async { Ok::<_, std::convert::Infallible>(()) });
    let layer = MirrorLayer::new(shadow);
    keeps_the_contract(|inner| layer.layer(inner), itself).await;
}

fn alone() -> Pool {
    let spec = EndpointSpec::new("here", "http://127.0.0.1:1");
    Pool::builder("contract").endpoints([spec]).build().unwrap()
}

#[tokio::test]
async fn a_balanced_router_keeps_the_contract() {
    let pool = alone();
    let layer = BalanceLayer::new(pool.clone()).local("here");
    keeps_the_contract(|inner| layer.layer(inner), carried).await;
    assert_eq!(pool.status().endpoints[0].in_flight, 0);
}

#[tokio::test]
async fn balanced_services_keep_the_contract() {
    let pool = alone();
    let service = |inner: Strict| Balance::new(pool.clone(), move |_| inner.clone());
    keeps_the_contract(service, carried).await;
    assert_eq!(pool.status().endpoints[0].in_flight, 0);
    let wrong = Pool::builder("contract").panic_threshold(7.0).build();
    assert!(matches!(wrong, Err(ConfigError::Range { .. })));
}

// === breaches ===

/// A layer that does one thing wrong.
#[derive(Clone)]
struct Bad<S> {
    inner: S,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    CallsAClone,
    NeverAsksReady,
    ForgetsTheWaker,
    KeepsRunning,
    LosesTheCause,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Lost>> + Send>>;

/// Work that nobody ends.
static KEPT: Mutex<Vec<Arc<Mutex<StrictFuture>>>> = Mutex::new(Vec::new());

/// An error without its cause, unless it has one.
#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost(#[source] Option<Broken>);

impl Service<Request<Full<Bytes>>> for Bad<Strict> {
    type Response = Response<Full<Bytes>>;
    type Error = Lost;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut deaf = Context::from_waker(std::task::Waker::noop());
        let ask = |inner: &mut Strict, cx: &mut Context<'_>| {
            <Strict as Service<Request<Full<Bytes>>>>::poll_ready(inner, cx)
        };
        let ready = match self.how {
            How::NeverAsksReady => Poll::Ready(Ok(())),
            How::ForgetsTheWaker => ask(&mut self.inner, &mut deaf),
            _ => ask(&mut self.inner, cx),
        };
        ready.map_err(|error| Lost(Some(error)))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let asking = match self.how {
            How::CallsAClone => self.inner.clone().call(request),
            _ => self.inner.call(request),
        };
        let how = self.how;
        if how == How::KeepsRunning {
            // A second owner: dropping the answer's future does not end the work.
            let shared = Arc::new(Mutex::new(asking));
            KEPT.lock().unwrap().push(Arc::clone(&shared));
            return Box::pin(std::future::poll_fn(move |cx| {
                let asking = &mut *shared.lock().unwrap();
                Pin::new(asking).poll(cx).map_err(|error| Lost(Some(error)))
            }));
        }
        Box::pin(async move {
            let cause = |error| (how != How::LosesTheCause).then_some(error);
            asking.await.map_err(|error| Lost(cause(error)))
        })
    }
}

#[test]
fn the_kit_notices_every_breach() {
    let breach = |how| {
        let judged = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(keeps_the_contract(
                |inner| Bad { inner, how },
                |answer| answer.is_err_and(|error| is_broken(&error)),
            ));
        });
        let panic = judged.expect_err("the kit must reject it");
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
    };
    assert!(breach(How::CallsAClone).contains("1: a call without"));
    assert!(breach(How::NeverAsksReady).contains("1: a call without"));
    assert!(breach(How::ForgetsTheWaker).contains("3: pending without"));
    assert!(breach(How::KeepsRunning).contains("work goes on"));
    assert!(breach(How::LosesTheCause).contains("6: the cause"));
}
