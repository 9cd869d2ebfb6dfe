//! A gateway and nothing else: `--listen ADDR --workers N --upstreams a,b,c`.
//!
//! `cargo run --release -p lb-core --example serve_gateway -- \
//!     --listen 127.0.0.1:8000 --workers 2 --upstreams 127.0.0.1:8001,127.0.0.1:8002`
//!
//! With `--axum` the same proxy is served as the fallback of an axum router,
//! with `--affinity` it binds clients by cookie.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use lb_core::policy::RoundRobin;
use lb_core::proxy::{ServeOptions, serve_gateway};
use lb_core::{Affinity, Pool, ReverseProxy};

struct Arguments {
    listen: SocketAddr,
    workers: usize,
    upstreams: Vec<String>,
    axum: bool,
    affinity: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::read()?;
    let mut pool = Pool::builder("upstreams")
        .endpoints(arguments.upstreams.iter().map(String::as_str))
        .policy(RoundRobin::default());
    if arguments.affinity {
        pool = pool.affinity(Affinity::cookie(
            "lb_session",
            "only for measuring its cost",
        ));
    }
    let proxy = pool.build()?.reverse_proxy();
    if arguments.axum {
        serve_axum(proxy, &arguments)
    } else {
        serve(&proxy, &arguments)
    }
}

fn serve(proxy: &ReverseProxy, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let options = ServeOptions::new(arguments.listen).workers(arguments.workers);
    let server = serve_gateway(proxy, &options)?;
    println!("listening on {}", server.local_addr());
    loop {
        std::thread::park();
    }
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
            affinity: false,
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
                "--affinity" => read.affinity = true,
                other => return Err(format!("unknown argument {other}").into()),
            }
        }
        if read.upstreams.is_empty() {
            return Err("--upstreams a,b,c is required".into());
        }
        Ok(read)
    }
}
