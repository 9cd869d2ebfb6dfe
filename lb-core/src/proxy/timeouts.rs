//! How long each phase of a proxied request may take.

use std::time::Duration;

use crate::clock::bounded;

/// How long the phases of a request may last. Each is measured from the last
/// progress, so that a large transfer may take as long as it needs.
///
/// ```
/// use std::time::Duration;
/// use lb_core::proxy::Timeouts;
///
/// let quick = Timeouts::default().response(Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
    pub(crate) body: Duration,
    pub(crate) expect: Duration,
    pub(crate) tunnel: Duration,
    pub(crate) idle: Duration,
    pub(crate) per_attempt: Option<Duration>,
    pub(crate) total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            response: Duration::from_secs(60),
            body: Duration::from_secs(60),
            expect: Duration::from_secs(1),
            tunnel: Duration::from_secs(3600),
            idle: Duration::from_secs(4),
            per_attempt: None,
            total: None,
        }
    }
}

impl Timeouts {
    /// Until a connection stands; beyond, another endpoint is tried, then 504.
    /// Default: 3 s.
    #[must_use]
    pub fn connect(mut self, limit: Duration) -> Self {
        self.connect = bounded(limit);
        self
    }

    /// From the end of the request, or an interim answer, to the head of the answer;
    /// beyond: 504.
    /// Default: 60 s.
    #[must_use]
    pub fn response(mut self, limit: Duration) -> Self {
        self.response = bounded(limit);
        self
    }

    /// One attempt from the choice of its endpoint to the head of the answer, however it
    /// is moving; beyond, another endpoint is tried, then 504. Default: no limit but
    /// those of the phases.
    #[must_use]
    pub fn per_attempt(mut self, limit: Duration) -> Self {
        self.per_attempt = Some(bounded(limit));
        self
    }

    /// The whole request, all attempts and their waits, up to the head of the answer;
    /// beyond: 504. It always wins, also over attempts that are left. An answer that has
    /// begun is not cut off: its pace is what [`body`](Self::body) bounds. Default: no
    /// limit.
    #[must_use]
    pub fn total(mut self, limit: Duration) -> Self {
        self.total = Some(bounded(limit));
        self
    }

    /// Between two pieces of a body, in either direction. A client that stops:
    /// 408. An endpoint that stops: the answer is aborted. Default: 60 s.
    #[must_use]
    pub fn body(mut self, limit: Duration) -> Self {
        self.body = bounded(limit);
        self
    }

    /// How long a client with `Expect: 100-continue` waits for the endpoint's
    /// word before its body is asked for anyway. Default: 1 s.
    #[must_use]
    pub fn expect(mut self, limit: Duration) -> Self {
        self.expect = bounded(limit);
        self
    }

    /// A tunnel with no byte in either direction ends. Default: 1 hour.
    #[must_use]
    pub fn tunnel(mut self, limit: Duration) -> Self {
        self.tunnel = bounded(limit);
        self
    }

    /// An unused connection to an endpoint is closed. Keep it shorter than the
    /// endpoint's own limit, or requests race with its close. Default: 4 s,
    /// because common application servers close after 5 s.
    #[must_use]
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = bounded(limit);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[test]
    fn the_longest_time_of_all_is_no_limit_and_no_panic() {
        let never = Duration::MAX;
        let timeouts = Timeouts::default().connect(never).response(never);
        let timeouts = timeouts.per_attempt(never).total(never).body(never);
        let timeouts = timeouts.expect(never).tunnel(never).idle(never);
        let phases = [timeouts.connect, timeouts.response, timeouts.body];
        let others = [timeouts.expect, timeouts.tunnel, timeouts.idle];
        let wholes = [timeouts.per_attempt, timeouts.total];
        let all = phases.into_iter().chain(others);
        for limit in all.chain(wholes.into_iter().flatten()) {
            assert!(now() + limit > now() + Duration::from_secs(1 << 31));
        }
    }
}
