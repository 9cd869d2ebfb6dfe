//! The chunked coding (RFC 9112, 7.1), read strictly and without copying data.

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::names::is_forbidden_trailer;

/// Bytes of one chunk extension, and of the whole trailer section, at most.
const MAX_CONTROL_BYTES: usize = 8 << 10;
/// Trailer fields, at most.
const MAX_TRAILERS: usize = 32;

/// The bytes are not chunked coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidChunk;

/// What came out of one step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Part of the body; never empty.
    Data(Bytes),
    /// The body is over; these trailers may be forwarded.
    End(Option<HeaderMap>),
    /// Nothing more can be told from the bytes at hand.
    NeedMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    Start,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Reads one chunked body, in pieces of any size.
///
/// Sizes are 1 to 15 hexadecimal digits, lines end with CR LF, extensions hold
/// no control bytes and are dropped.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Bytes left of the current chunk, or its size while it is read.
    left: u64,
    digits: usize,
    control: usize,
    trailers: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            state: State::Start,
            left: 0,
            digits: 0,
            control: 0,
            trailers: Vec::new(),
        }
    }
}

impl Decoder {
    /// Takes the next piece off the front of `input`.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Piece, InvalidChunk> {
        while !input.is_empty() {
            match self.state {
                State::Data => return Ok(self.data(input)),
                State::Trailers => {
                    if let Some(end) = self.trailer_byte(input.get_u8())? {
                        return Ok(end);
                    }
                }
                State::Done => return Ok(Piece::End(None)),
                _ => self.control_byte(input.get_u8())?,
            }
        }
        Ok(Piece::NeedMore)
    }

    fn data(&mut self, input: &mut Bytes) -> Piece {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(input.len());
        self.left -= most as u64;
        if self.left == 0 {
            self.state = State::DataCr;
        }
        Piece::Data(input.split_to(most))
    }

    fn control_byte(&mut self, byte: u8) -> Result<(), InvalidChunk> {
        self.state = match (self.state, byte) {
            (State::Start | State::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte)?,
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') => {
                self.control = 0;
                State::Extension
            }
            (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.control += 1;
                if self.control > MAX_CONTROL_BYTES {
                    return Err(InvalidChunk);
                }
                State::Extension
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Start
            }
            _ => return Err(InvalidChunk),
        };
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, InvalidChunk> {
        self.digits += 1;
        if self.digits > 15 {
            return Err(InvalidChunk);
        }
        let value = char::from(byte).to_digit(16).ok_or(InvalidChunk)?;
        self.left = self.left * 16 + u64::from(value);
        Ok(State::Size)
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<Option<Piece>, InvalidChunk> {
        self.trailers.push(byte);
        if self.trailers.len() > MAX_CONTROL_BYTES {
            return Err(InvalidChunk);
        }
        if byte != b'\n' {
            return Ok(None);
        }
        if self.trailers == b"\r\n" {
            self.state = State::Done;
            return Ok(Some(Piece::End(None)));
        }
        if self.trailers.ends_with(b"\r\n\r\n") {
            self.state = State::Done;
            return parse_trailers(&self.trailers).map(|fields| Some(Piece::End(fields)));
        }
        if self.trailers.ends_with(b"\r\n") {
            Ok(None)
        } else {
            Err(InvalidChunk)
        }
    }
}

/// The trailers that may be forwarded; `None` when there are none.
fn parse_trailers(bytes: &[u8]) -> Result<Option<HeaderMap>, InvalidChunk> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = httparse::parse_headers(bytes, &mut slots).map_err(|_| InvalidChunk)?;
    let httparse::Status::Complete((_, fields)) = parsed else {
        return Err(InvalidChunk);
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| InvalidChunk)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| InvalidChunk)?;
        if !is_forbidden_trailer(name.as_str()) {
            trailers.append(name, value);
        }
    }
    Ok((!trailers.is_empty()).then_some(trailers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Body, trailers and left-over of a whole input cut into pieces of `cut` bytes.
    fn decode(
        text: &[u8],
        cut: usize,
    ) -> Result<(Vec<u8>, Option<HeaderMap>, usize), InvalidChunk> {
        let (mut decoder, mut body, mut read) = (Decoder::default(), Vec::new(), 0);
        for part in text.chunks(cut) {
            let mut input = Bytes::copy_from_slice(part);
            loop {
                match decoder.next(&mut input)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::NeedMore => break,
                    Piece::End(trailers) => {
                        read += part.len() - input.len();
                        return Ok((body, trailers, text.len() - read));
                    }
                }
            }
            read += part.len();
        }
        Err(InvalidChunk)
    }

    #[test]
    fn a_body_with_extensions_and_trailers_is_read() {
        let text =
            b"4;a=\"b\"\r\nwiki\r\n5\r\npedia\r\n0\r\nX-T: 1\r\nContent-Length: 9\r\n\r\nnext";
        let (body, trailers, left) = decode(text, text.len()).unwrap();
        assert_eq!(body, b"wikipedia");
        let trailers = trailers.unwrap();
        assert_eq!(
            (trailers.len(), &trailers["x-t"]),
            (1, &HeaderValue::from_static("1"))
        );
        assert_eq!(left, 4);
    }

    #[test]
    fn sizes_line_ends_and_extensions_are_strict() {
        for text in [
            "+3\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "00000000000000003\r\nabc\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcX\r\n0\r\n\r\n",
            "3;a\nb\r\nabc\r\n0\r\n\r\n",
            "3;a\rb\r\nabc\r\n0\r\n\r\n",
            "\r\nabc",
            ";a\r\n",
            "0\r\nx-t: 1\n\r\n",
            "0\r\n folded: 1\r\n\r\n",
        ] {
            assert_eq!(
                decode(text.as_bytes(), 64).unwrap_err(),
                InvalidChunk,
                "{text:?}"
            );
        }
    }

    #[test]
    fn control_sections_are_bounded() {
        let extension = format!("3;{}\r\nabc", "a".repeat(9 << 10));
        assert!(decode(extension.as_bytes(), 1 << 20).is_err());
        let trailers = format!("0\r\nx: {}\r\n\r\n", "a".repeat(9 << 10));
        assert!(decode(trailers.as_bytes(), 1 << 20).is_err());
    }

    proptest! {
        /// However the bytes are cut, the same body comes out, and the bytes of
        /// the next message stay.
        #[test]
        fn fragmentation_changes_nothing(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cut in 1_usize..50,
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\nHTTP/1.1");
            let (body, trailers, left) = decode(&text, cut).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!((trailers, left), (None, 8));
        }

        /// Any bytes at all: an error or a bounded result, never a panic.
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..9) {
            if let Ok((body, _, left)) = decode(&noise, cut) {
                prop_assert!(body.len() + left <= noise.len());
            }
        }
    }
}
