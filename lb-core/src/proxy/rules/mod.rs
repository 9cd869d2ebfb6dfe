//! What a proxy must strip, refuse, rewrite and may send twice.
//!
//! Everything here is a function of bytes and configuration: no socket, no
//! clock, no task. Every entry of the proxy (the tower service, the accept loop)
//! calls the same functions, so one corpus of hostile requests judges them all.
//!
//! - [`names`]: which fields belong to one hop, and which no client may remove.
//! - [`request`]: one pass over a request head that ends in a plan or a refusal.
//! - [`response`]: the same for an endpoint's answer.
//! - [`interim`]: an answer before the answer, as the client gets it.
//! - [`host`]: who the request is for.
//! - [`path`]: the form of a path that routing and authorisation may trust.
//! - [`head`]: the request head as it is written to an endpoint.
//! - [`hops`]: the hops that `Max-Forwards` leaves.
//! - [`via`]: who has forwarded it, and circles.
//! - [`http2`]: the same for HTTP/2, read off the form of HTTP/1.1.
//! - [`chunked`]: the chunked coding, read strictly.
//! - [`vocabulary`]: the lines of answers, read once.
//! - [`replay`]: whether a failed request may go to another endpoint.
//! - [`upgrade`]: when bytes may flow raw.

pub(crate) mod chunked;
pub(crate) mod head;
pub(crate) mod hops;
pub(crate) mod host;
pub(crate) mod http2;
pub(crate) mod interim;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod upgrade;
pub(crate) mod via;
pub(crate) mod vocabulary;
