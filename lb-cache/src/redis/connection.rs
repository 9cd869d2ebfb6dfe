//! One connection, to a node or to a cluster: the same few calls.

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster_async::ClusterConnection;
use ::redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use ::redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Value, cmd, from_redis_value};
use tokio::task::JoinSet;

use super::slots;

#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Keys asked for in one step of a scan.
const SCAN_COUNT: usize = 512;

impl Connection {
    pub(super) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// All commands of a pipeline at once, to the node that holds `slot`.
    pub(super) async fn pipeline(
        &mut self,
        pipeline: Pipeline,
        slot: Option<u16>,
    ) -> RedisResult<Vec<Value>> {
        let count = pipeline.len();
        match self {
            Self::Single(connection) => connection.send_packed_commands(&pipeline, 0, count).await,
            Self::Cluster(connection) => {
                let node = slot.map_or(SingleNodeRoutingInfo::Random, |slot| {
                    SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master))
                });
                connection.route_pipeline(pipeline, 0, count, node).await
            }
        }
    }

    /// `true` if a node answers, or, in a cluster, every primary that owns slots.
    pub(super) async fn reaches_everyone(&mut self) -> RedisResult<bool> {
        let ping = cmd("PING");
        if matches!(self, Self::Single(_)) {
            return self.query::<String>(&ping).await.map(|_| true);
        }
        let nodes: String = self.query(cmd("CLUSTER").arg("NODES")).await?;
        if slots::owned_by_the_dead(&nodes) {
            return Ok(false);
        }
        for primary in primaries(&nodes) {
            self.query_at::<String>(&ping, Some(primary)).await?;
        }
        Ok(true)
    }

    /// Removes every key that begins with `prefix`, node by node, in small steps.
    pub(super) async fn clear(&mut self, prefix: &[u8]) -> RedisResult<()> {
        let pattern = pattern(prefix);
        match self {
            Self::Single(_) => self.clear_node(&pattern, None).await,
            Self::Cluster(_) => {
                let nodes: String = self.query(cmd("CLUSTER").arg("NODES")).await?;
                for primary in primaries(&nodes) {
                    self.clear_node(&pattern, Some(primary)).await?;
                }
                Ok(())
            }
        }
    }

    async fn clear_node(&mut self, pattern: &[u8], node: Option<(String, u16)>) -> RedisResult<()> {
        let mut cursor = 0u64;
        loop {
            let scan = cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .take();
            let (next, keys): (u64, Vec<Vec<u8>>) = self.query_at(&scan, node.clone()).await?;
            let mut removals = JoinSet::new();
            for key in keys {
                let mut connection = self.clone();
                removals.spawn(async move { connection.query::<()>(cmd("UNLINK").arg(key)).await });
            }
            while let Some(removed) = removals.join_next().await {
                removed.unwrap_or(Ok(()))?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    /// Asks one node of a cluster.
    async fn query_at<T: FromRedisValue>(
        &mut self,
        command: &Cmd,
        node: Option<(String, u16)>,
    ) -> RedisResult<T> {
        match (self, node) {
            (Self::Cluster(connection), Some((host, port))) => {
                let node = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
                Ok(from_redis_value(
                    connection.route_command(command.clone(), node).await?,
                )?)
            }
            (connection, _) => connection.query(command).await,
        }
    }
}

/// The addresses of the living primaries in the answer to CLUSTER NODES.
fn primaries(nodes: &str) -> Vec<(String, u16)> {
    let address = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let (address, flags) = (words.next()?, words.next()?);
        let flags: Vec<&str> = flags.split(',').collect();
        let (host, port) = address.split('@').next()?.rsplit_once(':')?;
        let lives =
            flags.contains(&"master") && !flags.contains(&"fail") && !flags.contains(&"noaddr");
        lives.then_some((host.to_owned(), port.parse().ok()?))
    };
    nodes.lines().filter_map(address).collect()
}

/// A glob pattern for everything that begins with these bytes.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]^\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_primaries_are_found() {
        let nodes = "a 127.0.0.1:7100@17100 myself,master - 0 0 1 connected 0-5460\n\
            b 127.0.0.1:7101@17101,host.example slave a 0 0 1 connected\n\
            c 127.0.0.1:7102@17102 master,fail - 0 0 1 disconnected\n\
            d ::1:7103@17103 master - 0 0 1 connected\nnonsense\n";
        assert_eq!(
            primaries(nodes),
            [("127.0.0.1".to_owned(), 7_100), ("::1".to_owned(), 7_103)]
        );
    }

    #[test]
    fn a_pattern_means_its_prefix_and_nothing_else() {
        assert_eq!(pattern(b"lb:{}:a*:"), b"lb:{}:a\\*:*");
    }
}
