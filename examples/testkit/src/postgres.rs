//! A PostgreSQL server in a temporary folder.
//!
//! PostgreSQL refuses to run as root: as root it is started as the user
//! `postgres`, which its Debian package makes.
//!
//! ```no_run
//! let postgres = testkit::postgres::Postgres::start()?;
//! println!("{}", postgres.description());
//! postgres.restart()?;
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Program, Ready, Server, StartError, port};

const USER: &str = "postgres";
/// A server whose predecessor's children still live refuses to start.
const RESTARTS: u32 = 20;
const INITDB_WITHIN: Duration = Duration::from_secs(60);

/// A running server, or one that was killed and may be started again.
#[derive(Debug)]
pub struct Postgres {
    server: Mutex<Server>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a database cluster and starts it.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        let folder = tempfile::tempdir()?;
        own(folder.path())?;
        let data = data(folder.path());
        let init = Server::of(&program("initdb"))
            .args([
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .args([&data])
            .folder(folder.path())
            .user(USER)
            .start()?;
        if !init.wait_for_exit(INITDB_WITHIN) || !data.join("PG_VERSION").exists() {
            return Err(StartError::NotReady {
                program: "initdb".into(),
                why: "it failed",
                log: init.log(),
            });
        }
        let port = port::free();
        let server = launch(folder.path(), port)?;
        Ok(Self {
            server: Mutex::new(server),
            port,
            folder,
        })
    }

    /// How a client connects: host, port, user and database.
    #[must_use]
    pub fn description(&self) -> String {
        format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        )
    }

    /// Starts it again, with the data it had, after killing it if it runs.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn restart(&self) -> Result<(), StartError> {
        self.server().kill();
        let ended = self.server().wait_for_exit(Duration::from_secs(5));
        debug_assert!(ended, "a killed process ends");
        // The killed server left its lock file, and its children live on until they notice.
        let lock = data(self.folder.path()).join("postmaster.pid");
        let mut launched = launch(self.folder.path(), self.port);
        for _ in 0..RESTARTS {
            if launched.is_ok() {
                break;
            }
            let _may_be_gone = std::fs::remove_file(&lock);
            launched = launch(self.folder.path(), self.port);
        }
        *self.server() = launched?;
        Ok(())
    }

    /// The process, to kill, freeze and thaw.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn launch(folder: &Path, port: u16) -> Result<Server, StartError> {
    Server::of(&program("postgres"))
        .args(["-D".into(), data(folder)])
        .args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
        ])
        .folder(folder)
        .user(USER)
        .ready(Ready::Log(
            "database system is ready to accept connections".into(),
        ))
        .start()
}

/// A program of the newest installed version; Debian keeps each in a folder of its own.
fn program(name: &str) -> Program {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    folders.sort();
    let program = Program::new(name, "postgresql");
    folders.into_iter().rev().fold(program, Program::in_folder)
}

/// Gives the folder to the user that the server runs as.
fn own(folder: &Path) -> std::io::Result<()> {
    let id = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, USER]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(folder, id("-u"), id("-g"))?;
    }
    Ok(())
}
