//! Which answers are worth another endpoint, and what an endpoint asks for.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

/// The answers after which another endpoint is asked, if the request may be sent twice.
/// Default: none; only what was not answered at all is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(Box<[StatusCode]>);

impl RetryOn {
    /// No answer.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// 502, 503 and 504: something between here and the application failed.
    #[must_use]
    pub fn gateway_errors() -> Self {
        Self::statuses([
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ])
    }

    /// These statuses.
    #[must_use]
    pub fn statuses(statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        Self(statuses.into_iter().collect())
    }

    /// Whether this status is among them.
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.contains(&status)
    }
}

/// How long an answer asks to be left alone: `Retry-After` in seconds. The form with a
/// date depends on clocks that agree, and is not read.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
/// let wait = lb_core::retry::retry_after(&headers);
/// assert_eq!(wait, Some(std::time::Duration::from_secs(7)));
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| text.parse().unwrap_or(u32::MAX))?;
    Some(Duration::from_secs(seconds.into()))
}

/// Tells what an answer's head says of its endpoint.
#[cfg(feature = "affinity")]
pub(crate) fn record_answer(
    lease: &mut crate::Lease,
    status: StatusCode,
    headers: &HeaderMap,
    now: std::time::Instant,
) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        lease.record_refusal(retry_after(headers), now);
    } else {
        lease.record(crate::Outcome::from_status(status), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_seconds_are_read_and_absurd_ones_saturate() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("0"), Some(Duration::ZERO));
        let most = Some(Duration::from_secs(u32::MAX.into()));
        assert_eq!(read("99999999999999999999"), most);
        for odd in ["", "-1", "1.5", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
