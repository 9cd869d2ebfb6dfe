//! A request as it comes from the socket.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::message;

/// More fields, or a longer head, no test sends.
const MAX_FIELDS: usize = 64;

/// The head, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) method: String,
    pub(super) target: String,
    length: Length,
    pub(super) delay: Option<Duration>,
    pub(super) answer_bytes: Option<usize>,
    /// The key of a WebSocket handshake.
    pub(super) websocket: Option<String>,
}

#[derive(Debug, Default)]
enum Length {
    #[default]
    None,
    Exact(usize),
    Chunked,
}

impl Request {
    /// The next head; `None` when the connection ends before one.
    pub(super) async fn read(
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<Option<Self>> {
        loop {
            if let Some((request, used)) = Self::parse(buffer)? {
                buffer.advance(used);
                return Ok(Some(request));
            }
            if stream.read_buf(buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        let parsed = head.parse(bytes).map_err(io::Error::other)?;
        let httparse::Status::Complete(used) = parsed else {
            return Ok(None);
        };
        let mut request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            ..Self::default()
        };
        for field in head.headers.iter() {
            request.take(field.name, &String::from_utf8_lossy(field.value));
        }
        Ok(Some((request, used)))
    }

    fn take(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            message::ID => self.id = value.to_owned(),
            message::DELAY => self.delay = value.parse().ok().map(Duration::from_millis),
            message::BYTES => self.answer_bytes = value.parse().ok(),
            "content-length" => self.length = Length::Exact(value.parse().unwrap_or(0)),
            "transfer-encoding" => self.length = Length::Chunked,
            "sec-websocket-key" => self.websocket = Some(value.to_owned()),
            _ => {}
        }
    }

    /// Reads the body to its end and tells its bytes.
    pub(super) async fn read_body(
        &self,
        stream: &mut TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<usize> {
        match self.length {
            Length::None => Ok(0),
            Length::Exact(bytes) => {
                fill(stream, buffer, bytes).await?;
                buffer.advance(bytes);
                Ok(bytes)
            }
            Length::Chunked => read_chunks(stream, buffer).await,
        }
    }
}

async fn read_chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    let mut total = 0;
    loop {
        let line = loop {
            match httparse::parse_chunk_size(buffer) {
                Ok(httparse::Status::Complete(line)) => break line,
                Ok(httparse::Status::Partial) => fill(stream, buffer, buffer.len() + 1).await?,
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        };
        let (used, size) = (line.0, line.1 as usize);
        fill(stream, buffer, used + size + 2).await?;
        buffer.advance(used + size + 2);
        total += size;
        if size == 0 {
            return Ok(total);
        }
    }
}

/// Reads until that many bytes are at hand.
async fn fill(stream: &mut TcpStream, buffer: &mut BytesMut, bytes: usize) -> io::Result<()> {
    while buffer.len() < bytes {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
