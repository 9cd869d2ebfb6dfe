//! Look and steer over HTTP: a cloneable tower service, without prefix and
//! without authentication, which belong to the application.
//!
//! | request               | answer |
//! |-----------------------|--------|
//! | `GET /`               | a page for people: the last decisions as pictures and in words; `?at=` shows an older one |
//! | `GET /record`         | the latest decision with all it was made from, to be [replayed](crate::record); `?at=` an older one |
//! | `GET /status`         | the fleet, the last decisions, the error if there is one |
//! | `GET /decisions`      | the decisions kept, with their traces, latest first |
//! | `GET /why`            | the latest decision in one sentence |
//! | `GET /why.svg`        | the same as a picture |
//! | `POST /what-if`       | the decision for the inputs in the body; nothing is changed |
//! | `GET`, `PUT /spec`    | the specification as JSON; a new one is checked first |
//! | `GET`, `PUT`, `DELETE /override` | a human's word: `{"kind": {"exact": 5}, "author", "reason", "seconds"}` |
//! | `GET /schedules`      | the schedules of the specification |
//! | `GET /audit`          | who changed what, latest first |
//!
//! Changes name their author: in the body of an override, otherwise in the
//! header `x-author`. A refusal is `{"error", "field"}`.
//!
//! ```
//! use lb_autoscale::{Autoscaler, Spec, actuator::DryRun, admin::Admin, source::Gauges};
//! use http_body_util::{BodyExt, Empty};
//! use tower_service::Service;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let handle = Autoscaler::new(Spec::builder("api").build()?, Gauges::default(), DryRun::new(3)).run();
//! handle.next_decision().await;
//! let request = http::Request::get("/why").body(Empty::<bytes::Bytes>::new())?;
//! let answer = Admin::new(handle.control()).call(request).await?.into_body().collect().await?;
//! assert!(answer.to_bytes().starts_with(b"stays at 3"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod page;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::policy::{Override, OverrideKind};
use crate::run::Control;
use crate::{Inputs, Spec, State, UnixMillis, decide, explain};

/// Inputs of a thousand pods fit.
const LONGEST_BODY: usize = 1 << 20;

/// The service.
#[derive(Clone, Debug)]
pub struct Admin {
    control: Control,
}

/// The answer on its way.
pub struct Answer(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>);

#[derive(Deserialize)]
struct OverrideOrder {
    kind: OverrideKind,
    author: String,
    reason: String,
    seconds: u64,
}

impl Admin {
    /// Over a running loop.
    #[must_use]
    pub fn new(control: Control) -> Self {
        Self { control }
    }

    fn answer(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let control = &self.control;
        let latest = || control.latest();
        match (method, uri.path()) {
            (&Method::GET, "/" | "") => match moment(uri, "record") {
                Some(at) => self.record(Some(at)),
                None => html(page::page(control, moment(uri, "at"))),
            },
            (&Method::GET, "/record") => self.record(moment(uri, "at")),
            (&Method::GET, "/status") => as_json(&control.status()),
            (&Method::GET, "/decisions") => as_json(&control.status().decisions),
            (&Method::GET, "/why") => match latest() {
                Some(decision) => text("text/plain; charset=utf-8", decision.why()),
                None => refuse(StatusCode::NOT_FOUND, "no decision was made yet", None),
            },
            (&Method::GET, "/why.svg") => match latest() {
                Some(decision) => text("image/svg+xml", explain::svg(&decision)),
                None => refuse(StatusCode::NOT_FOUND, "no decision was made yet", None),
            },
            (&Method::POST, "/what-if") => self.what_if(body),
            (&Method::GET, "/spec") => as_json(&control.spec()),
            (&Method::PUT, "/spec") => self.configure(headers, body),
            (&Method::GET, "/override") => as_json(&control.state().current_override()),
            (&Method::PUT, "/override") => self.set_override(body),
            (&Method::DELETE, "/override") => match author(headers) {
                Some(author) => as_json(&control.clear_override(author)),
                None => anonymous(),
            },
            #[cfg(feature = "schedule")]
            (&Method::GET, "/schedules") => as_json(&control.spec().policies().schedules),
            (&Method::GET, "/audit") => as_json(&control.audit()),
            _ => refuse(StatusCode::NOT_FOUND, "there is no such route", None),
        }
    }

