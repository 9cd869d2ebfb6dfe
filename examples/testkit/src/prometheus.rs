//! A Prometheus with a configuration of the test's own.
//!
//! ```no_run
//! let prometheus = testkit::prometheus::Prometheus::start("scrape_configs: []")?;
//! println!("{}", prometheus.url());
//! # Ok::<(), testkit::StartError>(())
//! ```

use crate::{Program, Ready, Server, StartError, port};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it with this configuration (YAML).
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(configuration: &str) -> Result<Self, StartError> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let port = port::free();
        let server = Server::of(&Program::new("prometheus", "prometheus"))
            .args([
                format!("--config.file={}", file.display()),
                format!(
                    "--storage.tsdb.path={}",
                    folder.path().join("data").display()
                ),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ])
            .ready(Ready::Http {
                port,
                path: "/-/ready".into(),
            })
            .start()?;
        Ok(Self {
            server,
            port,
            _folder: folder,
        })
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }
}
