//! Why the proxy answered a request itself, and what the client is told.

use http::{HeaderValue, Method, StatusCode, header};

/// A reason for the proxy to answer by itself.
///
/// The response carries this value as an extension, so that layers around the
/// proxy can tell a client's fault from an upstream's. The body is a small JSON
/// object with [`code`](Self::code) and the message of this error; addresses and
/// operating system errors never leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// `CONNECT` and `TRACE` are not proxied.
    #[error("this method is not proxied")]
    MethodNotAllowed,
    /// No `Host`, more than one, or one that is no authority.
    #[error("exactly one valid host is required")]
    InvalidHost,
    /// The request target is not one that may be forwarded.
    #[error("the request target is not valid")]
    InvalidTarget,
    /// The path means something else once dots and escapes are resolved.
    #[error("the path is not in its normal form")]
    AmbiguousPath,
    /// The length of the body cannot be told for certain.
    #[error("the framing of the request is ambiguous")]
    AmbiguousFraming,
    /// A transfer coding other than `chunked`.
    #[error("this transfer coding is not supported")]
    UnsupportedTransferCoding,
    /// An expectation other than `100-continue`.
    #[error("this expectation cannot be met")]
    ExpectationFailed,
    /// An upgrade with a body, or with a version that cannot be tunnelled.
    #[error("this upgrade request is not valid")]
    InvalidUpgrade,
    /// The request target is longer than the limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// More fields, or more bytes of fields, than the limit.
    #[error("the header section is too large")]
    HeadersTooLarge,
    /// The body is longer than the limit.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The client's body ended early or was malformed.
    #[error("the request body is malformed or incomplete")]
    InvalidBody,
    /// The client stopped sending its body.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// More than one `Max-Forwards` of an `OPTIONS`, or one that is no number.
    #[error("exactly one valid number of hops is required")]
    InvalidMaxForwards,
    /// An `OPTIONS` that may go no further, which is no fault: 200, and the methods that are
    /// proxied.
    #[error("the request may go no further")]
    LastHop,
    /// The request has been here before: it bears the name of [`Via`](super::Via).
    #[error("the request goes in a circle")]
    LoopDetected,
    /// No endpoint is available.
    #[error("no endpoint is available")]
    NoEndpoint,
    /// The endpoint this session is bound to is down and may not be replaced.
    #[error("the endpoint of this session is not available")]
    SessionEndpointDown,
    /// The upstream or its endpoints take no more requests or connections now.
    #[error("the endpoints take no more requests now")]
    Overloaded,
    /// The request took as long as it may, or as its client would wait.
    #[error("no endpoint answered within the time of this request")]
    DeadlineExceeded,
    /// An endpoint refused with a status that is worth another endpoint; clients never
    /// get this one.
    #[error("the endpoint refused")]
    Refused,
    /// A part that the application brought along panicked: its policy, its way to find a
    /// client's address, or a request body of its making.
    #[error("the proxy failed")]
    Internal,
    /// No connection to an endpoint could be made.
    #[error("the endpoint could not be reached")]
    Unreachable,
    /// The endpoint ended the connection before it answered.
    #[error("the endpoint closed the connection without an answer")]
    UpstreamClosed,
    /// The endpoint's answer is not valid HTTP, or ambiguous.
    #[error("the endpoint sent an invalid answer")]
    InvalidResponse,
    /// A connection could not be made in time.
    #[error("the endpoint could not be reached in time")]
    ConnectTimeout,
    /// The endpoint did not answer in time.
    #[error("the endpoint did not answer in time")]
    ResponseTimeout,
}

