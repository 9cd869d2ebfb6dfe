//! HTTP/2 towards endpoints: many requests on one connection.
//!
//! - [`session`]: a connection and the task that drives it.
//! - [`stream`]: one request and its answer.
//! - [`outgoing`]: the half of it that sends.

mod outgoing;
mod session;
mod stream;

pub(crate) use session::Session;
pub(crate) use stream::{Http2Stream, Unsent};
