//! One Redis server that can be killed and started again with its data.
//!
//! ```no_run
//! let redis = testkit::redis::Redis::start()?;
//! println!("{} with password {}", redis.url(), testkit::redis::PASSWORD);
//! redis.restart()?;
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Program, Ready, Server, StartError, port};

/// The password of every server started here.
pub const PASSWORD: &str = "testkit-secret";

/// A running server, or one that was killed and may be started again.
#[derive(Debug)]
pub struct Redis {
    server: Mutex<Server>,
    port: u16,
    folder: tempfile::TempDir,
    settings: Vec<String>,
}

impl Redis {
    /// Starts a server with append-only file, password and 64 MB of LRU memory.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        Self::start_with(port::free(), &[])
    }

    /// Starts a server on this port with further settings, `--name value` each.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start_with(port: u16, settings: &[&str]) -> Result<Self, StartError> {
        let folder = tempfile::tempdir()?;
        let settings: Vec<String> = settings
            .iter()
            .map(|setting| (*setting).to_owned())
            .collect();
        let server = launch(port, folder.path(), &settings)?;
        Ok(Self {
            server: Mutex::new(server),
            port,
            folder,
            settings,
        })
    }

    /// `redis://127.0.0.1:<port>`, without the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again, with the data it had, after killing it if it runs.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn restart(&self) -> Result<(), StartError> {
        self.server().kill();
        let ended = self
            .server()
            .wait_for_exit(std::time::Duration::from_secs(5));
        debug_assert!(ended, "a killed process ends");
        *self.server() = launch(self.port, self.folder.path(), &self.settings)?;
        Ok(())
    }

    /// The process, to kill, freeze and thaw.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `redis-cli` answers to these words; empty if it fails.
    pub fn cli(&self, words: &[&str]) -> String {
        cli(self.port, words)
    }
}

/// What `redis-cli` answers; empty if it fails.
pub(crate) fn cli(port: u16, words: &[&str]) -> String {
    let Ok(program) = Program::new("redis-cli", "redis-tools").find() else {
        return String::new();
    };
    let output = Command::new(program)
        .env("REDISCLI_AUTH", PASSWORD)
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(words)
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn launch(port: u16, folder: &Path, settings: &[String]) -> Result<Server, StartError> {
    let folder_text = folder.display().to_string();
    let port_text = port.to_string();
    let fixed = [
        "--port",
        &port_text,
        "--bind",
        "127.0.0.1",
        "--dir",
        &folder_text,
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--maxmemory-policy",
        "allkeys-lru",
    ];
    let has_limit = settings.iter().any(|setting| setting == "--maxmemory");
    let limit: &[&str] = if has_limit {
        &[]
    } else {
        &["--maxmemory", "64mb"]
    };
    Server::of(&Program::new("redis-server", "redis-server"))
        .args(
            fixed
                .iter()
                .chain(limit)
                .copied()
                .chain(settings.iter().map(String::as_str)),
        )
        .folder(folder)
        .ready(Ready::Log("Ready to accept connections".into()))
        .start()
}
