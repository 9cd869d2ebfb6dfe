//! A child process that is ready when you get it and dead when you drop it.
//!
//! The child is started through `setpriv --pdeathsig KILL` (util-linux), so it dies with the test even
//! when the test itself is killed. It leads a process group of its own: what it started (nginx's workers) is
//! killed and frozen with it. Its standard output and error go to one log file, which a failure to start
//! quotes and [`Server::log`] returns.
//!
//! ```no_run
//! use testkit::{Program, Ready, Server};
//!
//! let server = Server::of(&Program::new("sleep", "coreutils"))
//!     .args(["60"])
//!     .ready(Ready::Started)
//!     .start()?;
//! server.kill();
//! assert!(server.wait_for_exit(std::time::Duration::from_secs(5)));
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use crate::program::{MissingProgram, Program};
use crate::wait;

const READY_WITHIN: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const QUOTED_LOG_BYTES: usize = 4_000;

/// When is the server ready?
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ready {
    /// As soon as the process runs.
    Started,
    /// When this loopback port accepts a connection.
    Tcp {
        /// The port on 127.0.0.1.
        port: u16,
    },
    /// When a GET of this path is answered with 2xx.
    Http {
        /// The port on 127.0.0.1.
        port: u16,
        /// The path, with its leading slash.
        path: String,
    },
    /// When the log contains this text.
    Log(String),
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program is not on this machine.
    #[error(transparent)]
    Missing(#[from] MissingProgram),
    /// The operating system refused.
    #[error("the process could not be started")]
    Io(#[from] std::io::Error),
    /// The process ended, or was not ready in time.
    #[error("{program} was not ready: {why}; the end of its log:\n{log}")]
    NotReady {
        /// The program's path.
        program: String,
        /// What happened instead.
        why: &'static str,
        /// The last 4,000 bytes of its log.
        log: String,
    },
}

/// How to start one server.
#[derive(Debug)]
pub struct Launch {
    program: Result<PathBuf, MissingProgram>,
    args: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    user: Option<String>,
    ready: Ready,
    within: Duration,
}

/// A running server. Dropping it kills it and all of its process group (SIGKILL), and waits for its end.
///
/// The child is waited for on drop and nowhere else. Until then the system gives its id to nobody, so a
/// signal never hits a stranger, whenever the child ended.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: Pid,
    log: PathBuf,
    folder: tempfile::TempDir,
}

// === impl Launch ===

impl Launch {
    /// Arguments, in order.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The working folder. Default: a temporary folder that goes with the server.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Runs as this user, for programs that refuse root. Ignored when the tests do not run as root.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.into());
        self
    }

    /// When it is ready. Default: [`Ready::Started`].
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// How long it may take until it is ready. Default: 30 seconds.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit;
        self
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]: the program is missing (with the command that installs it), cannot be
    /// executed, or is not ready in time (with the end of its log).
    pub fn start(self) -> Result<Server, StartError> {
        let program = self.program.clone()?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("testkit.log");
        let child = self.command(&program, folder.path(), &log)?.spawn()?;
        let pid = Pid::from_child(&child);
        let server = Server {
            child,
            pid,
            log,
            folder,
        };
        let mut ended = false;
        let ready = wait::until(self.within, || {
            ended = !server.is_running();
            ended || server.is_ready(&self.ready)
        });
        let why = match (ended, ready) {
            (true, _) => "it ended",
            (false, false) => "it took too long",
            (false, true) => return Ok(server),
        };
        Err(StartError::NotReady {
            program: program.display().to_string(),
            why,
            log: server.log_tail(),
        })
    }

    fn command(&self, program: &Path, scratch: &Path, log: &Path) -> Result<Command, StartError> {
        let output = std::fs::File::create(log)?;
        let setpriv = Program::new("setpriv", "util-linux").find()?;
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL"]);
        if let Some(user) = self
            .user
            .as_deref()
            .filter(|_| rustix::process::getuid().is_root())
        {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(program).args(&self.args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.as_deref().unwrap_or(scratch));
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        Ok(command)
    }
}

// === impl Server ===

impl Server {
    /// Begins to describe how `program` is started.
    #[must_use]
    pub fn of(program: &Program) -> Launch {
        Launch {
            program: program.find(),
            args: Vec::new(),
            environment: Vec::new(),
            folder: None,
            user: None,
            ready: Ready::Started,
            within: READY_WITHIN,
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// `true` while the process has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(self.pid), look), Ok(None))
    }

    /// Everything the process has printed.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// A folder of its own, removed on drop.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it and what it started as `kill -9` does: they get no chance to say goodbye.
    pub fn kill(&self) {
        self.signal_all(Signal::KILL);
    }

    /// Asks it to end (SIGTERM). What it started is not asked: that is its own affair.
    pub fn terminate(&self) {
        // It may have ended; then there is nobody to ask.
        let _ = kill_process(self.pid, Signal::TERM);
    }

    /// Stops it and what it started in their tracks (SIGSTOP): connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets a frozen server go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Waits for its end; `false` if it still runs after `limit`.
    #[must_use]
    pub fn wait_for_exit(&self, limit: Duration) -> bool {
        wait::until(limit, || !self.is_running())
    }

    fn signal_all(&self, signal: Signal) {
        // All of them may have ended; then there is nothing left to signal.
        let _ = kill_process_group(self.pid, signal);
    }

    fn is_ready(&self, ready: &Ready) -> bool {
        match ready {
            Ready::Started => true,
            Ready::Tcp { port } => connect(*port).is_some(),
            Ready::Http { port, path } => answers_2xx(*port, path).unwrap_or(false),
            Ready::Log(text) => self.log().contains(text.as_str()),
        }
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let mut start = log.len().saturating_sub(QUOTED_LOG_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), PROBE_TIMEOUT).ok()
}

pub(crate) fn answers_2xx(port: u16, path: &str) -> std::io::Result<bool> {
    let Some(mut stream) = connect(port) else {
        return Ok(false);
    };
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    )?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status.starts_with(b"HTTP/1.") && status[9] == b'2')
}
