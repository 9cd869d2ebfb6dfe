//! A real Consul: 1.8.7, the one that Debian 11 ships, as a development agent on loopback.
//!
//! Later Debian releases have no Consul, so it comes from the older suite (see [`debian`](crate::debian)).
//!
//! ```no_run
//! let consul = testkit::consul::Consul::start()?;
//! println!("{}", consul.url());
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::debian::Package;
use crate::{Program, Ready, Server, StartError, port};

const PACKAGE: Package = Package {
    suite: "bullseye",
    name: "consul",
    version: "1.8.7+dfsg1-2+b3",
    sha256: "e4e888bba104daba1d9161f49bfc52649a7e4efd45b1a7ead5bc54f2cb9c89d9",
};

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

    /// The port of its name server, on the same address.
    #[must_use]
    pub fn dns_port(&self) -> u16 {
        self.ports[1]
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
    let program = Program::new("consul", "consul").in_folder(PACKAGE.unpacked()?.join("usr/bin"));
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