    /// The decision made at `at`, or the latest, with all it was made from.
    fn record(&self, at: Option<UnixMillis>) -> Response<Full<Bytes>> {
        let records = self.control.records();
        let mut kept = records.iter();
        match kept.find(|record| at.is_none_or(|at| record.now == at)) {
            Some(record) => as_json(record),
            None => refuse(StatusCode::NOT_FOUND, "no such decision is kept", None),
        }
    }

    fn what_if(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let inputs: Inputs = match serde_json::from_slice(body) {
            Ok(inputs) => inputs,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error, None),
        };
        let mut state: State = self.control.state();
        let decision = decide(
            &self.control.spec(),
            &mut state,
            &inputs,
            self.control.now(),
        );
        as_json(&json!({ "why": decision.why(), "decision": decision }))
    }

    fn configure(&self, headers: &HeaderMap, body: &[u8]) -> Response<Full<Bytes>> {
        let Some(author) = author(headers) else {
            return anonymous();
        };
        let parts: crate::spec::SpecBuilder = match serde_json::from_slice(body) {
            Ok(parts) => parts,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error, None),
        };
        let spec: Spec = match parts.build() {
            Ok(spec) => spec,
            Err(error) => {
                let field = Some(error.field());
                return refuse(StatusCode::UNPROCESSABLE_ENTITY, error.problem(), field);
            }
        };
        self.control.configure_by(author, spec.clone());
        as_json(&spec)
    }

    fn set_override(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let order: OverrideOrder = match serde_json::from_slice(body) {
            Ok(order) => order,
            Err(error) => return refuse(StatusCode::BAD_REQUEST, error, None),
        };
        let OverrideOrder {
            kind,
            author,
            reason,
            seconds,
        } = order;
        let expires_at = self.control.now() + Duration::from_secs(seconds);
        let manual = Override {
            kind,
            author,
            reason,
            expires_at,
        };
        match self.control.set_override(manual.clone()) {
            Ok(()) => as_json(&manual),
            Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, error, None),
        }
    }
}

fn author(headers: &HeaderMap) -> Option<&str> {
    let author = headers.get("x-author")?.to_str().ok()?.trim();
    (!author.is_empty() && author.len() <= 256).then_some(author)
}

/// A time in milliseconds from the query.
fn moment(uri: &Uri, key: &str) -> Option<UnixMillis> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let (_, millis) = pairs.find(|(name, _)| *name == key)?;
    millis.parse().ok().map(UnixMillis::from_millis)
}

fn anonymous() -> Response<Full<Bytes>> {
    refuse(
        StatusCode::UNPROCESSABLE_ENTITY,
        "a change needs its author in x-author",
        Some("x-author"),
    )
}

fn as_json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string(value) {
        Ok(json) => text("application/json", json),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error, None),
    }
}

fn refuse(status: StatusCode, error: impl Display, field: Option<&str>) -> Response<Full<Bytes>> {
    let body: Value = json!({ "error": error.to_string(), "field": field });
    let mut answer = text("application/json", body.to_string());
    *answer.status_mut() = status;
    answer
}

/// Nothing may be loaded and nothing may run: the page is all there is.
fn html(body: String) -> Response<Full<Bytes>> {
    let mut answer = text("text/html; charset=utf-8", body);
    answer.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        header::HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
        ),
    );
    answer
}

fn text(media: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(media),
    );
    answer
}

impl<B> tower_service::Service<Request<B>> for Admin
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answer {
        let admin = self.clone();
        Answer(Box::pin(async move {
            let (head, body) = request.into_parts();
            match Limited::new(body, LONGEST_BODY).collect().await {
                Ok(body) => admin.answer(&head.method, &head.uri, &head.headers, &body.to_bytes()),
                Err(error) => refuse(StatusCode::PAYLOAD_TOO_LARGE, error, None),
            }
        }))
    }
}

impl Future for Answer {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}
