//! What differs from path to path.

use super::{Limits, Timeouts};
use crate::hedge::Hedge;
use crate::retry::RetryOn;

/// Limits, timeouts and attempts for some paths; see
/// [`ReverseProxy::route`](super::ReverseProxy::route).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoutePolicy {
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) attempts: u8,
    pub(crate) retry_on: RetryOn,
    pub(crate) hedge: Option<Hedge>,
}

impl Default for RoutePolicy {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            attempts: 3,
            retry_on: RetryOn::nothing(),
            hedge: None,
        }
    }
}

impl RoutePolicy {
    /// What a request may measure. Default: as the proxy's.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long each phase may take. Default: as the proxy's.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Endpoints that one request may be tried on, the first included. Default:
    /// as the proxy's; 0 counts as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u8) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Answers after which another endpoint is asked. Default: as the proxy's.
    #[must_use]
    pub fn retry_on(mut self, answers: RetryOn) -> Self {
        self.retry_on = answers;
        self
    }

    /// When a second endpoint is asked beside the first; `None` never. Default: as the
    /// proxy's.
    #[must_use]
    pub fn hedge(mut self, hedge: impl Into<Option<Hedge>>) -> Self {
        self.hedge = hedge.into();
        self
    }
}

/// Policies by path prefix; the first is everybody's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    common: RoutePolicy,
    special: Vec<(String, RoutePolicy)>,
}

/// Which policy a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteIndex(Option<usize>);

impl Routes {
    pub(crate) fn common(&mut self) -> &mut RoutePolicy {
        &mut self.common
    }

    pub(crate) fn add(&mut self, prefix: String, change: impl FnOnce(RoutePolicy) -> RoutePolicy) {
        let policy = change(self.common.clone());
        self.special.retain(|(known, _)| *known != prefix);
        self.special.push((prefix, policy));
        // The longest prefix is found first.
        self.special
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    }

    /// The policy with the longest prefix that ends where a segment ends.
    pub(crate) fn find(&self, path: &str) -> RouteIndex {
        let covers = |(prefix, _): &(String, RoutePolicy)| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
            })
        };
        RouteIndex(self.special.iter().position(covers))
    }

    pub(crate) fn get(&self, index: RouteIndex) -> &RoutePolicy {
        index
            .0
            .and_then(|at| self.special.get(at))
            .map_or(&self.common, |(_, policy)| policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(path: &str) -> u8 {
        let mut routes = Routes::default();
        routes.add("/api".into(), |policy| policy.attempts(1));
        routes.add("/api/jobs".into(), |policy| policy.attempts(2));
        routes.add("/static/".into(), |policy| policy.attempts(9));
        routes.get(routes.find(path)).attempts
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_counts() {
        assert_eq!(attempts("/api"), 1);
        assert_eq!(attempts("/api/x"), 1);
        assert_eq!(attempts("/api/jobs/1"), 2);
        assert_eq!(attempts("/apis"), 3);
        assert_eq!(attempts("/static/a.js"), 9);
        assert_eq!(attempts("/"), 3);
    }
}
