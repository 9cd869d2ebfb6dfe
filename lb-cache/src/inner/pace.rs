//! When does a question leave, and with how many keys?
//!
//! Every question costs about the same, however many keys it asks for, so keys
//! shall gather; but nobody shall wait long for others. So while questions are
//! under way the next one waits until one of them is answered: who comes
//! meanwhile rides along. How many may be under way at once follows the shortest
//! time that an answer took of late: one question per [`SPACING`]. To a server
//! that answers within that time one question is under way; to one that is a
//! millisecond away, ten. A question that has enough keys leaves at once.

use std::time::Duration;

/// At most so many keys are asked for in one question.
const MOST_KEYS: usize = 64;
/// With so many keys a question's own price hardly counts any more.
const ENOUGH_KEYS: usize = 16;
/// A question shall bring about so many bytes, or large values would wait for each other.
const FAIR_BYTES: usize = 256 << 10;
/// At most so many questions are under way at once to one part of a tier.
const MOST_QUESTIONS: usize = 16;
/// Questions of few keys leave at most this often, on average.
const SPACING: Duration = Duration::from_micros(100);
/// The shortest time is that of the last one or two windows of so many questions.
const WINDOW: u32 = 64;

/// What the answers of one part of a tier were like.
#[derive(Debug)]
pub(super) struct Pace {
    /// A moving mean of what an answer weighs.
    mean_bytes: usize,
    shortest: Duration,
    shortest_before: Duration,
    left_in_window: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            mean_bytes: 0,
            shortest: Duration::MAX,
            shortest_before: Duration::MAX,
            left_in_window: WINDOW,
        }
    }
}

impl Pace {
    /// May one more question leave, while so many are under way and so many keys wait?
    pub(super) fn admits(&self, under_way: usize, waiting: usize) -> bool {
        let enough = waiting >= self.fair_keys().min(ENOUGH_KEYS);
        let most = if enough {
            MOST_QUESTIONS
        } else {
            self.questions()
        };
        under_way < most
    }

    /// How many of so many keys that wait go into the next question of a reader that
    /// has just brought an answer: a quarter, so that neither this process nor the
    /// server is idle while the other works.
    pub(super) fn share(&self, waiting: usize) -> usize {
        waiting.div_ceil(4).max(ENOUGH_KEYS).min(self.fair_keys())
    }

    /// How many questions of few keys may be under way at once.
    fn questions(&self) -> usize {
        let shortest = self.shortest.min(self.shortest_before);
        let questions = shortest.as_micros() / SPACING.as_micros();
        questions.clamp(1, MOST_QUESTIONS as u128) as usize
    }

    /// How many keys make a fair question.
    pub(super) fn fair_keys(&self) -> usize {
        (FAIR_BYTES / self.mean_bytes.max(1)).clamp(1, MOST_KEYS)
    }

    /// Learns from a question that took so long, and brought so many values of so many bytes.
    pub(super) fn learn(&mut self, took: Duration, values: usize, bytes: usize) {
        self.shortest = self.shortest.min(took);
        self.left_in_window -= 1;
        if self.left_in_window == 0 {
            self.shortest_before = std::mem::replace(&mut self.shortest, Duration::MAX);
            self.left_in_window = WINDOW;
        }
        if let Some(latest) = bytes.checked_div(values) {
            self.mean_bytes = moving_mean(self.mean_bytes, latest);
        }
    }
}

fn moving_mean(mean: usize, latest: usize) -> usize {
    match mean {
        0 => latest,
        mean => mean - mean / 8 + latest / 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paced(took: Duration, bytes: usize) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..2 * WINDOW {
            pace.learn(took, 1, bytes);
        }
        pace
    }

    proptest! {
        /// A question is never empty, never too long, and shorter for larger values.
        #[test]
        fn a_fair_question_is_bounded(small in 0usize..1 << 30, more in 0usize..1 << 30) {
            let (few, many) = (paced(SPACING, small), paced(SPACING, small + more));
            prop_assert!((1..=MOST_KEYS).contains(&few.fair_keys()));
            prop_assert!(many.fair_keys() <= few.fair_keys());
        }

        /// A share is never empty, and never more than is fair.
        #[test]
        fn a_share_is_fair(waiting in 1usize..1 << 20, bytes in 0usize..1 << 30) {
            let pace = paced(SPACING, bytes);
            prop_assert!((1..=pace.fair_keys()).contains(&pace.share(waiting)));
        }

        /// The mean stays between what it was and what came.
        #[test]
        fn the_mean_follows_what_comes(mean in 8usize..1 << 40, latest in 8usize..1 << 40) {
            let next = moving_mean(mean, latest);
            prop_assert!((mean.min(latest) - 7..=mean.max(latest)).contains(&next));
        }

        /// A lone question always leaves, and however many wait, the number under way is bounded.
        #[test]
        fn questions_under_way_are_bounded(micros in 0u64..1 << 40, waiting in 1usize..1 << 20) {
            let pace = paced(Duration::from_micros(micros), 1_000);
            prop_assert!(pace.admits(0, waiting));
            prop_assert!(!pace.admits(MOST_QUESTIONS, waiting));
        }

        /// Who is far away is asked more often at once, not less.
        #[test]
        fn distance_allows_more_questions(micros in 0u64..1 << 20, more in 0u64..1 << 20) {
            let near = paced(Duration::from_micros(micros), 1);
            let far = paced(Duration::from_micros(micros + more), 1);
            prop_assert!(near.questions() <= far.questions());
        }
    }

    #[test]
    fn a_question_with_enough_keys_does_not_wait_for_an_answer() {
        let pace = paced(SPACING, 1_000);
        assert!(!pace.admits(1, ENOUGH_KEYS - 1) && pace.admits(1, ENOUGH_KEYS));
        let large = paced(SPACING, FAIR_BYTES);
        assert!(large.admits(1, 1), "large values are asked for one by one");
    }

    #[test]
    fn one_slow_answer_does_not_count_and_a_quick_one_is_forgotten() {
        let mut pace = paced(SPACING * 8, 1);
        assert_eq!(pace.questions(), 8);
        pace.learn(SPACING * 100, 1, 1);
        assert_eq!(pace.questions(), 8);
        pace.learn(SPACING * 2, 1, 1);
        assert_eq!(pace.questions(), 2);
        for _ in 0..2 * WINDOW {
            pace.learn(SPACING * 8, 1, 1);
        }
        assert_eq!(pace.questions(), 8);
    }
}
