//! The pure rules, for the fuzz targets in `fuzz/`. Only there with `--cfg fuzzing`.

use std::cell::RefCell;
use std::net::IpAddr;

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, StatusCode, request};

use super::Limits;
use super::rules::chunked::{Decoder, Piece};
use super::rules::head::{Client, write_chunk_size, write_head, write_last_chunk};
use super::rules::request::{BodyHint, plan};
use super::rules::response::{InvalidAnswer, parse};
use super::rules::upgrade::Handshake;
use super::rules::vocabulary::Vocabulary;
use super::rules::{hops, host, http2, path};

/// What an endpoint would be sent for `head` and a body of this length, if known.
#[must_use]
pub fn forward(head: &request::Parts, body: Option<u64>, trusted: bool) -> Option<Vec<u8>> {
    let hint = BodyHint {
        ended: body == Some(0),
        exact: body,
    };
    let plan = plan(head, hint, false, &Limits::default()).ok()?;
    let mut head = head.clone();
    hops::count(&mut head).ok()?;
    let authority = host::authority(&head.uri, &head.headers).ok()?;
    let client = Client {
        peer: Some(IpAddr::from([192, 0, 2, 1])),
        trusted,
        tls: false,
    };
    let mut out = Vec::new();
    write_head(&mut out, &head, &plan, authority, client);
    Some(out)
}

/// The head of a request in the form of HTTP/1.1, as HTTP/2 would send it.
#[must_use]
pub fn translate(text: &[u8]) -> Option<Request<()>> {
    let translated = http2::translate(text, &Scheme::HTTP).ok()?;
    Some(translated.request)
}

/// A chunked body that comes in these pieces: its bytes, its trailers, and what was
/// left over. `None` if it is invalid or has no end.
#[must_use]
pub fn decode(pieces: &[&[u8]]) -> Option<(Vec<u8>, Option<HeaderMap>, usize)> {
    let (mut decoder, mut body) = (Decoder::default(), Vec::new());
    let mut read = 0;
    let total: usize = pieces.iter().map(|piece| piece.len()).sum();
    for piece in pieces {
        let mut input = Bytes::copy_from_slice(piece);
        loop {
            match decoder.next(&mut input).ok()? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End(trailers) => {
                    let rest = total - read - (piece.len() - input.len());
                    return Some((body, trailers, rest));
                }
                Piece::NeedMore => break,
            }
        }
        read += piece.len();
    }
    None
}

/// `body` in chunks, as endpoints are sent it.
#[must_use]
pub fn encode(body: &[&[u8]], trailers: Option<&HeaderMap>) -> Vec<u8> {
    let (mut out, mut first) = (Vec::new(), true);
    for piece in body.iter().filter(|piece| !piece.is_empty()) {
        write_chunk_size(&mut out, piece.len(), first);
        out.extend_from_slice(piece);
        first = false;
    }
    write_last_chunk(&mut out, first, trailers);
    out
}

/// An answer's head at the start of `bytes`: its length, status and fields. `None`
/// when it is not complete.
///
/// # Errors
///
/// When it is no answer, or ambiguous.
///
/// # Panics
///
/// When what was read before makes a difference.
pub fn answer(
    bytes: &Bytes,
    method: &Method,
) -> Result<Option<(usize, StatusCode, HeaderMap)>, ()> {
    thread_local! {
        static KNOWN: RefCell<Vocabulary> = const { RefCell::new(Vocabulary::new()) };
    }
    let mut fields = HeaderMap::new();
    let parsed = parse(bytes, method, &mut fields, &mut Vocabulary::new());
    for _ in 0..2 {
        let mut again = HeaderMap::new();
        let seen = KNOWN.with_borrow_mut(|known| parse(bytes, method, &mut again, known));
        assert_eq!(seen, parsed);
        assert!(!matches!(parsed, Ok(Some(_))) || again == fields);
    }
    let parsed = parsed.map_err(|InvalidAnswer| ())?;
    Ok(parsed.map(|answer| (answer.length, answer.status, fields)))
}

/// Whether this answer lets raw bytes flow after this request.
#[must_use]
pub fn opens_tunnel(request: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> bool {
    Handshake::of(request).is_completed_by(status, answer)
}

/// Whether the path means what it says.
#[must_use]
pub fn is_normal_path(path: &str) -> bool {
    path::is_normal_path(path)
}
