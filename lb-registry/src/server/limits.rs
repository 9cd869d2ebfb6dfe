//! What one server bears.

use std::time::Duration;

/// Bounds of the embedded server. What is stored is bounded by [`catalog::Limits`](crate::catalog::Limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Bytes of a request body other than a key's value. Default: 512 KiB. More is 413.
    pub body_bytes: usize,
    /// Time to send a body. Default: 10 seconds. More is 408.
    pub body_timeout: Duration,
    /// Bytes of a request's head. Default: 64 KiB. More closes the connection.
    pub head_bytes: usize,
    /// Time to send a head. Default: 10 seconds. More closes the connection.
    pub head_timeout: Duration,
    /// Time without progress while an answer is sent to a client that does not read. Default: 10 seconds. More closes
    /// the connection.
    pub write_timeout: Duration,
    /// Open connections. Default: 4,096. More wait.
    pub connections: usize,
    /// Queries that wait for a change. Default: 2,048. More are 429.
    pub blocked_queries: usize,
    /// Probes that run at the same time. Default: 64. More wait.
    pub probes: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes: 512 * 1024,
            body_timeout: Duration::from_secs(10),
            head_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            connections: 4_096,
            blocked_queries: 2_048,
            probes: 64,
        }
    }
}
