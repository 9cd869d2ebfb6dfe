//! A registry that any Consul client can talk to, in any language.
//!
//! [`EmbeddedServer`] speaks the part of the Consul agent's HTTP interface that registration and discovery
//! need, over an [`InProcess`] store. It is a `tower_service::Service`, to be mounted in an application, and
//! serves by itself with [`EmbeddedServer::serve`].
//!
//! | paths under `/v1`                                                      |            |
//! |------------------------------------------------------------------------|------------|
//! | `agent/service/register`, `deregister/{id}`, `maintenance/{id}`, `{id}`| registration |
//! | `agent/check/register`, `deregister`, `pass`, `warn`, `fail`, `update` | checks     |
//! | `agent/services`, `checks`, `self`, `members`, `maintenance`, `health/service/{name,id}/…` | the agent's view |
//! | `health/service`, `checks`, `node`, `state`; `catalog/services`, `service`, `nodes`, `node`, `node-services`, `datacenters` | discovery, blocking |
//! | `kv/…`, `session/…`, `status/leader`, `status/peers`                   | small change |
//!
//! `/health` and `/ready` tell how the server itself is. Everything else is 404.
//!
//! # Limits and safety
//!
//! Bodies, headers, connections, blocked queries and everything that is stored are bounded; slow clients are
//! cut off. Probes only go where [`CheckTargets`] allows; script, Docker and gRPC checks are always refused.
//! With a [token](Builder::token) nothing can be read or changed without it.
//!
//! # What it does not do
//!
//! Connect, namespaces, prepared queries, transactions, events, catalog registration, gossip: there is one
//! node, this one. Redirects of probed services are not followed: a redirect is critical.
//!
//! ```no_run
//! use lb_registry::{EmbeddedServer, InProcess};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = InProcess::default();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8500").await?;
//! EmbeddedServer::new(store.clone()).serve(listener).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod agent;
mod agent_checks;
mod blocking;
mod body;
mod builder;
mod catalog;
mod clean;
mod decode;
mod decode_check;
mod filter;
mod health;
mod impatient;
mod kv;
mod limits;
mod probe;
mod query;
mod reply;
mod route;
mod schema;
mod serve;
mod session;
mod status;
mod targets;
mod view;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use self::access::Access;
pub use self::builder::Builder;
pub use self::limits::ServerLimits;
use self::query::Query;
use self::reply::{Failure, Reply};
use self::route::{Resource, Route};
pub use self::targets::CheckTargets;
use crate::{InProcess, observe};

/// Whose status codes to use where they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compatibility {
    /// Current Consul: 404 for what is unknown.
    #[default]
    Current,
    /// Consul 1.8: 200 for removing what is not there, 500 for an unknown check.
    V1_8,
}

/// A registry that any Consul client can talk to. See the [module documentation](self).
#[derive(Clone)]
pub struct EmbeddedServer {
    shared: Arc<Shared>,
}

struct Shared {
    store: InProcess,
    compatibility: Compatibility,
    access: access::AccessControl,
    targets: targets::Current,
    limits: ServerLimits,
    node: view::Node,
    blocked: Arc<tokio::sync::Semaphore>,
    persist: Option<std::path::PathBuf>,
}

/// Everything a handler needs to know about one request.
struct Call {
    shared: Arc<Shared>,
    access: Access,
    method: http::Method,
    query: Query,
    body: Bytes,
}

/// The answer to come.
pub type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

// === impl EmbeddedServer ===

impl EmbeddedServer {
    /// A server over this store, with everything as [`Builder`] says by default.
    #[must_use]
    pub fn new(store: InProcess) -> Self {
        Builder::new(store).build()
    }

    /// To set more than the store.
    pub fn builder(store: InProcess) -> Builder {
        Builder::new(store)
    }

    /// The store behind it.
    #[must_use]
    pub fn store(&self) -> &InProcess {
        &self.shared.store
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body + Send,
        B::Data: Send,
    {
        let reply = match self.route(request).await {
            Ok(reply) | Err(Failure(reply)) => reply,
        };
        let response = reply.into_response();
        observe::served(response.status());
        response
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Reply, Failure>
    where
        B: http_body::Body + Send,
        B::Data: Send,
    {
        let (parts, body) = request.into_parts();
        if let Some(redirect) = clean::redirect(&parts.uri) {
            return Ok(redirect);
        }
        let Route { resource, methods } = route::find(parts.uri.path())?;
        if parts.method == http::Method::OPTIONS {
            return Ok(reply::allow(methods));
        }
        if !methods.contains(&parts.method) {
            return Err(reply::wrong_method(&parts.method, methods));
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        query.check_namespace()?;
        if !resource.is_local() {
            query.check_datacenter(&self.shared.node.datacenter)?;
        }
        let access = self.shared.access.of(&parts.headers, &query);
        let limit = resource.body_limit(&self.shared);
        let body = body::read(body, limit, self.shared.limits.body_timeout).await?;
        let shared = Arc::clone(&self.shared);
        let call = Call {
            shared,
            access,
            method: parts.method,
            query,
            body,
        };
        let reply = call.dispatch(resource).await?;
        Ok(match self.shared.store.is_followed() {
            true => reply,
            false => reply.without_leader(),
        })
    }
}

impl<B> tower_service::Service<Request<B>> for EmbeddedServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(server.answer(request).await) })
    }
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("store", &self.shared.store)
            .field("compatibility", &self.shared.compatibility)
            .finish_non_exhaustive()
    }
}

// === impl Call ===

impl Call {
    async fn dispatch(&self, resource: Resource) -> Result<Reply, Failure> {
        if !resource.is_open() {
            self.access.must_be_known()?;
        }
        if !matches!(resource, Resource::Status(_)) && !self.store().is_ready() {
            // An empty list from one that has not heard of the others yet would be a lie.
            return Err(Failure::no_leader());
        }
        match resource {
            Resource::Agent(resource) => self.agent(resource).await,
            Resource::Check(resource) => self.agent_check(&resource).await,
            Resource::Health(resource) => self.health(&resource).await,
            Resource::Catalog(resource) => self.catalog(&resource).await,
            Resource::Key(key) => self.key(&key).await,
            Resource::Session(resource) => self.session(&resource).await,
            Resource::Status(resource) => Ok(self.status(resource)),
        }
    }

    fn store(&self) -> &InProcess {
        &self.shared.store
    }

    fn is_1_8(&self) -> bool {
        self.shared.compatibility == Compatibility::V1_8
    }
}
