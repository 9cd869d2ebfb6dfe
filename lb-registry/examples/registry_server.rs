//! A registry on its own port that any Consul client can use.
//!
//! ```text
//! cargo run --release -p lb-registry --example registry_server --all-features -- --listen 127.0.0.1:8500
//! ```
//!
//! | option             | meaning                                                    | default          |
//! |--------------------|------------------------------------------------------------|------------------|
//! | `--listen ADDR`    | where to listen                                            | `127.0.0.1:8500` |
//! | `--compat VERSION` | whose status codes: `current` or `1.8`                     | `current`        |
//! | `--token TOKEN`    | deny everything without this token                         | no rules         |
//! | `--persist FILE`   | keep services, checks and keys over a restart              | keep nothing     |
//! | `--etcd URL,…`     | share everything with other servers on this etcd           | share nothing    |
//! | `--prefix PREFIX`  | what every key in etcd begins with                         | `/lb-registry/`  |
//! | `--probe-loopback` | probe this machine's loopback addresses wherever it listens| only on loopback |

use std::error::Error;

use lb_registry::catalog::Limits;
use lb_registry::server::{CheckTargets, Compatibility};
use lb_registry::{EmbeddedServer, Etcd, InProcess};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug)]
struct Options {
    listen: String,
    compatibility: Compatibility,
    token: Option<String>,
    persist: Option<String>,
    etcd: Vec<String>,
    prefix: String,
    targets: CheckTargets,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::read(std::env::args().skip(1))?;
    let store = match &options.persist {
        Some(file) => InProcess::restore(file, Limits::default())?,
        None => InProcess::default(),
    };
    let _replica = match options.etcd.is_empty() {
        true => None,
        false => Some(
            Etcd::new(&options.etcd)?
                .prefix(options.prefix)
                .share(&store)?,
        ),
    };
    let mut server = EmbeddedServer::builder(store)
        .compatibility(options.compatibility)
        .check_targets(options.targets);
    if let Some(token) = options.token {
        server = server.token(token);
    }
    if let Some(file) = options.persist {
        server = server.persist(file);
    }
    let listener = TcpListener::bind(&options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = server.build().serve(listener) => ended?,
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            listen: "127.0.0.1:8500".into(),
            compatibility: Compatibility::Current,
            token: None,
            persist: None,
            etcd: Vec::new(),
            prefix: "/lb-registry/".into(),
            targets: CheckTargets::default(),
        };
        while let Some(word) = words.next() {
            if word == "--probe-loopback" {
                options.targets = options.targets.allow_loopback();
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--listen" => options.listen = value,
                "--token" => options.token = Some(value),
                "--persist" => options.persist = Some(value),
                "--etcd" => options.etcd = value.split(',').map(Into::into).collect(),
                "--prefix" => options.prefix = value,
                "--compat" => options.compatibility = compatibility(&value)?,
                other => return Err(format!("there is no option {other}").into()),
            }
        }
        if options.persist.is_some() && !options.etcd.is_empty() {
            // What a file remembers would come back from the dead in all servers.
            return Err("with --etcd nothing else is to be kept: leave --persist out".into());
        }
        Ok(options)
    }
}

fn compatibility(text: &str) -> Result<Compatibility, String> {
    match text {
        "current" => Ok(Compatibility::Current),
        "1.8" => Ok(Compatibility::V1_8),
        other => Err(format!("{other} is neither `current` nor `1.8`")),
    }
}
