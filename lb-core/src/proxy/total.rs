//! How long a request may take in all, and what endpoints are told of it.

use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::deadline::DeadlineHeader;

/// The end of a request, whatever it waits for then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Total {
    pub(crate) ends: Option<Instant>,
    /// That is the proxy's own limit, not a client's deadline.
    pub(crate) own: bool,
    /// Where in the head the time that is left is written.
    at: Option<usize>,
}

impl Total {
    /// The earlier of the proxy's limit and the client's deadline.
    pub(crate) fn new(limit: Option<Duration>, given: Option<Duration>, now: Instant) -> Self {
        let first = limit.into_iter().chain(given).min();
        Self {
            ends: first.map(|first| now + first),
            own: first == limit,
            at: None,
        }
    }

    /// Makes room for the time that is left at the end of a head.
    pub(crate) fn make_room(&mut self, head: &mut Vec<u8>, header: Option<&DeadlineHeader>) {
        let Some(header) = header.filter(|_| self.ends.is_some()) else {
            return;
        };
        head.truncate(head.len() - b"\r\n".len());
        head.extend_from_slice(header.name().as_str().as_bytes());
        head.extend_from_slice(b": ");
        self.at = Some(head.len());
        head.extend_from_slice(&DeadlineHeader::digits(Duration::ZERO));
        head.extend_from_slice(header.unit());
        head.extend_from_slice(b"\r\n\r\n");
    }

    /// Where the time that is left is written, and how much that is.
    pub(crate) fn left(&self, now: Instant) -> Option<(usize, Duration)> {
        let (at, ends) = self.at.zip(self.ends)?;
        Some((at, ends.saturating_duration_since(now)))
    }
}

/// Takes the client's deadline out: the next hop gets what is left of it.
pub(crate) fn take_deadline(
    header: &DeadlineHeader,
    headers: &mut HeaderMap,
    trusted: bool,
) -> Option<Duration> {
    let value = headers.remove(header.name())?;
    let believed = header.believes(trusted);
    believed.then(|| header.read(value.as_bytes())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_limit_and_deadline_ends_the_request() {
        let (now, second) = (crate::clock::now(), Duration::from_secs(1));
        let cases = [
            (None, None, None, true),
            (Some(second), None, Some(second), true),
            (None, Some(second), Some(second), false),
            (Some(second), Some(2 * second), Some(second), true),
            (Some(2 * second), Some(second), Some(second), false),
        ];
        for (limit, given, expected, own) in cases {
            let total = Total::new(limit, given, now);
            assert_eq!(total.ends, expected.map(|expected| now + expected));
            assert_eq!(total.own, own, "{limit:?} {given:?}");
        }
    }
}
