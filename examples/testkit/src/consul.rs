//! A real Consul: 1.8.7, the one that Debian 11 ships, as a development agent on loopback.
//!
//! Later Debian releases have no Consul, so the package is fetched from the older suite through a private package
//! list on the machine's own mirror, checked against its SHA-256, and unpacked into the [cache](crate::cache).
//! Nothing is installed.
//!
//! ```no_run
//! let consul = testkit::consul::Consul::start()?;
//! println!("{}", consul.url());
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::{has_checksum, kept, run};
use crate::{Program, Ready, Server, StartError, port};

const PACKAGE: &str = "consul=1.8.7+dfsg1-2+b3";
const SHA256: &str = "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9";
const SUITE: &str = "bullseye";

/// The token that may do everything on an agent [with rules](Consul::start_with_rules).
pub const MASTER_TOKEN: &str = "11111111-1111-1111-1111-111111111111";

/// A running agent, or one that was killed and may be started again. It starts empty every time.
#[derive(Debug)]
pub struct Consul {
    server: Mutex<Server>,
    ports: [u16; 5],
    rules: bool,
}

impl Consul {
    /// An agent without rules that leads itself.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; a package that cannot be fetched is reported as such.
    pub fn start() -> Result<Self, StartError> {
        Self::launch(false)
    }

    /// An agent that denies everything to those without a token; [`MASTER_TOKEN`] may do everything.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_rules() -> Result<Self, StartError> {
        Self::launch(true)
    }

    fn launch(rules: bool) -> Result<Self, StartError> {
        let ports = std::array::from_fn(|_| port::free());
        let server = Mutex::new(agent(ports, rules)?);
        Ok(Self {
            server,
            ports,
            rules,
        })
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The port of the HTTP interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        let server = self.server();
        server.kill();
        let _ = server.wait_for_exit(Duration::from_secs(5));
    }

    /// Stops it in its tracks: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.server().freeze();
    }

    /// Lets a frozen agent go on.
    pub fn thaw(&self) {
        self.server().thaw();
    }

    /// Starts it again on the same ports, empty.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&self) -> Result<(), StartError> {
        self.kill();
        *self.server() = agent(self.ports, self.rules)?;
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn agent(ports: [u16; 5], rules: bool) -> Result<Server, StartError> {
    let [http, dns, server, lan, wan] = ports.map(|port| port.to_string());
    let program = Program::new("consul", "consul").in_folder(unpacked()?.join("usr/bin"));
    let mut args: Vec<String> = [
        "agent",
        "-dev",
        "-bind",
        "127.0.0.1",
        "-client",
        "127.0.0.1",
    ]
    .map(Into::into)
    .into();
    for (name, value) in [
        ("-http-port", http),
        ("-dns-port", dns),
        ("-grpc-port", "-1".into()),
        ("-server-port", server),
        ("-serf-lan-port", lan),
        ("-serf-wan-port", wan),
        ("-log-level", "warn".into()),
    ] {
        args.extend([name.into(), value]);
    }
    if rules {
        let acl = format!(
            "acl {{ enabled = true default_policy = \"deny\" tokens {{ master = \"{MASTER_TOKEN}\" agent = \"{MASTER_TOKEN}\" }} }}"
        );
        args.extend(["-hcl".into(), acl]);
    }
    let ready = Ready::Http {
        port: ports[0],
        path: format!("/v1/kv/?keys&token={MASTER_TOKEN}"),
    };
    Server::of(&program).args(args).ready(ready).start()
}

/// Where the package is unpacked.
fn unpacked() -> Result<PathBuf, StartError> {
    kept("consul-1.8.7", |folder| {
        fetch(folder)?;
        let package = package_in(folder)?;
        if !has_checksum(&package, SHA256)? {
            return Err(not_fetched("the package is not the expected one".into()));
        }
        run(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
        Ok(())
    })
}

/// Downloads the package through lists of its own, which leave those of the machine alone.
fn fetch(folder: &Path) -> Result<(), StartError> {
    let uris = run(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
    let mirror = uris
        .lines()
        .find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    let mirror = mirror.ok_or_else(|| not_fetched("this machine knows no Debian mirror".into()))?;
    // What is fetched is checked by its SHA-256, whatever the list says.
    let list = folder.join("sources.list");
    std::fs::write(&list, format!("deb [trusted=yes] {mirror} {SUITE} main\n"))?;
    for part in ["lists/partial", "archives/partial"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let option = |name: &str, path: &str| format!("Dir::{name}={}", folder.join(path).display());
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        for option in [
            option("Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            option("State::lists", "lists"),
            option("Cache", ""),
            "APT::Sandbox::User=root".into(),
        ] {
            command.arg("-o").arg(option);
        }
        run(command.args(words).current_dir(folder)).map_err(|error| not_fetched(error.to_string()))
    };
    apt(&["update"])?;
    apt(&["download", PACKAGE])?;
    // The lists are large and have served their purpose.
    std::fs::remove_dir_all(folder.join("lists"))?;
    Ok(())
}

fn package_in(folder: &Path) -> Result<PathBuf, StartError> {
    let entries = std::fs::read_dir(folder)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    let package = entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "deb"));
    package.ok_or_else(|| not_fetched("apt-get downloaded nothing".into()))
}

fn not_fetched(log: String) -> StartError {
    StartError::NotReady {
        program: format!("{PACKAGE} from Debian {SUITE}"),
        why: "the package could not be fetched",
        log,
    }
}
