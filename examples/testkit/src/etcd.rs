//! A single etcd in a temporary folder.
//!
//! ```no_run
//! let etcd = testkit::etcd::Etcd::start()?;
//! println!("{}", etcd.url());
//! # Ok::<(), testkit::StartError>(())
//! ```

use crate::{Program, Ready, Server, StartError, port};

/// A running etcd.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    port: u16,
}

impl Etcd {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        let (client, peer) = (port::free(), port::free());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let server = Server::of(&Program::new("etcd", "etcd-server"))
            .args(["--name", "testkit", "--data-dir", "data"])
            .args([
                "--listen-client-urls".into(),
                url(client),
                "--advertise-client-urls".into(),
                url(client),
            ])
            .args([
                "--listen-peer-urls".into(),
                url(peer),
                "--initial-advertise-peer-urls".into(),
                url(peer),
            ])
            .args(["--initial-cluster".into(), format!("testkit={}", url(peer))])
            .ready(Ready::Http {
                port: client,
                path: "/health".into(),
            })
            .start()?;
        Ok(Self {
            server,
            port: client,
        })
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process, to kill or freeze it.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }
}
