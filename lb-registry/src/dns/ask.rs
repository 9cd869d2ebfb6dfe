//! Asking a name server: by UDP, and by TCP for what does not fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{self, Kind, MOST_UDP, Malformed, Reply};

/// How long one server may take before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// Datagrams get lost: the question is sent again after this, and then after twice as long each time.
const AGAIN: Duration = Duration::from_millis(400);
const PORT: u16 = 53;
/// What the resolver's own library reads at most.
const MOST_SERVERS: usize = 3;
const CONFIGURATION: &str = "/etc/resolv.conf";

/// Nobody answered, or not with an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no name server is known")]
    NoServer,
    #[error("the name server does not answer")]
    Unreachable(#[from] std::io::Error),
    #[error("the name server does not answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Asks one server after the other until one answers.
pub(super) async fn ask(servers: &[SocketAddr], name: &str, kind: Kind) -> Result<Reply, AskError> {
    let mut last = AskError::NoServer;
    for server in servers {
        match tokio::time::timeout(PATIENCE, ask_one(*server, name, kind)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(last)
}

async fn ask_one(server: SocketAddr, name: &str, kind: Kind) -> Result<Reply, AskError> {
    // The number and the port, which the system chooses, are what a forged answer would have to guess.
    let id = fastrand::u16(..);
    let question = message::question(id, name, kind)?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From now on only what comes from the server is received.
    socket.connect(server).await?;
    let mut pause = AGAIN;
    loop {
        socket.send(&question).await?;
        match tokio::time::timeout(pause, receive(&socket, &question)).await {
            Ok(Ok(Reply::Truncated)) => return ask_by_tcp(server, &question).await,
            Ok(other) => return other,
            Err(_) => pause *= 2,
        }
    }
}

async fn receive(socket: &UdpSocket, question: &[u8]) -> Result<Reply, AskError> {
    let mut buffer = [0; MOST_UDP as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match message::reply(question, buffer.get(..length).unwrap_or_default()) {
            // Late answers to earlier questions, or forged ones.
            Err(Malformed::NotOurs) => {}
            other => return Ok(other?),
        }
    }
}

async fn ask_by_tcp(server: SocketAddr, question: &[u8]) -> Result<Reply, AskError> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| Malformed::Name)?;
    stream
        .write_all(&[&length.to_be_bytes(), question].concat())
        .await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    match message::reply(question, &answer)? {
        // There is no other way left to ask for the rest.
        Reply::Truncated => Err(Malformed::Short.into()),
        whole => Ok(whole),
    }
}

/// The servers that this machine's configuration names.
pub(super) async fn system_servers() -> Vec<SocketAddr> {
    let read = tokio::task::spawn_blocking(|| std::fs::read_to_string(CONFIGURATION)).await;
    named_servers(&read.ok().and_then(Result::ok).unwrap_or_default())
}

fn named_servers(configuration: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        Some(SocketAddr::new(address.parse().ok()?, PORT))
    };
    configuration
        .lines()
        .filter_map(address)
        .take(MOST_SERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_servers_among_other_things() {
        let text = "# nameserver 1.1.1.1\nsearch local\nnameserver 10.0.0.53\nnameserver ::1 \nnameserver nonsense\n";
        let servers: Vec<String> = named_servers(text)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(servers, ["10.0.0.53:53", "[::1]:53"]);
    }
}
