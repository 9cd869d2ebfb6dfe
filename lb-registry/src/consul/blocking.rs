//! The rules of Consul's blocking queries, as a value.
//!
//! They are got wrong again and again, so they stand alone here: an index below one counts as one; an index that
//! went back (a restored server, another leader) starts again from zero; answers that come faster than one per
//! second are slowed down after the second in a row. Source: "Blocking Queries" in Consul's API documentation,
//! and its threads #5358 and #7939.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use lb_registry::consul::blocking::Cursor;
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example needs some moment")]
//! let now = Instant::now();
//! let mut cursor = Cursor::default();
//! assert_eq!(cursor.index(), 0);
//! cursor.answered(17, now);
//! assert_eq!(cursor.index(), 17);
//! cursor.answered(5, now); // the server was restored from a backup
//! assert_eq!(cursor.index(), 0);
//! ```

use std::time::{Duration, Instant};

/// Refill of the token bucket, and its size.
const PER_ANSWER: Duration = Duration::from_secs(1);
const BURST: u32 = 2;

/// How long one query asks the agent to wait. Short enough that no middlebox drops the connection as idle.
pub(super) const WAIT: Duration = Duration::from_secs(60);

/// Where a watcher stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    index: u64,
    /// The bucket as the moment at which it is full again.
    full_at: Option<Instant>,
}

impl Cursor {
    /// The index to ask with; zero asks for an answer at once.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Takes in the index of an answer that came at `now`, and says how long to pause before the next question.
    pub fn answered(&mut self, index: u64, now: Instant) -> Duration {
        let index = index.max(1);
        self.index = if index < self.index { 0 } else { index };
        self.pause(now)
    }

    /// After an error nothing is known about the index any more.
    pub fn failed(&mut self) {
        self.index = 0;
    }

    fn pause(&mut self, now: Instant) -> Duration {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + PER_ANSWER;
        self.full_at = Some(full_at);
        full_at
            .saturating_duration_since(now)
            .saturating_sub(PER_ANSWER * BURST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_index_of_zero_counts_as_one() {
        let mut cursor = Cursor::default();
        cursor.answered(0, crate::clock::now());
        assert_eq!(cursor.index(), 1);
    }

    proptest! {
        /// However fast answers come, over any stretch there is at most one question per second plus the burst.
        #[test]
        fn questions_are_bounded(answers in prop::collection::vec((0u64..50, 0u64..3_000), 1..60)) {
            let start = crate::clock::now();
            let mut now = start;
            let mut cursor = Cursor::default();
            for (count, (index, took)) in answers.iter().enumerate() {
                now += Duration::from_millis(*took);
                let most = now.duration_since(start).as_secs() + u64::from(BURST) + 1;
                prop_assert!(count as u64 <= most, "{count} questions in {:?}", now.duration_since(start));
                now += cursor.answered(*index, now);
            }
        }

        /// The index asked with is zero or the last answer's.
        #[test]
        fn the_index_never_runs_ahead(indexes in prop::collection::vec(0u64..9, 1..40)) {
            let now = crate::clock::now();
            let mut cursor = Cursor::default();
            for index in indexes {
                let before = cursor.index();
                cursor.answered(index, now);
                prop_assert!(cursor.index() == index.max(1) || (cursor.index() == 0 && index.max(1) < before));
            }
        }
    }
}
