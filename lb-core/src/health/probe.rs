//! Ways to ask an endpoint how it is.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::{StatusCode, Uri, uri::PathAndQuery};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;

use crate::clock;
use crate::endpoint::{Endpoint, EndpointId};
use crate::report::{self, LoadReport, ReportError};

/// More of an answer's head is not read.
const MAX_HEAD: usize = 16 * 1024;
/// What is said in passing before the answer, at most.
const MAX_INTERIM: usize = 8;

/// Why a probe says no.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No connection, or it broke.
    #[error("the endpoint cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// It answered that it is not well.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// What came is not HTTP.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// A probe of your own says no.
    #[error("{0}")]
    Other(Box<str>),
}

/// The answer of a probe, later.
pub type Probing<'a> = Pin<Box<dyn Future<Output = Result<(), ProbeError>> + Send + 'a>>;

/// Asks one endpoint how it is. A panic costs one round of that endpoint.
pub trait Probe: Send + Sync + 'static {
    /// Asks once. It is dropped when it takes longer than the check's time-out.
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> Probing<'a>;
}

/// A closure is a probe.
impl<F, R> Probe for F
where
    F: Fn(&Endpoint) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), ProbeError>> + Send + 'static,
{
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> Probing<'a> {
        Box::pin(self(endpoint))
    }
}

/// Well is who accepts a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpProbe;

impl TcpProbe {
    /// The only one there is.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Probe for TcpProbe {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> Probing<'a> {
        Box::pin(async { connect(endpoint.uri()).await.map(drop) })
    }
}

/// What a probe asks over.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// Encrypts a connection, later.
pub(crate) type Encrypting<'a> =
    Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send + 'a>>;

/// How connections to `https` endpoints are encrypted.
pub(crate) trait Encrypt: fmt::Debug + Send + Sync {
    /// Shakes hands with the endpoint at `host`, for HTTP/1.1.
    fn encrypt<'a>(&'a self, host: &'a str, stream: TcpStream) -> Encrypting<'a>;
}

/// Well is who answers a GET with 200 to 299, over HTTP/1.1. Endpoints with an `https`
/// address are asked over TLS if the probe was told whom to trust
/// (`HttpProbe::upstream_tls`, feature `tls`), else they count as unreachable.
///
/// A [load report](crate::report) in a good answer is taken in: probes keep the
/// figures of endpoints fresh that answer few requests.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    path: PathAndQuery,
    accepts_below: u16,
    pub(crate) encrypt: Option<Arc<dyn Encrypt>>,
}

impl HttpProbe {
    /// Asks for this path.
    ///
    /// # Errors
    ///
    /// [`http::uri::InvalidUri`] if it is not a path.
    pub fn get(path: &str) -> Result<Self, http::uri::InvalidUri> {
        Ok(Self {
            path: path.parse()?,
            accepts_below: 300,
            encrypt: None,
        })
    }

    /// Any answer below 500 is a sign of life: for upstreams whose health path is
    /// not known.
    #[must_use]
    pub fn any_answer(mut self) -> Self {
        self.accepts_below = 500;
        self
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<(), ProbeError> {
        let uri = endpoint.uri();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let path = &self.path;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: lb-core-probe\r\nconnection: close\r\n\r\n"
        );
        let mut stream = BufReader::new(self.open(uri).await?);
        stream.write_all(request.as_bytes()).await?;
        let status = final_status(&mut stream).await?;
        if !(200..self.accepts_below).contains(&status.as_u16()) {
            return Err(ProbeError::Status(status));
        }
        // Its absence, and whatever is wrong with it, says nothing about health.
        if let Some(report) = read_report(&mut stream, endpoint.id()).await {
            endpoint.stats.report(&report, clock::now());
        }
        Ok(())
    }
}

