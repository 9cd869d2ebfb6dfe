//! The layer that instances put around their routes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::gauges::{Gauge, Instance, Instrument, Running, Sources};
use super::{HEADER, LoadReport};
use crate::body::HeldBody;
use crate::clock;

/// Adds load reports to answers; see the [module](super).
///
/// Every answer brings one while they are few. A report is made ten times a second, and who
/// reads it twice learns nothing: once a thread has sent 128 answers with the same report,
/// one in four brings it.
///
/// By itself it reports requests that run (`active_work`, until the body has
/// ended), requests and 5xx answers per second. Everything else comes from
/// closures; a figure that a closure gives wins over one of the layer's own.
///
/// Clones are one instance: a router that clones the layer for each route
/// reports the work of all of them.
#[derive(Clone)]
pub struct ReportLayer {
    sources: Sources,
    instance: Instance,
}

/// A service whose answers carry load reports.
#[derive(Clone, Debug)]
pub struct Reporting<S> {
    inner: S,
    instance: Instance,
}

pin_project! {
    /// The answer of a [`Reporting`] service.
    #[must_use = "futures do nothing unless awaited"]
    pub struct ReportingFuture<F> {
        #[pin]
        inner: F,
        running: Option<Running>,
    }
}

// === impl ReportLayer ===

impl ReportLayer {
    /// Reports what the layer sees by itself.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sources: Sources {
                extends: Vec::new(),
                capacity: None,
                refresh: Duration::from_millis(100),
            },
            instance: Arc::default(),
        }
    }

    /// How much work this instance does at once: reports the work there is as a
    /// share of it. Default: none, no such share.
    #[must_use]
    pub fn capacity(self, units: u32) -> Self {
        let mut changed = self.apart();
        changed.sources.capacity = Some(f64::from(units.max(1)));
        changed
    }

    /// Units of work that run or wait here, instead of requests: for instances
    /// whose jobs outlive their requests.
    #[must_use]
    pub fn active_work(self, gauge: impl Fn() -> Option<f64> + Send + Sync + 'static) -> Self {
        self.named_metric("active_work", gauge)
    }

    /// A share from 0 to 1 of something else: `gpu`, `gpu_mem`, ... The closure
    /// must be quick; `None` leaves it out.
    #[must_use]
    pub fn utilization(
        self,
        name: impl Into<String>,
        gauge: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        let (name, gauge): (String, Gauge) = (name.into(), Arc::new(gauge));
        self.extend(move |report| match gauge() {
            Some(share) => report.utilization(name.as_str(), share),
            None => report,
        })
    }

    /// A figure of any kind. The closure must be quick; `None` leaves it out.
    #[must_use]
    pub fn named_metric(
        self,
        name: impl Into<String>,
        gauge: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        let (name, gauge): (String, Gauge) = (name.into(), Arc::new(gauge));
        self.extend(move |report| match gauge() {
            Some(value) => report.named_metric(name.as_str(), value),
            None => report,
        })
    }

    /// Changes the whole report, after everything that was added before: for
    /// several figures of one source.
    #[must_use]
    pub fn extend(self, extend: impl Fn(LoadReport) -> LoadReport + Send + Sync + 'static) -> Self {
        let mut changed = self.apart();
        changed.sources.extends.push(Arc::new(extend));
        changed
    }

    /// How old a report may be, 60 s at most; 0 makes one for every answer, which then brings
    /// it. Default: 100 ms.
    #[must_use]
    pub fn refresh(self, every: Duration) -> Self {
        let mut changed = self.apart();
        changed.sources.refresh = every;
        changed
    }

    /// What is set up otherwise is an instance of its own.
    fn apart(self) -> Self {
        Self {
            sources: self.sources,
            instance: Arc::default(),
        }
    }

    /// The report as it is now.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        self.instrument().report(clock::now())
    }

    /// Made with the first service: all services of a layer are one instance.
    fn instrument(&self) -> &Arc<Instrument> {
        self.instance
            .get_or_init(|| Arc::new(Instrument::new(self.sources.clone(), clock::now())))
    }
}

impl Default for ReportLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ReportLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportLayer")
            .field("capacity", &self.sources.capacity)
            .field("refresh", &self.sources.refresh)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ReportLayer {
    type Service = Reporting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.instrument();
        Reporting {
            inner,
            instance: Arc::clone(&self.instance),
        }
    }
}

// === impl Reporting ===

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Reporting<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body,
{
    type Response = Response<HeldBody<ResBody, Running>>;
    type Error = S::Error;
    type Future = ReportingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let instrument = self.instance.get().expect("invariant: made before this");
        ReportingFuture {
            running: Some(instrument.start()),
            inner: self.inner.call(request),
        }
    }
}

// === impl ReportingFuture ===

impl<F, B, E> Future for ReportingFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<HeldBody<B, Running>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        let running = this
            .running
            .take()
            .expect("invariant: polled to the end once");
        let instrument = &running.0;
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                instrument.fail();
                return Poll::Ready(Err(error));
            }
        };
        if response.status().is_server_error() {
            instrument.fail();
        }
        if let Some(value) = instrument.header(clock::now) {
            response.headers_mut().insert(HEADER, value);
        }
        Poll::Ready(Ok(response.map(|body| HeldBody::new(body, running))))
    }
}

impl<F> fmt::Debug for ReportingFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportingFuture").finish_non_exhaustive()
    }
}
