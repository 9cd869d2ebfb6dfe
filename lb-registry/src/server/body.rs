//! Reading a request body, no more and no longer than allowed.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;

use super::reply::{Failure, Reply};

/// A body that is too large is still read up to this many times the limit, without being kept: most clients
/// only look for an answer once they have sent everything.
const PATIENT_TIMES: usize = 16;

pub(super) async fn read<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, Failure>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    match tokio::time::timeout(patience, Box::pin(collect(body, limit))).await {
        Ok(done) => done,
        Err(_) => Err(Failure(Reply::text(
            StatusCode::REQUEST_TIMEOUT,
            "the body came too slowly",
        ))),
    }
}

async fn collect<B>(body: B, limit: usize) -> Result<Bytes, Failure>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let mut body = std::pin::pin!(body);
    let (mut kept, mut seen) = (BytesMut::new(), 0usize);
    while let Some(frame) = body.frame().await {
        // The error of a body is opaque; whatever it is, the rest will not come.
        let frame =
            frame.map_err(|_| Failure::bad("Request decode failed: the body was cut off"))?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.remaining());
        if seen > limit.saturating_mul(PATIENT_TIMES) {
            break;
        }
        if seen <= limit {
            kept.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
    }
    if seen <= limit {
        return Ok(kept.freeze());
    }
    let text = format!("Request body({seen} bytes) too large, max size: {limit} bytes.");
    Err(Failure(Reply::text(StatusCode::PAYLOAD_TOO_LARGE, text)))
}
