//! An endpoint's answer: parsed strictly, or refused.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use httparse::Header;

use super::names::{ConnectionOptions, is_hop_by_hop, is_nominated};
use super::request::{Framing, content_length};
use super::vocabulary::{Meaning, Start, Vocabulary};

/// Fields in an answer's head, at most.
const MAX_FIELDS: usize = 128;

/// The answer is not HTTP/1, or its framing is ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidAnswer;

/// The head of an answer; its fields are in the map given to [`parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Bytes of the head.
    pub(crate) length: usize,
    pub(crate) status: StatusCode,
    pub(crate) framing: Framing,
    pub(crate) connection: ConnectionOptions,
    /// Among the fields are some that must not reach the client.
    pub(crate) hop: bool,
    /// Among the fields is a load report.
    pub(crate) report: bool,
    /// The connection may carry another request after this answer's body.
    pub(crate) reusable: bool,
}

/// Parses a head at the start of `bytes` into `fields`, which is emptied first.
///
/// `None` when the head is not complete yet. Values share the memory of
/// `bytes` unless `vocabulary` knows them, as it does names. An answer with two lengths, with a length
/// and a transfer coding, or with any coding but `chunked` is invalid.
pub(crate) fn parse(
    bytes: &Bytes,
    method: &Method,
    fields: &mut HeaderMap,
    vocabulary: &mut Vocabulary,
) -> Result<Option<Answer>, InvalidAnswer> {
    let recalled = recall(bytes, fields, vocabulary);
    let read = match recalled {
        Some(recalled) => Some(recalled),
        None => read(bytes, fields, vocabulary)?,
    };
    let Some((start, length, seen)) = read else {
        return Ok(None);
    };
    // Nobody could switch protocols before HTTP/1.1 (RFC 9110, 7.8).
    if start.status == StatusCode::SWITCHING_PROTOCOLS && !start.current {
        return Err(InvalidAnswer);
    }
    let framing = seen.framing(method, start.status)?;
    let keeps = if start.current {
        !seen.connection.close
    } else {
        seen.connection.keep_alive
    };
    Ok(Some(Answer {
        length,
        status: start.status,
        framing,
        connection: seen.connection,
        hop: seen.hop,
        report: seen.report,
        // Whoever speaks 1.0 knows no coding: what ends here is anybody's guess
        // (RFC 9112, 6.1).
        reusable: keeps && framing != Framing::Close && (start.current || !seen.chunked),
    }))
}

/// A head, its length, and what its fields say.
type Head = (Start, usize, Seen);

/// Reads a head whose lines are all known; `None` for any other.
fn recall(bytes: &Bytes, fields: &mut HeaderMap, vocabulary: &mut Vocabulary) -> Option<Head> {
    fields.clear();
    let mut seen = Seen::default();
    let (start, length) = vocabulary.recall(bytes, |name, meaning, value| {
        if seen.take(meaning, &value).ok()? {
            fields.append(name, value);
        }
        Some(())
    })?;
    Some((start, length, seen))
}

/// Reads any head, and remembers its lines.
fn read(
    bytes: &Bytes,
    fields: &mut HeaderMap,
    vocabulary: &mut Vocabulary,
) -> Result<Option<Head>, InvalidAnswer> {
    let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut head, bytes, &mut slots)
        .map_err(|_| InvalidAnswer)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = head
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(InvalidAnswer)?;
    fields.clear();
    let seen = Seen::read(head.headers, bytes, fields, vocabulary)?;
    let start = Start {
        status,
        current: head.version == Some(1),
    };
    vocabulary.learn_start(bytes, start);
    Ok(Some((start, length, seen)))
}

/// The same for an answer over HTTP/2, whose fields were read already. `ended`: no
/// body follows. Fields of a connection make it malformed (RFC 9113, 8.2.2), and so
/// does a change of protocols (8.6).
pub(crate) fn judge(
    status: StatusCode,
    fields: &HeaderMap,
    method: &Method,
    ended: bool,
) -> Result<Answer, InvalidAnswer> {
    if status == StatusCode::SWITCHING_PROTOCOLS || fields.len() > MAX_FIELDS {
        return Err(InvalidAnswer);
    }
    let mut seen = Seen::default();
    for (name, value) in fields {
        if !seen.take(Meaning::of(name), value)? {
            return Err(InvalidAnswer);
        }
    }
    let framing = seen.framing(method, status)?;
    Ok(Answer {
        length: 0,
        status,
        framing: if ended { Framing::Empty } else { framing },
        connection: seen.connection,
        hop: seen.hop,
        report: seen.report,
        reusable: false,
    })
}

#[derive(Default)]
struct Seen {
    connection: ConnectionOptions,
    length: Option<u64>,
    chunked: bool,
    hop: bool,
    report: bool,
}

