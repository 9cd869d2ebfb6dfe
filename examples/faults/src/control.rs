//! How the judge steers a process: one JSON order a line over TCP, one JSON answer back.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Obeys orders until the process ends. A connection carries one order.
pub(crate) async fn obey<O, F>(listener: TcpListener, act: impl Fn(O) -> F + Clone + Send + 'static)
where
    O: DeserializeOwned + Send + 'static,
    F: Future<Output = Result<Value>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(obey_one(stream, act.clone()));
    }
}

async fn obey_one<O, F>(mut stream: TcpStream, act: impl Fn(O) -> F) -> Result<()>
where
    O: DeserializeOwned,
    F: Future<Output = Result<Value>>,
{
    let mut line = String::new();
    BufReader::new(&mut stream).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(order) => act(order).await,
        Err(error) => Err(error.into()),
    };
    let answer = answer.map_or_else(
        |error| json!({ "error": format!("{error:#}") }),
        |value| json!({ "ok": value }),
    );
    stream.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(())
}

/// Gives an order and waits for its answer.
pub(crate) async fn order(at: SocketAddr, order: &impl Serialize) -> Result<Value> {
    let mut stream = TcpStream::connect(at).await.context("the control port")?;
    let line = format!("{}\n", serde_json::to_string(order)?);
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    let mut answer: Value = serde_json::from_str(&answer).context("the answer to an order")?;
    if let Some(error) = answer.get("error") {
        bail!("an order failed: {error}");
    }
    Ok(answer["ok"].take())
}

/// Tells the judge where this process listens.
pub(crate) fn announce(service: SocketAddr, control: SocketAddr) {
    println!("{}", json!({ "service": service, "control": control }));
}
