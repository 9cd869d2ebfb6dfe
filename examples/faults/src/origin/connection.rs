//! One connection: request after request, until a fault ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::request::Request;
use super::{Mode, Shared, answer, ticks};
use crate::clock::unix_micros;
use crate::ledger::Seen;
use crate::message::READY;

/// How long the end of a closing connection is under way: what a network between
/// gateway and origin would add. A request sent meanwhile is never read.
const UNDER_WAY: Duration = Duration::from_millis(2);
/// A racing origin closes unused connections within this time.
const RACE_MS: u64 = 50;

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Request,
    End,
}

pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // How a connection ends is for the peer to judge.
    let _ = drive(stream, &shared).await;
}

async fn drive(mut stream: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(2048);
    let mut answered = false;
    loop {
        let next = Request::read(&mut stream, &mut buffer);
        let request = if answered && shared.mode() == Mode::Race {
            let patience = Duration::from_millis(fastrand::u64(0..RACE_MS));
            match timeout(patience, next).await {
                Ok(request) => request?,
                Err(_) => {
                    sleep(UNDER_WAY).await;
                    return Ok(());
                }
            }
        } else {
            next.await?
        };
        let Some(request) = request else {
            return Ok(());
        };
        if request.target == READY {
            answer::ready(&mut stream, shared).await?;
            return Ok(());
        }
        if request.websocket.is_some() {
            return ticks::run(stream, &request, shared).await;
        }
        let bytes = request.read_body(&mut stream, &mut buffer).await?;
        shared.journal.write(&Seen::Executed {
            id: request.id.clone(),
            method: request.method.clone(),
            at: unix_micros(),
            bytes,
        });
        work(&request, shared).await;
        if answer::send(&mut stream, &request, shared).await? == Next::End {
            return Ok(());
        }
        let at = unix_micros();
        let id = request.id;
        shared.journal.write(&Seen::Answered { id, at });
        answered = true;
    }
}

/// Takes as long as the service takes, when its turn has come.
async fn work(request: &Request, shared: &Shared) {
    let Ok(_slot) = shared.slots.acquire().await else {
        return;
    };
    sleep(request.delay.unwrap_or(shared.delay)).await;
}