impl Seen {
    fn read(
        lines: &[Header<'_>],
        bytes: &Bytes,
        fields: &mut HeaderMap,
        vocabulary: &mut Vocabulary,
    ) -> Result<Self, InvalidAnswer> {
        let mut seen = Self::default();
        for (place, line) in lines.iter().enumerate() {
            let (name, meaning) = vocabulary
                .read(place, line.name.as_bytes(), line.value)
                .ok_or(InvalidAnswer)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
            let value = value.map_err(|_| InvalidAnswer)?;
            if seen.take(meaning, &value)? {
                fields.append(name, value);
            }
        }
        Ok(seen)
    }

    /// Reads what matters for the connection. `false` for fields that are
    /// understood with that and go no further.
    fn take(&mut self, meaning: Meaning, value: &HeaderValue) -> Result<bool, InvalidAnswer> {
        match meaning {
            Meaning::Plain => {}
            Meaning::ContentLength => {
                let length = content_length(value).ok_or(InvalidAnswer)?;
                if self.length.replace(length).is_some() {
                    return Err(InvalidAnswer);
                }
            }
            Meaning::TransferEncoding => {
                let known = value.as_bytes().eq_ignore_ascii_case(b"chunked");
                if !known || std::mem::replace(&mut self.chunked, true) {
                    return Err(InvalidAnswer);
                }
                return Ok(false);
            }
            Meaning::Connection => {
                self.connection.read(value).map_err(|_| InvalidAnswer)?;
                let others = self.connection.nominates || self.connection.upgrade;
                self.hop |= others;
                return Ok(others);
            }
            Meaning::Hop => self.hop = true,
            Meaning::Report => self.report = true,
        }
        Ok(true)
    }

    fn framing(&self, method: &Method, status: StatusCode) -> Result<Framing, InvalidAnswer> {
        if self.chunked && self.length.is_some() {
            return Err(InvalidAnswer);
        }
        let never = status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        Ok(if never || *method == Method::HEAD {
            Framing::Empty
        } else if self.chunked {
            Framing::Chunked
        } else {
            match self.length {
                Some(0) => Framing::Empty,
                Some(length) => Framing::Length(length),
                None => Framing::Close,
            }
        })
    }
}

/// Removes what belongs to the endpoint's connection, so that the rest may be
/// handed to the client. `Trailer` stays when trailers may follow.
pub(crate) fn strip(fields: &mut HeaderMap, answer: &Answer, te_trailers: bool) {
    // Most answers carry nothing of the kind.
    if !answer.hop {
        return;
    }
    let nominates = answer.connection.nominates;
    let keeps_trailer = te_trailers && answer.framing == Framing::Chunked;
    let doomed = |name: &HeaderName, fields: &HeaderMap| {
        (is_hop_by_hop(name.as_str()) && !(keeps_trailer && name == header::TRAILER))
            || (nominates && is_nominated(fields, name))
    };
    let names: Vec<_> = fields
        .keys()
        .filter(|name| doomed(name, fields))
        .cloned()
        .collect();
    for name in names {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, method: &Method) -> Result<Option<Answer>, InvalidAnswer> {
        parse(
            &Bytes::from_static(text.as_bytes()),
            method,
            &mut HeaderMap::new(),
            &mut Vocabulary::new(),
        )
    }

    #[test]
    fn the_body_ends_as_the_status_and_the_fields_say() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n",
                Framing::Chunked,
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::Close, false),
            (
                "HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n",
                Framing::Empty,
                true,
            ),
            (
                "HTTP/1.1 304 No\r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::Empty,
                true,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
                Framing::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n",
                Framing::Chunked,
                false,
            ),
            (
                "HTTP/1.1 200\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                Framing::Empty,
                false,
            ),
        ];
        for (text, framing, reusable) in cases {
            let answer = read(text, &Method::GET).unwrap().unwrap();
            assert_eq!(
                (answer.framing, answer.reusable),
                (framing, reusable),
                "{text}"
            );
            assert_eq!(answer.length, text.len());
        }
        let head = read(cases[0].0, &Method::HEAD).unwrap().unwrap();
        assert_eq!(head.framing, Framing::Empty);
    }

    #[test]
    fn ambiguous_or_broken_answers_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx-a : 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 99 OK\r\n\r\n",
            "HTTP/1.0 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n",
        ] {
            assert_eq!(read(text, &Method::GET), Err(InvalidAnswer), "{text}");
        }
    }

    #[test]
    fn half_a_head_is_no_answer_yet() {
        assert_eq!(
            read("HTTP/1.1 200 OK\r\ncontent-le", &Method::GET),
            Ok(None)
        );
    }

    #[test]
    fn fields_of_the_hop_do_not_reach_the_client() {
        let text = "HTTP/1.1 200 OK\r\nconnection: x-a\r\nx-a: 1\r\nx-b: 2\r\nkeep-alive: 1\r\n\
                    trailer: x-t\r\ntransfer-encoding: chunked\r\n\r\n";
        let mut fields = HeaderMap::new();
        let bytes = Bytes::from_static(text.as_bytes());
        let answer = parse(&bytes, &Method::GET, &mut fields, &mut Vocabulary::new())
            .unwrap()
            .unwrap();
        strip(&mut fields, &answer, false);
        let left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-b"]);
    }
}
