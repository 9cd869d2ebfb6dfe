//! Status over HTTP, without authentication: put it behind your own.
//!
//! [`Admin`] is a cloneable tower service without a prefix; nest it where you
//! like. Everything it says is JSON, except the metrics.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the whole snapshot: [`GpuReport`] |
//! | `GET /health` | 200 while at least one device can work, or none is needed; 503 otherwise |
//! | `GET /metrics` | the [`exporter`]'s text |
//! | `GET /scheduler` | where every tenant stands |
//! | `GET /scheduler/{tenant}` | where one tenant stands; 404 if it is not known |
//! | `POST /devices/{uuid}/clear-health` | declares a repaired device healthy; 404 if it is not known |
//!
//! Names of tenants and devices are percent-encoded where they have to be: a slash is `%2F`.
//!
//! ```
//! use http::Request;
//! use lb_gpu::admin::Admin;
//! use lb_gpu::probe::AbsentReason;
//! use lb_gpu::{FakeProbe, Sampler};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let sampler = Sampler::start(FakeProbe::absent(AbsentReason::NoLibrary));
//! sampler.ready().await;
//! let mut admin = Admin::new(&sampler);
//! let request = Request::get("/health").body(()).unwrap();
//! let response = admin.call(request).await.unwrap();
//! assert_eq!(response.status(), 200); // no GPU is a normal answer
//! # }
//! ```

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tower_service::Service;

use crate::clock;
use crate::exporter::{self, Exporter};
use crate::fair::FairShare;
use crate::reading::DeviceId;
use crate::report::GpuReport;
use crate::sampler::{Handle, Sampler};

/// Status of the devices, and of the scheduler if there is one.
#[derive(Clone, Debug)]
pub struct Admin {
    sampler: Handle,
    share: Option<FairShare>,
    exporter: Exporter,
}

/// The answer in the making.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>);

#[derive(Serialize)]
struct Problem {
    error: &'static str,
}

impl Admin {
    /// Tells about these devices.
    #[must_use]
    pub fn new(sampler: &Sampler) -> Self {
        Self {
            sampler: sampler.handle(),
            share: None,
            exporter: Exporter::default(),
        }
    }

    /// Tells about this scheduler too.
    #[must_use]
    pub fn scheduler(mut self, share: FairShare) -> Self {
        self.share = Some(share);
        self
    }

    /// Settings of `/metrics`.
    #[must_use]
    pub fn exporter(mut self, exporter: Exporter) -> Self {
        self.exporter = exporter;
        self
    }

    async fn answer(self, method: Method, path: String) -> Response<Full<Bytes>> {
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (method.as_str(), &*segments) {
            ("POST", ["devices", id, "clear-health"]) => self.clear_health(&decoded(id)).await,
            (_, ["devices", _, "clear-health"]) => not_allowed("POST"),
            ("GET" | "HEAD", segments) => self.read(segments),
            _ => not_allowed("GET, HEAD"),
        }
    }

    fn read(&self, segments: &[&str]) -> Response<Full<Bytes>> {
        let (snapshot, now) = (self.sampler.latest(), clock::now());
        match (segments, &self.share) {
            ([], _) => json(StatusCode::OK, &GpuReport::new(&snapshot, now)),
            (["health"], _) => {
                let signal = snapshot.health_signal();
                let status = if signal.fit {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                json(status, &signal)
            }
            (["metrics"], _) => {
                let text = self.exporter.render(&snapshot, now);
                respond(StatusCode::OK, exporter::CONTENT_TYPE, text.into())
            }
            (["scheduler"], Some(share)) => json(StatusCode::OK, &share.explain_all()),
            (["scheduler", tenant], Some(share)) => match share.explain(&decoded(tenant)) {
                Some(explanation) => json(StatusCode::OK, &explanation),
                None => problem(StatusCode::NOT_FOUND, "the tenant is not known"),
            },
            _ => problem(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    async fn clear_health(&self, id: &str) -> Response<Full<Bytes>> {
        if self.sampler.clear_health(&DeviceId::from(id)).await {
            tracing::info!(device = id, "a device was declared healthy by an operator");
            return respond(StatusCode::NO_CONTENT, "application/json", Bytes::new());
        }
        problem(StatusCode::NOT_FOUND, "the device is not known")
    }
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        ResponseFuture(Box::pin(self.clone().answer(method, path)))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A segment of a path as it was meant; what is no text is nobody's name.
fn decoded(segment: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy()
}

fn json(status: StatusCode, document: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(document).expect("our documents have text keys and no odd types");
    respond(status, "application/json", body.into())
}

fn problem(status: StatusCode, error: &'static str) -> Response<Full<Bytes>> {
    json(status, &Problem { error })
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "the method is not allowed here",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
