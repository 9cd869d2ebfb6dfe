//! A Redis Cluster of three primaries and three replicas on loopback.
//!
//! Password, append-only file synced every second, 2 GB of LRU memory per node,
//! a node time-out of 2 seconds: the cluster of a production, on one machine.
//!
//! ```no_run
//! let cluster = testkit::redis_cluster::RedisCluster::start()?;
//! let victim = cluster.primaries()[0];
//! cluster.node(victim).server().kill();
//! assert!(cluster.is_whole_within(std::time::Duration::from_secs(30)));
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::time::Duration;

use crate::redis::{Redis, cli};
use crate::{StartError, port, wait};

/// How long a node may be silent until the others call it dead.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(2);
const NODES: usize = 6;
const CREATED_WITHIN: Duration = Duration::from_secs(60);

/// Six nodes. Dropping it kills them all.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts six nodes, joins them, and waits until all agree.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start() -> Result<Self, StartError> {
        let timeout = NODE_TIMEOUT.as_millis().to_string();
        let settings = [
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            &timeout,
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-reads-when-down",
            "yes",
            "--maxmemory",
            "2gb",
            "--cluster-replica-validity-factor",
            "0",
        ];
        // The bus of a node listens on its port plus 10,000.
        let usable = |port: u16| port < 55_000 && port::is_free(port + 10_000);
        let start = |_| Redis::start_with(port::free_where(usable), &settings);
        let cluster = Self {
            nodes: (0..NODES).map(start).collect::<Result<_, _>>()?,
        };
        let addresses: Vec<String> = cluster
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        let create = ["--cluster", "create"]
            .into_iter()
            .chain(addresses.iter().map(String::as_str));
        let words: Vec<&str> = create
            .chain(["--cluster-replicas", "1", "--cluster-yes"])
            .collect();
        let log = cli(cluster.nodes[0].port(), &words);
        if cluster.is_whole_within(CREATED_WITHIN) {
            Ok(cluster)
        } else {
            Err(StartError::NotReady {
                program: "redis-cli --cluster create".into(),
                why: "the cluster never agreed",
                log,
            })
        }
    }

    /// The addresses of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// One node, 0 to 5.
    #[must_use]
    pub fn node(&self, index: usize) -> &Redis {
        &self.nodes[index]
    }

    /// Kills every node, as a power failure does.
    pub fn kill_all(&self) {
        for node in &self.nodes {
            node.server().kill();
        }
    }

    /// Starts every node again with its data.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn restart_all(&self) -> Result<(), StartError> {
        self.nodes.iter().try_for_each(Redis::restart)
    }

    /// The nodes that are primaries, as they see themselves.
    #[must_use]
    pub fn primaries(&self) -> Vec<usize> {
        self.nodes_where("role:master")
    }

    /// The nodes that are replicas, as they see themselves.
    #[must_use]
    pub fn replicas(&self) -> Vec<usize> {
        self.nodes_where("role:slave")
    }

    /// Waits until all six nodes run, know all slots covered, and three follow a primary.
    #[must_use]
    pub fn is_whole_within(&self, limit: Duration) -> bool {
        wait::until(limit, || self.is_whole())
    }

    fn is_whole(&self) -> bool {
        let whole = |node: &Redis| {
            let info = node.cli(&["cluster", "info"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
        };
        let follows = |node: &&Redis| {
            node.cli(&["info", "replication"])
                .contains("master_link_status:up")
        };
        self.nodes.iter().all(whole) && self.nodes.iter().filter(follows).count() == NODES / 2
    }

    fn nodes_where(&self, role: &str) -> Vec<usize> {
        let has_role = |index: &usize| {
            let node = &self.nodes[*index];
            node.server().is_running() && node.cli(&["info", "replication"]).contains(role)
        };
        (0..self.nodes.len()).filter(has_role).collect()
    }
}
