//! A Prometheus 2.24 with a configuration of the test's own.
//!
//! It comes from Debian 11 (see [`debian`](crate::debian)): later packages are built without `consul_sd_configs`.
//!
//! ```no_run
//! let prometheus = testkit::prometheus::Prometheus::start("scrape_configs: []")?;
//! println!("{}", prometheus.url());
//! # Ok::<(), testkit::StartError>(())
//! ```

use crate::debian::Package;
use crate::{Program, Ready, Server, StartError, port};

const PACKAGE: Package = Package {
    suite: "bullseye",
    name: "prometheus",
    version: "2.24.1+ds-1+b7",
    sha256: "7f98887c0fa36e0dd81bb39abc57a9e2535c2a0dc20442a431255ebc0b87b73a",
};

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
        let server = Server::of(
            &Program::new("prometheus", "prometheus")
                .in_folder(PACKAGE.unpacked()?.join("usr/bin")),
        )
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
