//! Our own HTTP/1.1 client towards endpoints.
//!
//! One request and its answer on one connection, driven by polling, without a
//! task, a channel or a boxed future on the way:
//!
//! - [`connection`]: a socket that remembers whether it was used before.
//! - [`idle`]: unused connections, per endpoint, thread and runtime.
//! - [`upload`]: the request, head and body, on its way to the socket.
//! - [`answer`]: the head of the answer.
//! - [`body`]: the body of the answer.
//! - [`scratch`]: buffers that belong to the thread while it reads or writes.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod idle;
pub(crate) mod scratch;
pub(crate) mod upload;
