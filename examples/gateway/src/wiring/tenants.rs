//! Trusted proxies -> tenants. Who a client is, is for whoever authenticates in front of this gateway
//! to say, in the header `x-tenant`. From anybody else that header is dropped, as `x-forwarded-for`
//! is, before this gateway or an instance can read it: the request is then nobody's in particular.

use axum::Router;
use axum::extract::Request;
use lb_core::client::{PeerAddr, TrustedProxies};
use simulation::service::TENANT;
use tower::util::MapRequestLayer;

/// Lets tenants through that a trusted proxy names.
pub fn believe(routes: Router, trusted: &TrustedProxies) -> Router {
    let trusted = trusted.clone();
    let check = move |mut request: Request| {
        let peer = request.extensions().get::<PeerAddr>();
        if !peer.is_some_and(|peer| trusted.contains(peer.0.ip())) {
            request.headers_mut().remove(TENANT);
        }
        request
    };
    routes.layer(MapRequestLayer::new(check))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderMap;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    /// Which tenants an application behind this seam reads.
    async fn heard(trusted: &[&str], peer: Option<[u8; 4]>) -> String {
        let networks = trusted.iter().map(|network| network.parse().unwrap());
        let names = |headers: HeaderMap| async move {
            let names: Vec<_> = headers.get_all(TENANT).iter().collect();
            format!("{names:?}")
        };
        let app = believe(
            Router::new().fallback(names),
            &TrustedProxies::new(networks),
        );
        let mut request = Request::builder()
            .header(TENANT, "research")
            .header("X-Tenant", "teaching")
            .body(Body::empty())
            .unwrap();
        if let Some(ip) = peer {
            let peer = PeerAddr((ip, 50_000).into());
            request.extensions_mut().insert(peer);
        }
        let answer = app.oneshot(request).await.unwrap().into_body();
        String::from_utf8_lossy(&answer.collect().await.unwrap().to_bytes()).into_owned()
    }

    #[tokio::test]
    async fn a_tenant_is_believed_from_a_trusted_proxy_and_from_nobody_else() {
        let all = r#"["research", "teaching"]"#;
        let proxies = ["10.0.0.0/8"];
        assert_eq!(heard(&proxies, Some([10, 1, 2, 3])).await, all);
        assert_eq!(heard(&proxies, Some([192, 0, 2, 1])).await, "[]");
        assert_eq!(heard(&proxies, None).await, "[]", "an unknown peer");
        assert_eq!(heard(&[], Some([127, 0, 0, 1])).await, "[]", "by default");
    }
}