impl ProxyError {
    /// The status the client receives.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidHost
            | Self::InvalidTarget
            | Self::AmbiguousPath
            | Self::AmbiguousFraming
            | Self::InvalidUpgrade
            | Self::InvalidMaxForwards
            | Self::InvalidBody => StatusCode::BAD_REQUEST,
            Self::LastHop => StatusCode::OK,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::UnsupportedTransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoEndpoint | Self::SessionEndpointDown | Self::Overloaded => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unreachable | Self::UpstreamClosed | Self::InvalidResponse | Self::Refused => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout | Self::ResponseTimeout | Self::DeadlineExceeded => {
                StatusCode::GATEWAY_TIMEOUT
            }
        }
    }

    /// A stable word for programs: lower case, with underscores.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidHost => "invalid_host",
            Self::InvalidTarget => "invalid_target",
            Self::AmbiguousPath => "ambiguous_path",
            Self::AmbiguousFraming => "ambiguous_framing",
            Self::UnsupportedTransferCoding => "unsupported_transfer_coding",
            Self::ExpectationFailed => "expectation_failed",
            Self::InvalidUpgrade => "invalid_upgrade",
            Self::TargetTooLong => "target_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::InvalidBody => "invalid_body",
            Self::BodyTimeout => "body_timeout",
            Self::InvalidMaxForwards => "invalid_max_forwards",
            Self::LastHop => "last_hop",
            Self::LoopDetected => "loop_detected",
            Self::NoEndpoint => "no_endpoint",
            Self::SessionEndpointDown => "session_endpoint_down",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Refused => "refused",
            Self::Internal => "internal",
            Self::Unreachable => "unreachable",
            Self::UpstreamClosed => "upstream_closed",
            Self::InvalidResponse => "invalid_response",
            Self::ConnectTimeout => "connect_timeout",
            Self::ResponseTimeout => "response_timeout",
        }
    }

    /// `true` when the client is to blame: never counted against an endpoint,
    /// never retried.
    #[must_use]
    pub const fn is_client_fault(self) -> bool {
        // 501 is the answer to a transfer coding that only the client chose.
        matches!(self, Self::UnsupportedTransferCoding)
            || matches!(self.status().as_u16(), 400..500)
    }

    /// The whole answer. `HEAD` gets the same fields without the body.
    pub(crate) fn response(self, method: &Method) -> http::Response<bytes::Bytes> {
        let text = match self {
            Self::LastHop => String::new(),
            _ => format!(r#"{{"error":"{}","message":"{self}"}}"#, self.code()),
        };
        let length = HeaderValue::from(text.len());
        let json = HeaderValue::from_static("application/json");
        let typed = (!text.is_empty()).then_some(json);
        let body = if *method == Method::HEAD {
            String::new()
        } else {
            text
        };
        let mut response = http::Response::new(body.into());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.extend(typed.map(|json| (header::CONTENT_TYPE, json)));
        headers.insert(header::CONTENT_LENGTH, length);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::MethodNotAllowed | Self::LastHop => {
                let allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
                headers.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::NoEndpoint | Self::SessionEndpointDown | Self::Overloaded => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if self.must_close() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.extensions_mut().insert(self);
        response
    }

    /// `true` when nothing that follows on the client's connection can be trusted.
    const fn must_close(self) -> bool {
        matches!(
            self,
            // What follows a CONNECT may be meant for a tunnel that never came to be.
            Self::MethodNotAllowed
                | Self::AmbiguousFraming
                | Self::UnsupportedTransferCoding
                | Self::InvalidBody
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::InvalidHost
                | Self::InvalidUpgrade
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_fault_is_never_answered_with_a_gateway_status() {
        let faults = [
            ProxyError::InvalidBody,
            ProxyError::BodyTimeout,
            ProxyError::AmbiguousFraming,
            ProxyError::UnsupportedTransferCoding,
        ];
        for fault in faults {
            assert!(fault.is_client_fault());
            assert!(!matches!(fault.status().as_u16(), 502..=504), "{fault}");
        }
    }

    #[test]
    fn the_answer_names_the_reason_and_no_internals() {
        let response = ProxyError::Unreachable.response(&Method::GET);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let expected = r#"{"error":"unreachable","message":"the endpoint could not be reached"}"#;
        assert_eq!(response.body(), expected);
        assert_eq!(response.extensions().get(), Some(&ProxyError::Unreachable));
    }

    #[test]
    fn the_last_hop_tells_what_may_be_asked_for_and_blames_nobody() {
        let response = ProxyError::LastHop.response(&Method::OPTIONS);
        assert!(response.body().is_empty());
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "0");
        assert!(!response.headers().contains_key(header::CONTENT_TYPE));
        assert!(response.headers().contains_key(header::ALLOW));
        assert!(!ProxyError::LastHop.is_client_fault());
    }

    #[test]
    fn head_gets_the_length_without_the_body() {
        let response = ProxyError::NoEndpoint.response(&Method::HEAD);
        assert!(response.body().is_empty());
        assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
