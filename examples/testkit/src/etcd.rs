//! An etcd of one or several members in temporary folders.
//!
//! ```no_run
//! let etcd = testkit::etcd::Etcd::start()?;
//! println!("{}", etcd.url());
//! let cluster = testkit::etcd::Etcd::start_cluster(3)?;
//! cluster.kill(cluster.leader().expect("it has one"));
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clients::output;
use crate::server::answers_2xx;
use crate::{Program, Ready, Server, StartError, port, wait};

const HEALTHY_WITHIN: Duration = Duration::from_secs(30);

/// Running members. Each keeps its data over a restart.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Member {
    server: Mutex<Server>,
    client: u16,
    peer: u16,
}

impl Etcd {
    /// Starts one member.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        Self::start_cluster(1)
    }

    /// Starts so many members and waits until they have a leader.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start_cluster(members: usize) -> Result<Self, StartError> {
        let folder = tempfile::tempdir()?;
        let ports: Vec<(u16, u16)> = (0..members).map(|_| (port::free(), port::free())).collect();
        let peers: Vec<u16> = ports.iter().map(|(_, peer)| *peer).collect();
        let start = |(number, (client, peer)): (usize, (u16, u16))| {
            let server = launch(folder.path(), number, client, &peers)?;
            Ok(Member {
                server: Mutex::new(server),
                client,
                peer,
            })
        };
        let members: Result<Vec<Member>, StartError> =
            ports.into_iter().enumerate().map(start).collect();
        let etcd = Self {
            members: members?,
            folder,
        };
        etcd.wait_until_healthy()?;
        Ok(etcd)
    }

    /// `http://127.0.0.1:port` of the first member.
    #[must_use]
    pub fn url(&self) -> String {
        self.urls().swap_remove(0)
    }

    /// The URL of every member.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|one| url(one.client)).collect()
    }

    /// Ends a member as `kill -9` does.
    pub fn kill(&self, member: usize) {
        let server = self.members[member].server();
        server.kill();
        let _ = server.wait_for_exit(Duration::from_secs(5));
    }

    /// Starts a member again, with its data and on its ports.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn restart(&self, member: usize) -> Result<(), StartError> {
        self.kill(member);
        let peers: Vec<u16> = self.members.iter().map(|one| one.peer).collect();
        let one = &self.members[member];
        *one.server() = launch(self.folder.path(), member, one.client, &peers)?;
        self.wait_until_healthy()
    }

    /// Starts a member again without its data. It must be the only one.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn restart_empty(&self) -> Result<(), StartError> {
        self.kill(0);
        std::fs::remove_dir_all(self.folder.path().join("member0"))?;
        self.restart(0)
    }

    /// Which member leads; `None` while there is no leader.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.members.iter().position(|member| {
            let status = format!("{}/v3/maintenance/status", url(member.client));
            let asked = output(Command::new("curl").args(["-sS", "-m", "2", "-d", "{}", &status]));
            let text = asked.unwrap_or_default();
            let own = field(&text, "member_id");
            own.is_some() && own == field(&text, "leader")
        })
    }

    fn wait_until_healthy(&self) -> Result<(), StartError> {
        let healthy = |member: &Member| {
            !member.server().is_running() || answers_2xx(member.client, "/health").unwrap_or(false)
        };
        if wait::until(HEALTHY_WITHIN, || self.members.iter().all(healthy)) {
            return Ok(());
        }
        Err(StartError::NotReady {
            program: "etcd".into(),
            why: "it took too long",
            log: self.members[0].server().log(),
        })
    }
}

impl Member {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn launch(
    folder: &std::path::Path,
    number: usize,
    client: u16,
    peers: &[u16],
) -> Result<Server, StartError> {
    let name = |number: usize| format!("member{number}");
    let cluster: Vec<String> = peers
        .iter()
        .enumerate()
        .map(|(number, peer)| format!("{}={}", name(number), url(*peer)))
        .collect();
    let options = [
        ("--name", name(number)),
        (
            "--data-dir",
            folder.join(name(number)).display().to_string(),
        ),
        ("--listen-client-urls", url(client)),
        ("--advertise-client-urls", url(client)),
        ("--listen-peer-urls", url(peers[number])),
        ("--initial-advertise-peer-urls", url(peers[number])),
        ("--initial-cluster", cluster.join(",")),
    ];
    let args = options
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value]);
    Server::of(&Program::new("etcd", "etcd-server"))
        .args(args)
        .ready(Ready::Started)
        .start()
}

/// The text of a field in flat JSON.
fn field<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next()
}
