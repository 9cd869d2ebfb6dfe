//! Our own client towards endpoints: HTTP/1.1, HTTP/2, both plain or over TLS.
//!
//! One request and its answer on one connection, driven by polling, without a
//! task, a channel or a boxed future on the way:
//!
//! - [`transport`]: a socket, an encrypted one, or a stream of HTTP/2.
//! - [`connection`]: a transport that remembers whether it was used before.
//! - [`http2`]: connections that many requests share.
//! - [`idle`]: unused connections, per endpoint, thread and runtime.
//! - [`upload`]: the request, head and body, on its way to the socket.
//! - [`answer`]: the head of the answer.
//! - [`body`]: the body of the answer.
//! - [`scratch`]: buffers that belong to the thread while it reads or writes.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod http2;
pub(crate) mod idle;
pub(crate) mod scratch;
pub(crate) mod transport;
pub(crate) mod upload;
