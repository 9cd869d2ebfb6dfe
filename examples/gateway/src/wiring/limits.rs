//! Clients -> everything. So many requests per client and second, fewer of them uploads; what is too
//! much is answered 429 with `Retry-After`. The page, the scaling API and the metrics stay open: who
//! is flooded must be able to look.

use std::time::Duration;

use axum::Router;
use http::{Method, header, request::Parts};
use lb_core::client::{PeerAddr, TrustedProxies};
use lb_core::limit::{Client, Quota, QuotaError, RateLimitLayer, RateLimiter};

/// A body from this size on is an upload; so is one of unknown size.
const UPLOAD_BYTES: u64 = 64 * 1024;

/// What one client may do. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Limits {
    requests: RateLimiter<Client>,
    uploads: RateLimiter<Client>,
    trusted: TrustedProxies,
}

/// Limits per client and second, and as many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSecond {
    requests: Quota,
    uploads: Quota,
}

impl PerSecond {
    /// So many requests of any kind, so many of them uploads.
    ///
    /// # Errors
    ///
    /// [`QuotaError`] if either is zero.
    pub fn new(requests: u32, uploads: u32) -> Result<Self, QuotaError> {
        let second = Duration::from_secs(1);
        Ok(Self {
            requests: Quota::new(requests, second)?,
            uploads: Quota::new(uploads, second)?,
        })
    }

    /// Requests of any kind.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.requests()
    }

    /// Of them uploads.
    #[must_use]
    pub fn uploads(&self) -> u32 {
        self.uploads.requests()
    }
}

impl Limits {
    /// A client is the address of its connection, or the one that a `trusted` proxy names.
    ///
    /// # Errors
    ///
    /// Never: each [`PerSecond`] was checked.
    pub fn new(limits: PerSecond, trusted: TrustedProxies) -> Result<Self, QuotaError> {
        Ok(Self {
            requests: RateLimiter::new(limits.requests)?,
            uploads: RateLimiter::new(limits.uploads)?,
            trusted,
        })
    }

    /// The limits in force.
    #[must_use]
    pub fn get(&self) -> PerSecond {
        PerSecond {
            requests: self.requests.quota(),
            uploads: self.uploads.quota(),
        }
    }

    /// Other limits from now on. One that stays leaves its counts alone.
    ///
    /// # Errors
    ///
    /// Never: each [`PerSecond`] was checked.
    pub fn set(&self, limits: PerSecond) -> Result<(), QuotaError> {
        for (limiter, quota) in [
            (&self.requests, limits.requests),
            (&self.uploads, limits.uploads),
        ] {
            if limiter.quota() != quota {
                limiter.set_quota(quota)?;
            }
        }
        Ok(())
    }

    /// Limits the clients of these routes.
    pub fn wrap(&self, routes: Router) -> Router {
        let [trusted, of_uploads] = [(); 2].map(|()| self.trusted.clone());
        let requests = move |head: &Parts| client(&trusted, head);
        let uploads = move |head: &Parts| client(&of_uploads, head).filter(|_| is_upload(head));
        routes
            .layer(RateLimitLayer::with_limiter(self.uploads.clone(), uploads))
            .layer(RateLimitLayer::with_limiter(
                self.requests.clone(),
                requests,
            ))
    }
}

/// By the address of the connection: what a request says of itself proves nothing, unless it is a
/// trusted proxy that says it.
fn client(trusted: &TrustedProxies, head: &Parts) -> Option<Client> {
    let peer = head.extensions.get::<PeerAddr>()?.0.ip();
    Some(Client::from(trusted.client(peer, &head.headers)))
}

fn is_upload(head: &Parts) -> bool {
    if !matches!(head.method, Method::PUT | Method::POST | Method::PATCH) {
        return false;
    }
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
    match length {
        Some(length) => length.is_none_or(|length: u64| length >= UPLOAD_BYTES),
        None => head.headers.contains_key(header::TRANSFER_ENCODING),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, Response, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    fn limits(requests: u32, uploads: u32) -> PerSecond {
        PerSecond::new(requests, uploads).unwrap()
    }

    async fn send(routes: &Router, ip: [u8; 4], length: u64) -> Response<Body> {
        send_for(routes, ip, "198.51.100.9", length).await
    }

    /// A request that says it comes from `client`.
    async fn send_for(routes: &Router, ip: [u8; 4], client: &str, length: u64) -> Response<Body> {
        let mut request = Request::post("/")
            .header("content-length", length)
            .header("x-forwarded-for", client)
            .body(Body::empty())
            .unwrap();
        let peer = PeerAddr((ip, 50_000).into());
        request.extensions_mut().insert(peer);
        routes.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn each_client_has_its_own_share_and_is_told_when_to_come_back() {
        let all = Limits::new(limits(2, 1), TrustedProxies::default()).unwrap();
        let routes = all.wrap(Router::new().fallback(|| async { "here" }));
        let (one, other) = ([192, 0, 2, 1], [192, 0, 2, 2]);
        for (client, status) in [(one, 200), (one, 200), (one, 429), (other, 200)] {
            assert_eq!(send(&routes, client, 0).await.status().as_u16(), status);
        }
        let refused = send(&routes, one, 0).await;
        assert_eq!(refused.headers()["retry-after"], "1");
    }

    #[tokio::test]
    async fn clients_behind_a_trusted_proxy_are_told_apart_and_no_others() {
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let all = Limits::new(limits(1, 1), proxies).unwrap();
        let routes = all.wrap(Router::new().fallback(|| async { "here" }));
        let (proxy, stranger) = ([10, 0, 0, 1], [192, 0, 2, 1]);
        for (peer, client, status) in [
            (proxy, "198.51.100.1", 200),
            (proxy, "198.51.100.2", 200),
            (proxy, "198.51.100.1", 429),
            (stranger, "198.51.100.3", 200),
            (stranger, "198.51.100.4", 429),
        ] {
            let answer = send_for(&routes, peer, client, 0).await;
            assert_eq!(answer.status().as_u16(), status, "{peer:?} {client}");
        }
    }

    #[tokio::test]
    async fn uploads_have_a_limit_of_their_own_that_can_be_changed() {
        let all = Limits::new(limits(100, 1), TrustedProxies::default()).unwrap();
        let routes = all.wrap(Router::new().fallback(|| async { "here" }));
        let client = [192, 0, 2, 1];
        for (length, status) in [(1 << 20, 200), (1 << 20, 429), (10, 200)] {
            assert_eq!(
                send(&routes, client, length).await.status().as_u16(),
                status
            );
        }
        all.set(limits(100, 50)).unwrap();
        assert_eq!(
            send(&routes, client, 1 << 20).await.status(),
            StatusCode::OK
        );
        assert_eq!((all.get().requests(), all.get().uploads()), (100, 50));
        assert!(PerSecond::new(100, 0).is_err());
    }
}
