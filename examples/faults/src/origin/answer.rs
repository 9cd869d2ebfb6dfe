//! What goes back, whole or not.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::connection::Next;
use super::request::Request;
use super::{Mode, Shared};
use crate::message::{ANSWER_BYTES, ORIGIN, pattern};

const SLOW: Duration = Duration::from_secs(2);
/// Lets the first half arrive before the connection breaks.
const BETWEEN_HALVES: Duration = Duration::from_millis(5);

/// Answers a probe: well, as long as the mode is not one of a whole host.
pub(super) async fn ready(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    match shared.mode() {
        Mode::Silent | Mode::Blackhole => shared.wait_for_change().await,
        Mode::Drop => stream.set_zero_linger()?,
        Mode::Refuse => write(stream, shared, 503, b"not ready").await?,
        _ => write(stream, shared, 200, b"ready").await?,
    }
    Ok(())
}

pub(super) async fn send(
    stream: &mut TcpStream,
    request: &Request,
    shared: &Shared,
) -> io::Result<Next> {
    let bytes = request.answer_bytes.unwrap_or(ANSWER_BYTES);
    let body = pattern(&request.id, bytes);
    match shared.mode() {
        Mode::Well | Mode::Race => write(stream, shared, 200, &body).await?,
        Mode::Slow => {
            sleep(SLOW).await;
            write(stream, shared, 200, &body).await?;
        }
        Mode::Errors if fastrand::bool() => write(stream, shared, 500, b"broken").await?,
        Mode::Errors => write(stream, shared, 200, &body).await?,
        Mode::Refuse => write(stream, shared, 503, b"refused").await?,
        Mode::Silent | Mode::Blackhole => {
            shared.wait_for_change().await;
            return Ok(Next::End);
        }
        Mode::Stall => {
            stream.write_all(&head(shared, 200, body.len())).await?;
            shared.wait_for_change().await;
            return Ok(Next::End);
        }
        Mode::Reset | Mode::Short => {
            half(stream, shared, &body).await?;
            return Ok(Next::End);
        }
        Mode::Drop => {
            stream.set_zero_linger()?;
            return Ok(Next::End);
        }
    }
    Ok(Next::Request)
}

/// The head and half of what it promises; a reset instead of an end where asked for.
async fn half(stream: &mut TcpStream, shared: &Shared, body: &[u8]) -> io::Result<()> {
    let mut message = head(shared, 200, body.len());
    message.extend_from_slice(&body[..body.len() / 2]);
    stream.write_all(&message).await?;
    sleep(BETWEEN_HALVES).await;
    if shared.mode() == Mode::Reset {
        stream.set_zero_linger()?;
    }
    Ok(())
}

async fn write(
    stream: &mut TcpStream,
    shared: &Shared,
    status: u16,
    body: &[u8],
) -> io::Result<()> {
    let mut message = head(shared, status, body.len());
    message.extend_from_slice(body);
    stream.write_all(&message).await
}

fn head(shared: &Shared, status: u16, length: usize) -> Vec<u8> {
    let id = &shared.id;
    format!("HTTP/1.1 {status} .\r\n{ORIGIN}: {id}\r\ncontent-length: {length}\r\n\r\n")
        .into_bytes()
}
