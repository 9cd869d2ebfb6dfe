//! One pass over a request head: a plan, or a refusal.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version, request};

use super::names::{ConnectionOptions, tokens};
use super::upgrade::offers_websocket;
use crate::proxy::{Limits, ProxyError};

/// How the end of a message body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body.
    Empty,
    /// Exactly so many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Until the connection ends (answers only).
    Close,
}

/// What is known of a body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyHint {
    /// There is nothing to read.
    pub(crate) ended: bool,
    /// The exact number of bytes, if known.
    pub(crate) exact: Option<u64>,
}

/// What to do with a request that may be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) framing: Framing,
    pub(crate) connection: ConnectionOptions,
    /// The client accepts trailers in the answer.
    pub(crate) te_trailers: bool,
    /// The client waits for `100 (Continue)` before it sends its body.
    pub(crate) expects_continue: bool,
    /// It says so without a body, or in HTTP/1.0: to be ignored (RFC 9110, 10.1.1).
    pub(crate) expects_in_vain: bool,
    /// A WebSocket handshake: raw bytes after the endpoint's 101.
    pub(crate) tunnel: bool,
}

/// Decides whether and how `head` is forwarded.
///
/// `extended_connect` marks a WebSocket over HTTP/2 (RFC 8441), the only use of
/// `CONNECT` that is served. The host is judged by [`super::host::authority`].
pub(crate) fn plan(
    head: &request::Parts,
    body: BodyHint,
    extended_connect: bool,
    limits: &Limits,
) -> Result<Plan, ProxyError> {
    check_target(head, extended_connect, limits)?;
    let seen = Seen::read(&head.headers, limits)?;
    let framing = if extended_connect {
        Framing::Empty
    } else {
        seen.framing(head.version, body)?
    };
    if let (Framing::Length(length), Some(most)) = (framing, limits.body_bytes)
        && length > most
    {
        return Err(ProxyError::BodyTooLarge);
    }
    let upgrades = head.version == Version::HTTP_11
        && seen.connection.upgrade
        && seen.upgrade
        && offers_websocket(&head.headers);
    let is_handshake = head.method == Method::GET && matches!(framing, Framing::Empty);
    if upgrades && !is_handshake {
        return Err(ProxyError::InvalidUpgrade);
    }
    let may_expect = head.version > Version::HTTP_10 && !matches!(framing, Framing::Empty);
    Ok(Plan {
        framing,
        connection: seen.connection,
        te_trailers: seen.te_trailers,
        expects_continue: seen.expects_continue && may_expect,
        expects_in_vain: seen.expects_continue && !may_expect,
        tunnel: upgrades || extended_connect,
    })
}

fn check_target(
    head: &request::Parts,
    extended_connect: bool,
    limits: &Limits,
) -> Result<(), ProxyError> {
    if head.method == Method::TRACE || (head.method == Method::CONNECT && !extended_connect) {
        return Err(ProxyError::MethodNotAllowed);
    }
    let Some(target) = head.uri.path_and_query() else {
        return Err(ProxyError::InvalidTarget);
    };
    let target = target.as_str();
    if target.len() > limits.target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    let valid = target.starts_with(['/', '?']) || (target == "*" && head.method == Method::OPTIONS);
    if valid {
        Ok(())
    } else {
        Err(ProxyError::InvalidTarget)
    }
}

/// What the fields say, before they are weighed against each other.
#[derive(Default)]
struct Seen {
    connection: ConnectionOptions,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    te_trailers: bool,
    expects_continue: bool,
}

impl Seen {
    fn read(headers: &HeaderMap, limits: &Limits) -> Result<Self, ProxyError> {
        if headers.len() > limits.header_fields {
            return Err(ProxyError::HeadersTooLarge);
        }
        let (mut seen, mut bytes) = (Self::default(), 0);
        for (name, value) in headers {
            bytes += name.as_str().len() + value.len() + 4;
            seen.take(name, value)?;
        }
        if bytes > limits.header_bytes {
            return Err(ProxyError::HeadersTooLarge);
        }
        Ok(seen)
    }

    fn take(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), ProxyError> {
        if name == header::CONTENT_LENGTH {
            let length = content_length(value).ok_or(ProxyError::AmbiguousFraming)?;
            if self.length.replace(length).is_some() {
                return Err(ProxyError::AmbiguousFraming);
            }
        } else if name == header::TRANSFER_ENCODING {
            if std::mem::replace(&mut self.chunked, true) {
                return Err(ProxyError::AmbiguousFraming);
            }
            return transfer_coding(value);
        } else if name == header::CONNECTION {
            self.connection
                .read(value)
                .map_err(|_| ProxyError::HeadersTooLarge)?;
        } else if name == header::UPGRADE {
            self.upgrade = true;
        } else if name == header::TE {
            self.te_trailers |= accepts_trailers(value);
        } else if name == header::EXPECT {
            let known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            if !known || std::mem::replace(&mut self.expects_continue, true) {
                return Err(ProxyError::ExpectationFailed);
            }
        }
        Ok(())
    }

    fn framing(&self, version: Version, body: BodyHint) -> Result<Framing, ProxyError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(ProxyError::AmbiguousFraming),
            (true, None) if version != Version::HTTP_11 => Err(ProxyError::AmbiguousFraming),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) if body.exact.is_some_and(|exact| exact != length) => {
                Err(ProxyError::AmbiguousFraming)
            }
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) if body.ended => Ok(Framing::Empty),
            (false, None) => Ok(body.exact.map_or(Framing::Chunked, Framing::Length)),
        }
    }
}

/// Digits only: no sign, no space, no list.
pub(crate) fn content_length(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Exactly `chunked`. Other codings are not supported; `chunked` anywhere but
/// alone at the end is ambiguous.
fn transfer_coding(value: &HeaderValue) -> Result<(), ProxyError> {
    if value.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let chunked = |coding: &&[u8]| coding.len() == 7 && coding.eq_ignore_ascii_case(b"chunked");
    let count = tokens(value.as_bytes()).filter(chunked).count();
    let is_last = tokens(value.as_bytes())
        .last()
        .as_ref()
        .is_some_and(chunked);
    match (count, is_last) {
        (0, _) | (1, true) => Err(ProxyError::UnsupportedTransferCoding),
        _ => Err(ProxyError::AmbiguousFraming),
    }
}

fn accepts_trailers(value: &HeaderValue) -> bool {
    tokens(value.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