impl HttpProbe {
    /// An endpoint that asks for encryption never gets plain text.
    async fn open(&self, uri: &Uri) -> Result<Box<dyn Wire>, ProbeError> {
        if uri.scheme_str() != Some("https") {
            return Ok(Box::new(connect(uri).await?));
        }
        let encrypt = self.encrypt.as_ref();
        let encrypt = encrypt.ok_or(io::Error::from(io::ErrorKind::Unsupported))?;
        let stream = connect(uri).await?;
        Ok(encrypt.encrypt(bare_host(uri), stream).await?)
    }
}

impl Probe for HttpProbe {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> Probing<'a> {
        Box::pin(self.ask(endpoint))
    }
}

async fn connect(uri: &Uri) -> Result<TcpStream, ProbeError> {
    let default = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let port = uri.port_u16().unwrap_or(default);
    Ok(TcpStream::connect((bare_host(uri), port)).await?)
}

/// The host without the brackets of an IPv6 address.
fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// The status of the answer, after what is said in passing (RFC 9110, 15.2).
async fn final_status(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<StatusCode, ProbeError> {
    for _ in 0..=MAX_INTERIM {
        let mut line = [0; 13];
        stream.read_exact(&mut line).await?;
        let status = parse_status(&line).ok_or(ProbeError::NotHttp)?;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(status);
        }
        skip_head(stream).await?;
    }
    Err(ProbeError::NotHttp)
}

/// Reads the rest of a head away, whose status was read.
async fn skip_head(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<(), ProbeError> {
    let mut head = stream.take(MAX_HEAD as u64);
    let mut line = Vec::new();
    head.read_until(b'\n', &mut line).await?;
    while line.ends_with(b"\n") {
        line.clear();
        head.read_until(b'\n', &mut line).await?;
        if line == b"\r\n" {
            return Ok(());
        }
    }
    Err(ProbeError::NotHttp)
}

/// The load report in what follows of an answer's head, if it has one.
async fn read_report(stream: &mut (impl AsyncRead + Unpin), id: &EndpointId) -> Option<LoadReport> {
    let mut head = Vec::new();
    while find_end(&head).is_none() && head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    match find_report(&head[..find_end(&head)?])? {
        Ok(report) => Some(report),
        Err(why) => {
            report::refused(id, why);
            None
        }
    }
}

fn find_end(head: &[u8]) -> Option<usize> {
    head.windows(4).position(|window| window == b"\r\n\r\n")
}

/// The report among the lines of a head; `None` if there is none.
fn find_report(head: &[u8]) -> Option<Result<LoadReport, ReportError>> {
    let mut values = head.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let is_report = line[..at].eq_ignore_ascii_case(report::HEADER.as_str().as_bytes());
        is_report.then(|| line[at + 1..].trim_ascii())
    });
    let value = values.next()?;
    Some(match values.next() {
        None => LoadReport::parse(value),
        Some(_) => Err(ReportError::Form),
    })
}

/// The status of `HTTP/1.1 200 ` or a line like it.
fn parse_status(line: &[u8; 13]) -> Option<StatusCode> {
    let code = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    (line[8] == b' ' && matches!(line[12], b' ' | b'\r')).then_some(())?;
    StatusCode::from_bytes(code).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_among_the_lines_of_a_head() {
        let head = b"OK\r\nDate: x\r\nEndpoint-Load-Metrics: TEXT eps=1\r\nA: b";
        assert_eq!(find_report(head).unwrap().unwrap().eps, Some(1.0));
        assert!(find_report(b"OK\r\nDate: x").is_none());
        let twice = head.repeat(2);
        assert_eq!(find_report(&twice), Some(Err(ReportError::Form)));
    }

    #[test]
    fn only_a_status_line_is_read_as_one() {
        assert_eq!(parse_status(b"HTTP/1.1 204 "), Some(StatusCode::NO_CONTENT));
        assert_eq!(
            parse_status(b"HTTP/1.0 503\r"),
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert_eq!(parse_status(b"HTTP/1.1 2000"), None);
        assert_eq!(parse_status(b"SSH-2.0-Open1"), None);
    }
}
