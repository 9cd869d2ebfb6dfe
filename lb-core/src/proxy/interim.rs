//! Interim answers (1xx) on their way to the client.
//!
//! The server in front has no words for them. Where the client's connection is ours
//! they go past it: the [`Outlet`] writes a head while nothing else is being written.
//! Until it has, its request reads nothing more from the endpoint, so that the order
//! stays and one head at a time is all that is held.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::rules::interim::encode;
use super::rules::response::Answer;

/// Heads handed on per request, at most. More are dropped: they are advice.
const MAX_HEADS: u8 = 16;
/// Bytes of all these heads, at most.
const MAX_BYTES: usize = 16 << 10;

/// A client that takes nothing for so long gets its answer without further advice.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A client's connection that can be told something in passing.
pub(crate) trait Outlet: Send + Sync {
    /// Takes `head`, unless another one waits; wakes the connection's task when it has
    /// left.
    fn offer(&self, head: Bytes);

    /// Something was taken and has not left yet.
    fn is_waiting(&self) -> bool;

    /// Forgets what has not begun to leave: the final answer comes next.
    fn withdraw(&self);
}

/// The interim answers of one request. Dropping it withdraws what has not left.
#[derive(Default)]
pub(crate) struct Relay {
    outlet: Option<Arc<dyn Outlet>>,
    heads: u8,
    bytes: usize,
}

impl Relay {
    /// Hands on through `outlet`; without one, nothing.
    pub(crate) fn new(outlet: Option<Arc<dyn Outlet>>) -> Self {
        Self {
            outlet,
            ..Self::default()
        }
    }

    /// Hands the head of an interim answer on, if the client may still be told.
    pub(crate) fn hand_on(&mut self, answer: &Answer, fields: &HeaderMap) {
        let Some(outlet) = self.outlet.as_ref().filter(|_| self.heads < MAX_HEADS) else {
            return;
        };
        let head = encode(answer, fields);
        if self.bytes + head.len() <= MAX_BYTES {
            self.heads += 1;
            self.bytes += head.len();
            outlet.offer(head);
        }
    }

    /// Hands nothing on any more, and waits for nothing.
    pub(crate) fn give_up(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            outlet.withdraw();
        }
    }

    /// The client has not got everything yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.heads > 0 && self.outlet.as_ref().is_some_and(|it| it.is_waiting())
    }
}

impl Drop for Relay {
    #[inline]
    fn drop(&mut self) {
        if self.heads > 0 {
            self.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, StatusCode};

    use super::*;
    use crate::Pool;
    use crate::proxy::ProxyBody;

    /// A client that takes nothing.
    #[derive(Default)]
    struct Deaf {
        offered: AtomicUsize,
        withdrawn: AtomicUsize,
    }

    impl Outlet for Deaf {
        fn offer(&self, _: Bytes) {
            self.offered.fetch_add(1, Ordering::Relaxed);
        }

        fn is_waiting(&self) -> bool {
            self.withdrawn.load(Ordering::Relaxed) == 0
        }

        fn withdraw(&self) {
            self.withdrawn.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_no_advice_gets_its_answer_and_nobody_is_blamed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(3);
            let answer = format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let pool = Pool::builder("deaf").endpoints([url]).build().unwrap();
        let deaf = Arc::new(Deaf::default());
        let request = Request::get("/").header("host", "h");
        let request = request.body(ProxyBody::from(Bytes::new())).unwrap();
        let request = request.into_parts();
        let outlet = Arc::clone(&deaf) as Arc<dyn Outlet>;
        let proxy = pool.reverse_proxy();
        let Ok(answer) = proxy.forward_over(request, None, Some(outlet)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        assert_eq!((count(&deaf.offered), count(&deaf.withdrawn)), (1, 1));
        assert_eq!(pool.status().endpoints[0].failures_total, 0);
    }
}
