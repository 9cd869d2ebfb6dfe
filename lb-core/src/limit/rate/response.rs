//! What a limited client is told.
//!
//! Fields: `Retry-After` (RFC 9110), `RateLimit-Policy` and `RateLimit` in the form of
//! draft-ietf-httpapi-ratelimit-headers: `"default";q=10;w=1` and `"default";r=7;t=1`.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{Quota, Verdict};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The answer to one request too many.
pub(super) fn too_many<B: From<Bytes>>(quota: Quota, retry_after: Duration) -> Response<B> {
    let seconds = whole_seconds(retry_after);
    let text = format!(
        "{{\"error\":\"too many requests\",\"limit\":{},\"period_seconds\":{},\"retry_after_seconds\":{seconds}}}",
        quota.requests(),
        quota.period().as_secs_f64(),
    );
    let mut response = Response::new(B::from(Bytes::from(text)));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    tell(&mut response, Verdict::Refused { quota, retry_after });
    response
}

/// Adds the rate limit fields to an answer. A refusal from further inside has the word.
pub(super) fn tell<B>(response: &mut Response<B>, verdict: Verdict) {
    if response.status() == StatusCode::TOO_MANY_REQUESTS && response.headers().contains_key(LIMIT)
    {
        return;
    }
    let (quota, remaining, reset) = match verdict {
        Verdict::Allowed { quota, remaining } => (quota, remaining, quota.interval()),
        Verdict::Refused { quota, retry_after } => (quota, 0, retry_after),
    };
    let window = whole_seconds(quota.period());
    let policy = format!("\"default\";q={};w={window}", quota.requests());
    let limit = format!("\"default\";r={remaining};t={}", whole_seconds(reset));
    for (name, text) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// Rounded up: who comes back then is not refused again.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
