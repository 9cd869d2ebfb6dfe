//! Who accepts connections, and what stands around the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use lb_core::ReverseProxy;
use lb_core::limit::{ConcurrencyLimitLayer, Fixed, Quota, RateLimitLayer};
use lb_core::proxy::{GatewayServer, ServeOptions, serve_gateway};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::naive;
use super::panics::{Panics, Place};
use super::plan::{Front, Plan};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// Requests that wait for their turn when the concurrency is used up.
const QUEUE: usize = 8;
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// A running front.
pub(super) enum Served {
    Own(GatewayServer),
    Task(
        SocketAddr,
        #[expect(dead_code, reason = "held, never asked")] JoinHandle<()>,
    ),
}

impl Served {
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Own(server) => server.local_addr(),
            Self::Task(address, _) => *address,
        }
    }
}

pub(super) async fn serve(
    plan: &Plan,
    proxy: &ReverseProxy,
    panics: &Arc<Panics>,
) -> Result<Served> {
    if plan.front == Front::Own {
        let options = ServeOptions::new(ANY)
            .workers(1)
            .head_timeout(Duration::from_secs(plan.head_seconds));
        return Ok(Served::Own(serve_gateway(proxy, &options)?));
    }
    let listener = TcpListener::bind(ANY).await?;
    let address = listener.local_addr()?;
    let app = router(plan, proxy, panics)?;
    let task = if plan.front == Front::Axum {
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                eprintln!("the front ended: {error}");
            }
        })
    } else {
        tokio::spawn(accept_without_pause(listener, app))
    };
    Ok(Served::Task(address, task))
}

fn router(plan: &Plan, proxy: &ReverseProxy, panics: &Arc<Panics>) -> Result<Router> {
    let proxy = proxy.clone().peer(|extensions| {
        extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0)
    });
    let mut app = Router::new().fallback_service(proxy);
    if let Some(requests) = plan.concurrency {
        let layer = ConcurrencyLimitLayer::queued(Fixed(requests), QUEUE, LONGEST_WAIT);
        app = app.layer(layer);
    }
    if let Some(requests) = plan.rate {
        if plan.naive_rate {
            let limit = Arc::new(naive::WallLimit::new(requests));
            app = app.layer(axum::middleware::from_fn(move |request, next| {
                naive::limit(Arc::clone(&limit), request, next)
            }));
        } else {
            let panics = Arc::clone(panics);
            let quota = Quota::new(requests, Duration::from_secs(1))?;
            app = app.layer(RateLimitLayer::new(
                quota,
                move |_: &http::request::Parts| {
                    panics.spring(Place::Key);
                    Some("everybody")
                },
            )?);
        }
    }
    if plan.catch_panics {
        app = app.layer(axum::middleware::from_fn(super::panics::catch));
    }
    Ok(app)
}

/// What many a first version looks like: errors of accept are tried again at once, and
/// nothing of HTTP/2 is limited.
async fn accept_without_pause(listener: TcpListener, app: Router) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_pending_accept_reset_streams(usize::MAX)
        .max_local_error_reset_streams(None)
        .max_header_list_size(u32::MAX)
        .max_concurrent_streams(None);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        let builder = builder.clone();
        tokio::spawn(async move {
            // How a client ends its connection is its own affair.
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
                .await;
        });
    }
}
