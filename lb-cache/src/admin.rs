//! Statistics, inspection, invalidation and clearing over HTTP.
//!
//! A cloneable tower service without prefix and without authentication: the
//! application mounts it where it likes and guards it as it must.
//!
//! | request | answer |
//! |---------|--------|
//! | `GET /stats` | statistics of every cache |
//! | `GET /caches/{namespace}/stats` | statistics of one |
//! | `GET /caches/{namespace}/policy` | its effective policy |
//! | `GET /caches/{namespace}/entry?key=K` | what this process holds under a key, without the value; 404 if nothing |
//! | `POST /caches/{namespace}/invalidate?key=K` | removes a key from every level |
//! | `POST /caches/{namespace}/clear[?level=local\|shared\|database]` | clears one level, or all |
//!
//! Everything else is 404, 405 or 400 with `{"error": …}`; a tier that refuses is 502.
//!
//! ```
//! use lb_cache::admin::Admin;
//! use lb_cache::{Local, TieredCache};
//! use tower_service::Service;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let results = TieredCache::<String, u64>::builder("results").local(Local::lru(10)).build()?;
//! let mut admin = Admin::new().with(&results);
//! let answer = admin.call(http::Request::get("/caches/results/stats").body(())?).await?;
//! assert_eq!(answer.status(), 200);
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::cache::{Level, TieredCache};
use crate::error::CacheError;
use crate::source::BoxFuture;
use crate::wire::WireKey;

/// The service; see the module. Clones share the caches.
#[derive(Clone, Default)]
pub struct Admin {
    caches: BTreeMap<String, Arc<dyn Managed>>,
}

impl Admin {
    /// A service without caches.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cache under its namespace; one of the same name is replaced.
    #[must_use]
    pub fn with<K, V>(mut self, cache: &TieredCache<K, V>) -> Self
    where
        K: WireKey + Hash + Eq + Clone + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        self.caches
            .insert(cache.namespace().to_owned(), Arc::new(cache.clone()));
        self
    }

    async fn answer(self, method: Method, path: String, query: String) -> Result<Value, Refusal> {
        let segments: Vec<&str> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .collect();
        match (&method, segments.as_slice()) {
            (&Method::GET, ["stats"]) => Ok(
                json!({ "caches": self.caches.values().map(|cache| cache.stats()).collect::<Vec<_>>() }),
            ),
            (_, ["stats"]) => Err(Refusal::Method(GET)),
            (_, ["caches", name, action]) => {
                let cache = self.caches.get(*name).ok_or(Refusal::NotFound)?;
                Arc::clone(cache).act(&method, action, &query).await
            }
            _ => Err(Refusal::NotFound),
        }
    }
}

const GET: HeaderValue = HeaderValue::from_static("GET");
const POST: HeaderValue = HeaderValue::from_static("POST");

/// Why a request is not answered.
#[derive(Debug)]
enum Refusal {
    NotFound,
    /// With the one that is allowed.
    Method(HeaderValue),
    BadRequest(&'static str),
    Tier(CacheError),
}

impl Refusal {
    fn parts(&self) -> (StatusCode, String) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not found".to_owned()),
            Self::Method(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed".to_owned(),
            ),
            Self::BadRequest(why) => (StatusCode::BAD_REQUEST, (*why).to_owned()),
            Self::Tier(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let (status, error) = self.parts();
        let mut response = respond(status, &json!({ "error": error }));
        if let Self::Method(allowed) = self {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
        response
    }
}

/// A cache whose types are gone.
trait Managed: Send + Sync {
    fn stats(&self) -> Value;
    fn act<'a>(
        self: Arc<Self>,
        method: &'a Method,
        action: &'a str,
        query: &'a str,
    ) -> BoxFuture<'a, Result<Value, Refusal>>
    where
        Self: 'a;
}

impl<K, V> Managed for TieredCache<K, V>
where
    K: WireKey + Hash + Eq + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn stats(&self) -> Value {
        json!(TieredCache::stats(self))
    }

    fn act<'a>(
        self: Arc<Self>,
        method: &'a Method,
        action: &'a str,
        query: &'a str,
    ) -> BoxFuture<'a, Result<Value, Refusal>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match (method, action) {
                (&Method::GET, "stats") => Ok(json!(TieredCache::stats(&self))),
                (&Method::GET, "policy") => Ok(json!(self.policy())),
                (&Method::GET, "entry") => self
                    .inspect(&key(query)?)
                    .map(|held| json!(held))
                    .ok_or(Refusal::NotFound),
                (&Method::POST, "invalidate") => {
                    self.invalidate(&key(query)?).await.map_err(Refusal::Tier)?;
                    Ok(json!({ "invalidated": 1 }))
                }
                (&Method::POST, "clear") => {
                    match level(query)? {
                        Some(level) => self.clear_level(level).await,
                        None => self.clear().await,
                    }
                    .map_err(Refusal::Tier)?;
                    Ok(json!({ "cleared": self.namespace() }))
                }
                (_, "stats" | "policy" | "entry") => Err(Refusal::Method(GET)),
                (_, "invalidate" | "clear") => Err(Refusal::Method(POST)),
                _ => Err(Refusal::NotFound),
            }
        })
    }
}

fn key<K: WireKey>(query: &str) -> Result<K, Refusal> {
    let wire =
        parameter(query, "key").ok_or(Refusal::BadRequest("the parameter `key` is missing"))?;
    K::from_wire(&wire).ok_or(Refusal::BadRequest(
        "the parameter `key` is no key of this cache",
    ))
}

fn level(query: &str) -> Result<Option<Level>, Refusal> {
    match parameter(query, "level").as_deref() {
        None => Ok(None),
        Some(b"local") => Ok(Some(Level::Local)),
        Some(b"shared") => Ok(Some(Level::Shared)),
        Some(b"database") => Ok(Some(Level::Database)),
        Some(_) => Err(Refusal::BadRequest("`level` is local, shared or database")),
    }
}

/// One parameter of a query string, decoded.
fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_encoding::percent_decode_str(value).collect())
}

impl<B> tower_service::Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let admin = self.clone();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Box::pin(async move {
            let query = uri.query().unwrap_or_default().to_owned();
            let answer = admin.answer(method, uri.path().to_owned(), query).await;
            Ok(answer.map_or_else(Refusal::into_response, |body| {
                respond(StatusCode::OK, &body)
            }))
        })
    }
}

fn respond(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Admin").field(&self.caches.keys()).finish()
    }
}
