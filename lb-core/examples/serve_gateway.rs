//! A gateway and nothing else: `--listen ADDR --workers N --upstreams a,b,c`.
//!
//! `cargo run --release -p lb-core --example serve_gateway -- \
//!     --listen 127.0.0.1:8000 --workers 2 --upstreams 127.0.0.1:8001,127.0.0.1:8002`
//!
//! With `--axum` the same proxy is served as the fallback of an axum router. With
//! `--full` everything that production has is on: probes, outlier detection, a
//! signed cookie per client, and a recorder behind the metrics.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use lb_core::health::{HealthCheck, HttpProbe};
use lb_core::outlier::OutlierDetection;
use lb_core::policy::RoundRobin;
use lb_core::proxy::{ServeOptions, serve_gateway};
use lb_core::{Affinity, Pool, ReverseProxy};
use metrics_exporter_prometheus::PrometheusBuilder;

/// Seconds, as they are added up over many gateways.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

struct Arguments {
    listen: SocketAddr,
    workers: usize,
    upstreams: Vec<String>,
    axum: bool,
    full: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read()?;
    // Probes, the recorder's upkeep: whatever is not a request runs here.
    let background = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = background.enter();
    let proxy = pool(&arguments)?.reverse_proxy();
    drop(inside);
    if arguments.axum {
        std::thread::spawn(move || background.block_on(std::future::pending::<()>()));
        return serve_axum(proxy, &arguments);
    }
    let options = ServeOptions::new(arguments.listen).workers(arguments.workers);
    let server = serve_gateway(&proxy, &options)?;
    println!("listening on {}", server.local_addr());
    background.block_on(std::future::pending::<()>());
    Ok(())
}

fn pool(arguments: &Arguments) -> Result<Pool, Box<dyn Error>> {
    let pool = Pool::builder("upstreams")
        .endpoints(arguments.upstreams.iter().map(String::as_str))
        .policy(RoundRobin::default());
    if !arguments.full {
        return Ok(pool.build()?);
    }
    let recorder = PrometheusBuilder::new().set_buckets(&BUCKETS)?;
    let recorder = recorder.install_recorder()?;
    tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_secs(5));
        loop {
            pause.tick().await;
            recorder.run_upkeep();
        }
    });
    let affinity = Affinity::cookie("lb_session", "only for measuring its cost");
    Ok(pool
        .affinity(affinity)
        .health(HealthCheck::new(HttpProbe::get("/s")?).every(Duration::from_secs(5)))
        .outlier(OutlierDetection::default())
        .build()?)
}

fn serve_axum(proxy: ReverseProxy, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let proxy = proxy.peer(|extensions| {
        extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0)
    });
    let app = Router::new().fallback_service(proxy);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.workers)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
        println!("listening on {}", listener.local_addr()?);
        axum::serve(listener, app).await?;
        Ok(())
    })
}

impl Arguments {
    fn read() -> Result<Self, Box<dyn Error>> {
        let mut read = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            workers: 1,
            upstreams: Vec::new(),
            axum: false,
            full: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--listen" => read.listen = value()?.parse()?,
                "--workers" => read.workers = value()?.parse()?,
                "--upstreams" => {
                    let list = value()?;
                    read.upstreams = list.split(',').map(|one| format!("http://{one}")).collect();
                }
                "--axum" => read.axum = true,
                "--full" => read.full = true,
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        if read.upstreams.is_empty() {
            return Err("--upstreams a,b,c is required".into());
        }
        Ok(read)
    }
}
