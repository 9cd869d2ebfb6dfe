//! Reading a request body, no more and no longer than allowed.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::reply::{Failure, Reply};

pub(super) async fn read<B>(body: B, limit: usize, patience: Duration) -> Result<Bytes, Failure>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let too_large = || {
        Failure(Reply::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Request body too large, max allowed is {limit} bytes."),
        ))
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    // The error of a body is opaque; only its length matters here.
    let body = body.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    let whole = Box::pin(Limited::new(body, limit).collect());
    match tokio::time::timeout(patience, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::bad("Request decode failed: the body was cut off")),
        Err(_) => Err(Failure(Reply::text(
            StatusCode::REQUEST_TIMEOUT,
            "the body came too slowly",
        ))),
    }
}
