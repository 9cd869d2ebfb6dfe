//! `gateway up http://a http://b`: balancing, health and the page over given upstreams.
//!
//! Nothing to configure: the policy is least request, health is asked actively, who fails its
//! requests is ejected for a while, clients have limits, HTTP and WebSocket go through, and the page is at
//! `/` of an address of its own, with `/metrics` beside it, so that no path of the upstreams is hidden.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use lb_core::Pool;
use lb_core::client::TrustedProxies;
use lb_core::health::{HealthCheck, HttpProbe};
use lb_core::outlier::OutlierDetection;
use lb_core::proxy::ReverseProxy;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::UpArgs;
use crate::http::{Board, board};
use crate::wiring::limits::Limits;
use crate::{clock, observe, server};

const EXAMPLE: &str = "upstreams look like http://10.0.0.1:8000";

/// A gateway over given upstreams.
#[derive(Debug)]
pub struct Up {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where the page is.
    pub page: SocketAddr,
    proxy: ReverseProxy,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Up {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If an upstream is no address, or a port is taken.
    pub async fn start(args: UpArgs) -> anyhow::Result<Self> {
        let recorder = observe::record();
        let upstreams = upstreams(&args.upstreams)?;
        let health = health(&args)?;
        let pool = Pool::builder("up")
            .endpoints(upstreams)
            .health(health)
            .outlier(OutlierDetection::default())
            .build();
        let pool = pool.context(EXAMPLE)?;
        let listener = TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
        let page = TcpListener::bind(SocketAddr::new(args.listen.ip(), 0)).await?;
        let trusted = TrustedProxies::from(args.trust);
        let up = Self {
            address: listener.local_addr()?,
            page: page.local_addr()?,
            proxy: pool.reverse_proxy().trust(trusted.clone()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let limits = Limits::new(args.limits.per_second()?, trusted)?;
        let app = limits.wrap(axum::Router::new().fallback_service(up.proxy.clone()));
        up.tasks
            .spawn(server::serve(listener, app, up.stop.clone()));
        let board = board(Board::start(snapshots(pool)));
        let board = board.merge(observe::routes(recorder, || ()));
        up.tasks.spawn(server::serve(page, board, up.stop.clone()));
        Ok(up)
    }

    /// Takes no new connections and lets running requests end.
    pub async fn stop(self) {
        self.stop.cancel();
        self.proxy.close_tunnels();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Any answer is a sign of life: nobody said which paths these upstreams know.
fn health(args: &UpArgs) -> anyhow::Result<HealthCheck> {
    let probe = HttpProbe::get(&args.health_path).context("a health path looks like /health")?;
    let every = Duration::from_secs(u64::from(args.health_seconds.get()));
    let deadline = every.min(Duration::from_secs(2));
    let check = HealthCheck::new(probe.any_answer())
        .every(every)
        .timeout(deadline);
    Ok(check.fall(2).rise(1))
}

/// The addresses in one spelling. What would be served otherwise than it reads is refused here:
/// nobody would notice before the first request, or ever.
fn upstreams(args: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all: Vec<String> = Vec::with_capacity(args.len());
    for text in args {
        let address = address(text).with_context(|| format!("{text:?} is no upstream"))?;
        ensure!(!all.contains(&address), "{text:?} is named twice");
        all.push(address);
    }
    Ok(all)
}

/// `10.0.0.1:8000` is as good as `http://10.0.0.1:8000/`.
fn address(text: &str) -> anyhow::Result<String> {
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = whole.parse().context(EXAMPLE)?;
    let scheme = uri.scheme_str().unwrap_or_default();
    ensure!(
        ["http", "h2c"].contains(&scheme),
        "this gateway speaks http or h2c with upstreams, not {scheme}"
    );
    let authority = uri.authority().context(EXAMPLE)?;
    let (host, spelt) = (authority.host(), authority.as_str());
    ensure!(!spelt.contains('@'), "an upstream has no user; {EXAMPLE}");
    ensure!(authority.port().is_some() || spelt == host, EXAMPLE);
    let bare = uri.path_and_query().is_none_or(|rest| rest == "/");
    ensure!(bare, "requests keep their own path; {EXAMPLE}");
    Ok(format!("{scheme}://{}", spelt.to_ascii_lowercase()))
}

fn snapshots(pool: Pool) -> impl Fn() -> BoxFuture<'static, String> + Send + 'static {
    let begun = clock::now();
    move || {
        let uptime = clock::now().saturating_duration_since(begun).as_secs_f64();
        let page = json!({ "uptime_seconds": uptime, "pool": pool.status() }).to_string();
        async move { page }.boxed()
    }
}
