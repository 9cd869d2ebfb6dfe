//! A request as HTTP/2 sends it, and an answer as it comes.
//!
//! A request is written once, in HTTP/1.1, and kept in that form for a second
//! attempt, which may go to an endpoint of either version. Here that form is read
//! back, so nothing is stripped, refused or added in two places.

use base64::Engine as _;
use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use sha1::{Digest as _, Sha1};

use super::chunked::{Decoder, Piece};
use super::request::content_length;

/// What RFC 6455, 1.3 appends to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The bytes are no request that this proxy wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidForm;

/// A head, and how its body is written.
#[derive(Debug)]
pub(crate) struct Translated {
    pub(crate) request: Request<()>,
    pub(crate) form: BodyForm,
    /// Bytes of the written head.
    pub(crate) length: usize,
    /// The key of a WebSocket handshake, which this has become.
    pub(crate) key: Option<HeaderValue>,
}

/// How the bytes after a head are to be read.
#[derive(Debug)]
pub(crate) enum BodyForm {
    /// So many bytes.
    Length(u64),
    Chunked(Decoder),
    /// Bytes of a tunnel, to its end.
    Raw,
}

/// A step of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send these; `true`: they are the last.
    Data(Bytes, bool),
    End(Option<HeaderMap>),
    NeedMore,
}

/// Reads the whole head at the start of `bytes`.
pub(crate) fn translate(bytes: &[u8], scheme: &Scheme) -> Result<Translated, InvalidForm> {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let mut slots = vec![httparse::EMPTY_HEADER; lines];
    let mut head = httparse::Request::new(&mut slots);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
        return Err(InvalidForm);
    };
    let mut seen = Seen::default();
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| InvalidForm)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| InvalidForm)?;
        seen.take(name, value)?;
    }
    let method = Method::from_bytes(head.method.unwrap_or_default().as_bytes());
    let mut method = method.map_err(|_| InvalidForm)?;
    let mut request = Request::new(());
    let key = seen.upgrade.then(|| seen.key.take()).flatten();
    if seen.upgrade {
        method = Method::CONNECT;
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
    }
    let target: PathAndQuery = head.path.unwrap_or("/").parse().map_err(|_| InvalidForm)?;
    let uri = Uri::builder()
        .scheme(scheme.clone())
        .authority(
            seen.authority
                .as_ref()
                .map_or(&b""[..], HeaderValue::as_bytes),
        )
        .path_and_query(target)
        .build();
    *request.uri_mut() = uri.map_err(|_| InvalidForm)?;
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = seen.fields;
    Ok(Translated {
        request,
        form: seen.form,
        length,
        key,
    })
}

/// What the fields say.
#[derive(Default)]
struct Seen {
    fields: HeaderMap,
    authority: Option<HeaderValue>,
    form: BodyForm,
    upgrade: bool,
    key: Option<HeaderValue>,
}

impl Seen {
    /// Fields of a connection are not sent (RFC 9113, 8.2.2).
    fn take(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), InvalidForm> {
        if name == header::HOST {
            self.authority = Some(value);
        } else if name == header::UPGRADE {
            self.upgrade = true;
            self.form = BodyForm::Raw;
        } else if name == header::TRANSFER_ENCODING {
            self.form = BodyForm::Chunked(Decoder::default());
        } else if name == header::SEC_WEBSOCKET_KEY {
            self.key = Some(value);
        } else if name != header::CONNECTION {
            if name == header::CONTENT_LENGTH {
                self.form = BodyForm::Length(content_length(&value).ok_or(InvalidForm)?);
            }
            self.fields.append(name, value);
        }
        Ok(())
    }
}

impl BodyForm {
    /// Nothing follows the head.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// Takes the next step off the front of `input`.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Step, InvalidForm> {
        if !input.has_remaining() {
            return Ok(Step::NeedMore);
        }
        match self {
            Self::Raw => Ok(Step::Data(std::mem::take(input), false)),
            Self::Length(left) => {
                let data = std::mem::take(input);
                *left = left.checked_sub(data.len() as u64).ok_or(InvalidForm)?;
                Ok(Step::Data(data, *left == 0))
            }
            Self::Chunked(decoder) => match decoder.next(input).map_err(|_| InvalidForm)? {
                Piece::Data(data) => Ok(Step::Data(data, false)),
                Piece::End(trailers) => Ok(Step::End(trailers)),
                Piece::NeedMore => Ok(Step::NeedMore),
            },
        }
    }
}

impl Default for BodyForm {
    fn default() -> Self {
        Self::Length(0)
    }
}

/// Turns a good answer to an extended `CONNECT` into the one that a handshake over
/// HTTP/1.1 ends with.
pub(crate) fn complete_handshake(key: &HeaderValue, fields: &mut HeaderMap) -> StatusCode {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    // Base64 is always a valid value.
    if let Ok(accept) = HeaderValue::try_from(accept) {
        fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Translated {
        translate(head.as_bytes(), &Scheme::HTTP).unwrap()
    }

    #[test]
    fn the_head_keeps_its_fields_but_those_of_the_connection() {
        let text = "POST /a?b=c HTTP/1.1\r\nhost: site:80\r\naccept: */*\r\nte: trailers\r\n\
                    connection: te\r\ntransfer-encoding: chunked\r\n\r\nrest";
        let read = read(text);
        assert_eq!(read.length, text.len() - 4);
        assert_eq!(read.request.uri(), "http://site:80/a?b=c");
        let names: Vec<_> = read
            .request
            .headers()
            .keys()
            .map(HeaderName::as_str)
            .collect();
        assert_eq!(names, ["accept", "te"]);
        assert!(matches!(read.form, BodyForm::Chunked(_)));
    }

    #[test]
    fn a_handshake_becomes_an_extended_connect() {
        let read = read(
            "GET /ws HTTP/1.1\r\nhost: h\r\nsec-websocket-version: 13\r\nsec-websocket-key: \
                         dGhlIHNhbXBsZSBub25jZQ==\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        );
        assert_eq!(read.request.method(), Method::CONNECT);
        let protocol = read
            .request
            .extensions()
            .get::<h2::ext::Protocol>()
            .unwrap();
        assert_eq!(protocol.as_str(), "websocket");
        assert!(!read.request.headers().contains_key("sec-websocket-key"));
        // The example of RFC 6455, 1.3.
        let mut fields = HeaderMap::new();
        complete_handshake(&read.key.unwrap(), &mut fields);
        assert_eq!(
            fields["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_body_is_read_to_its_end_and_no_further() {
        let mut length = BodyForm::Length(5);
        let mut input = Bytes::from_static(b"hello");
        assert_eq!(
            length.next(&mut input),
            Ok(Step::Data("hello".into(), true))
        );
        assert_eq!(length.next(&mut Bytes::from_static(b"x")), Err(InvalidForm));
        let mut chunked = BodyForm::Chunked(Decoder::default());
        let mut input = Bytes::from_static(b"2\r\nab\r\n0\r\n\r\n");
        assert_eq!(chunked.next(&mut input), Ok(Step::Data("ab".into(), false)));
        assert_eq!(chunked.next(&mut input), Ok(Step::End(None)));
    }

    #[test]
    fn a_head_in_pieces_is_refused() {
        assert!(translate(b"GET / HTTP/1.1\r\nhost: h\r\n", &Scheme::HTTP).is_err());
    }
}
