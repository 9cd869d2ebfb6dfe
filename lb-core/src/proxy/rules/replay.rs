//! Whether a request that failed may go to another endpoint.

use http::Method;

/// How far a failed attempt had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not one byte reached a socket: the endpoint cannot have seen the request.
    NotSent,
    /// Bytes were written, and no byte of an answer was read.
    Sent,
    /// The endpoint had begun to answer.
    Answered,
}

/// May the request be sent again, to another endpoint?
///
/// `rewindable` says that every byte sent so far is still at hand. A request
/// that was provably not sent may always go again. One that was sent may go
/// again when its method is idempotent (RFC 9110, 9.2.2). Once an answer has
/// begun nothing is sent twice: the client may have seen it.
///
/// ```text
///             not sent   sent   answered
/// idempotent     yes      yes      no
/// others         yes      no       no
/// ```
pub(crate) fn may_replay(method: &Method, rewindable: bool, progress: Progress) -> bool {
    rewindable
        && match progress {
            Progress::NotSent => true,
            Progress::Sent => method.is_idempotent(),
            Progress::Answered => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_goes_again_only_when_it_was_not_sent() {
        assert!(may_replay(&Method::POST, true, Progress::NotSent));
        assert!(!may_replay(&Method::POST, true, Progress::Sent));
        assert!(may_replay(&Method::PUT, true, Progress::Sent));
    }

    #[test]
    fn nothing_goes_again_after_an_answer_or_without_its_bytes() {
        assert!(!may_replay(&Method::GET, true, Progress::Answered));
        assert!(!may_replay(&Method::GET, false, Progress::Sent));
        assert!(!may_replay(&Method::GET, false, Progress::NotSent));
    }
}
