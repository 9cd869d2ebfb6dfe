//! The registry's view over HTTP, to be mounted where the application wants it.
//!
//! | request                         | answer                                                          |
//! |---------------------------------|-----------------------------------------------------------------|
//! | `GET /`                         | every followed set with its origin, as JSON                     |
//! | `GET /{service}`                | one set; 404 if it is not followed                              |
//! | `POST /{id}/drain?reason=…`     | takes an instance of the own store out of use; 404 if unknown   |
//! | `POST /{id}/resume`             | and back into use                                               |
//!
//! There is no authentication here: that is the application's part.
//!
//! ```
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use lb_registry::admin::Admin;
//! use lb_registry::{Discovery, Fixed, Instance};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Fixed::new([Instance::new("web", "a", "10.0.0.1", 80)]);
//! let mut admin = Admin::of([registry.watch("web")]);
//! let response = admin.call(http::Request::get("/web").body(Full::<Bytes>::default())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::{InProcess, Registry, RegistryError, Snapshot, Watch};

/// The answer to come.
pub type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

/// The registry's view over HTTP. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct Admin {
    watches: Arc<[Watch]>,
    store: Option<InProcess>,
}

impl Admin {
    /// Shows these sets.
    pub fn of(watches: impl IntoIterator<Item = Watch>) -> Self {
        Self {
            watches: watches.into_iter().collect(),
            store: None,
        }
    }

    /// Drains and resumes instances of this store. Default: none, and these requests are 404.
    #[must_use]
    pub fn store(mut self, store: &InProcess) -> Self {
        self.store = Some(store.clone());
        self
    }

    async fn answer(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> (StatusCode, Value) {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let parts: Vec<String> = parts.map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (method, parts.as_slice()) {
            (&Method::GET, []) => {
                let sets: Vec<Arc<Snapshot>> = self.watches.iter().map(Watch::latest).collect();
                (StatusCode::OK, json!({"services": sets}))
            }
            (&Method::GET, [service]) => {
                let found = self
                    .watches
                    .iter()
                    .map(Watch::latest)
                    .find(|set| set.service == *service);
                found.map_or_else(|| not_found(service), |set| (StatusCode::OK, json!(set)))
            }
            (&Method::POST, [id, "drain"]) => {
                let mut pairs = query.unwrap_or_default().split('&');
                let reason = pairs.find_map(|pair| pair.strip_prefix("reason="));
                let reason = decoded(&reason.unwrap_or_default().replace('+', " "));
                self.drain(id, Some(&reason)).await
            }
            (&Method::POST, [id, "resume"]) => self.drain(id, None).await,
            (_, [] | [_] | [_, "drain" | "resume"]) => (
                StatusCode::METHOD_NOT_ALLOWED,
                json!({"error": "wrong method"}),
            ),
            _ => not_found(path),
        }
    }

    async fn drain(&self, id: &str, reason: Option<&str>) -> (StatusCode, Value) {
        let Some(store) = &self.store else {
            return not_found(id);
        };
        match Registry::set_draining(store, id, reason).await {
            Ok(()) => {
                tracing::info!(
                    id,
                    draining = reason.is_some(),
                    reason,
                    "an operator changed an instance"
                );
                (
                    StatusCode::OK,
                    json!({"id": id, "draining": reason.is_some()}),
                )
            }
            Err(RegistryError::Unknown { .. }) => not_found(id),
            Err(error) => (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({"error": error.to_string()}),
            ),
        }
    }
}

impl<B> tower_service::Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.clone();
        let (parts, _) = request.into_parts();
        Box::pin(async move {
            let (status, body) = admin
                .answer(&parts.method, parts.uri.path(), parts.uri.query())
                .await;
            let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok(response)
        })
    }
}

/// What was meant before it was escaped for a URL.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn not_found(what: &str) -> (StatusCode, Value) {
    (
        StatusCode::NOT_FOUND,
        json!({"error": "not found", "what": what}),
    )
}

#[cfg(test)]
mod tests {
    use tower_service::Service as _;

    use super::*;
    use crate::{Discovery as _, Instance, Registration, Status};

    #[tokio::test]
    async fn names_and_reasons_come_as_they_were_meant() {
        let store = InProcess::default();
        let one = Instance::new("web", "web 1/a", "10.0.0.1", 80);
        let registered = Registration::new(one);
        store.register(&registered).await.expect("there is room");
        let watch = store.watch("web");
        let mut admin = Admin::of([watch.clone()]).store(&store);
        let drain = Request::post("/web%201%2Fa/drain?by=me&reason=new+kernel%2C%20again");
        let answer = admin.call(drain.body(()).expect("a request")).await;
        assert_eq!(answer.expect("it never fails").status(), StatusCode::OK);
        assert_eq!(watch.latest().instances[0].status, Status::Draining);
        let notes = store.read(|catalog| {
            let notes = catalog.checks().map(|check| check.definition.notes.clone());
            notes.collect::<Vec<_>>()
        });
        let told = |note: &String| note == "new kernel, again";
        assert!(notes.iter().any(told), "{notes:?}");
    }
}
