//! Without the feature `redis-tls`: the client refuses `rediss://` by itself.

use ::redis::cluster::ClusterClientBuilder;
use ::redis::{Client, ConnectionInfo, RedisResult};

#[derive(Clone, Default)]
pub(super) struct Tls {}

impl Tls {
    #[expect(clippy::unused_self, reason = "the other one has something to say")]
    pub(super) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        Client::open(info)
    }

    #[expect(clippy::unused_self, reason = "the other one has something to say")]
    pub(super) fn cluster(&self, builder: ClusterClientBuilder) -> ClusterClientBuilder {
        builder
    }
}
