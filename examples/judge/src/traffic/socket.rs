//! A WebSocket that is read message by message, each with a deadline.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

const CONNECT: Duration = Duration::from_secs(20);
/// A stream that is silent for this long is broken.
const SILENCE: Duration = Duration::from_secs(45);
const MAX_MESSAGE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(super) async fn connect(target: &str, path: &str) -> Result<Self, String> {
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(MAX_MESSAGE);
        config.max_frame_size = Some(MAX_MESSAGE);
        let connect = connect_async_with_config(format!("ws://{target}{path}"), Some(config), true);
        match timeout(CONNECT, connect).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no handshake within {} s", CONNECT.as_secs())),
        }
    }

    /// The next text. `Ok(None)`: closed with code 1000, as a proper end is.
    pub(super) async fn next(&mut self) -> Result<Option<String>, String> {
        loop {
            let frame = timeout(SILENCE, self.stream.next())
                .await
                .map_err(|_| format!("silent for {} s", SILENCE.as_secs()))?;
            match frame {
                Some(Ok(Message::Text(text))) => return Ok(Some(text.as_str().to_owned())),
                Some(Ok(Message::Close(Some(close)))) if u16::from(close.code) == 1000 => {
                    return Ok(None);
                }
                Some(Ok(Message::Close(close))) => {
                    let code = close.map_or(1005, |close| close.code.into());
                    return Err(format!("closed with code {code}"));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("the connection ended without a goodbye".into()),
            }
        }
    }

    /// Leaves in good order.
    pub(super) async fn leave(mut self) {
        let _gone_anyway = timeout(Duration::from_secs(1), self.stream.close(None)).await;
        let drain = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _gone_anyway = timeout(Duration::from_secs(1), drain).await;
        let _gone_anyway = self.stream.flush().await;
    }
}
