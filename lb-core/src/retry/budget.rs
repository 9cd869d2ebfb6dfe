//! Retries as a share of recent requests.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// When there are too many moments, those closer together than this part of the window
/// become one, so that memory stays bounded whatever the rate.
const RESOLUTION: u32 = 1_000;
/// More moments than this are too many.
const MOST: usize = 2 * RESOLUTION as usize;
/// A product so close to a whole number is that number.
const HAIR: f64 = 1e-9;

/// Allows retries up to a share of the requests of the last while, plus a
/// constant rate so that small clients may retry at all.
///
/// Requests and retries count for `ttl`. A retry is allowed while live retries are below
/// `ratio x live requests`, rounded down, plus `min_per_second x ttl`, rounded up: whoever
/// allows some always allows one. Up to 2,000 moments within `ttl` are told apart; of
/// more, each lives a thousandth of `ttl` shorter at most.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    ratio: f64,
    ttl: Duration,
    min_per_second: f64,
    window: VecDeque<Slot>,
    deposits: u64,
    withdrawals: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    at: Instant,
    deposits: u64,
    withdrawals: u64,
}

impl RetryBudget {
    /// Retries per request (`ratio`; what is not finite or negative counts as
    /// 0), over `ttl`, and how many per second are always allowed.
    #[must_use]
    pub fn new(ratio: f64, ttl: Duration, min_per_second: f64) -> Self {
        let sane = |value: f64| {
            if value.is_finite() {
                value.max(0.0)
            } else {
                0.0
            }
        };
        Self {
            ratio: sane(ratio),
            ttl,
            min_per_second: sane(min_per_second),
            window: VecDeque::new(),
            deposits: 0,
            withdrawals: 0,
        }
    }

    /// The same rules for what `before` has counted: a change of rules is no way around
    /// them.
    #[must_use]
    pub fn continuing(self, before: &Self) -> Self {
        Self {
            ratio: self.ratio,
            ttl: self.ttl,
            min_per_second: self.min_per_second,
            ..before.clone()
        }
    }

    /// Counts requests: first tries only.
    pub fn deposit(&mut self, requests: u64, now: Instant) {
        self.expire(now);
        self.deposits += requests;
        self.slot(now).deposits += requests;
    }

    /// Takes one retry if one is left.
    #[must_use = "a retry that was taken but not made is to be given back"]
    pub fn try_withdraw(&mut self, now: Instant) -> bool {
        self.expire(now);
        if self.withdrawals as f64 >= self.limit() {
            return false;
        }
        self.withdrawals += 1;
        self.slot(now).withdrawals += 1;
        true
    }

    /// Returns a retry that was taken a moment ago and not made.
    pub fn give_back(&mut self) {
        let mut newest = self.window.iter_mut().rev();
        if let Some(slot) = newest.find(|slot| slot.withdrawals > 0) {
            slot.withdrawals -= 1;
            self.withdrawals -= 1;
        }
    }

    /// Retries that the window allows in all.
    fn limit(&self) -> f64 {
        let share = self.ratio * self.deposits as f64;
        let always = self.min_per_second * self.ttl.as_secs_f64();
        (share + HAIR).floor() + (always - HAIR).ceil()
    }

    /// Forgets what is older than the window.
    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.window.front()
            && now.saturating_duration_since(oldest.at) >= self.ttl
        {
            self.deposits -= oldest.deposits;
            self.withdrawals -= oldest.withdrawals;
            self.window.pop_front();
        }
    }

    /// Where events of now are counted. Time that runs backwards counts as the
    /// latest time seen.
    fn slot(&mut self, now: Instant) -> &mut Slot {
        if self.window.back().is_none_or(|last| last.at < now) {
            if self.window.len() >= MOST {
                self.compact();
            }
            self.window.push_back(Slot {
                at: now,
                deposits: 0,
                withdrawals: 0,
            });
        }
        self.window
            .back_mut()
            .expect("invariant: a slot was just added if there was none")
    }

    /// Makes one of what is close together; half of all that fits is left at most.
    fn compact(&mut self) {
        let close = self.ttl / RESOLUTION;
        let mut merged: VecDeque<Slot> = VecDeque::with_capacity(MOST);
        for slot in self.window.drain(..) {
            match merged.back_mut() {
                Some(last) if slot.at.saturating_duration_since(last.at) <= close => {
                    last.deposits += slot.deposits;
                    last.withdrawals += slot.withdrawals;
                }
                _ => merged.push_back(slot),
            }
        }
        self.window = merged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> Instant {
        crate::clock::now()
    }

    #[test]
    fn what_was_deposited_expires() {
        let now = start();
        let mut budget = RetryBudget::new(1.0, Duration::from_secs(10), 0.0);
        budget.deposit(5, now);
        assert!(budget.try_withdraw(now + Duration::from_secs(9)));
        assert!(!budget.try_withdraw(now + Duration::from_secs(10)));
    }

    #[test]
    fn each_request_counts_for_its_own_time_however_long_that_is() {
        for ttl in [10_u64, 5_000] {
            let (now, ttl) = (start(), Duration::from_secs(ttl));
            let moment = ttl / 2_000;
            let mut budget = RetryBudget::new(1.0, ttl, 0.0);
            budget.deposit(1, now);
            budget.deposit(1, now + moment);
            assert!(budget.try_withdraw(now + ttl), "the second is not over");
            assert!(!budget.try_withdraw(now + ttl + moment));
        }
    }

    #[test]
    fn a_share_is_rounded_down_and_what_is_always_allowed_up() {
        let now = start();
        let allowed = |ratio, seconds, min_per_second| {
            let mut budget = RetryBudget::new(ratio, Duration::from_secs(seconds), min_per_second);
            budget.deposit(100, now);
            (0..100).filter(|_| budget.try_withdraw(now)).count()
        };
        assert_eq!(allowed(0.29, 10, 0.0), 29, "0.29 x 100 is a hair less");
        assert_eq!(allowed(0.299, 10, 0.0), 29);
        assert_eq!(allowed(0.0, 100, 0.07), 7, "0.07 x 100 is a hair more");
        assert_eq!(allowed(0.0, 10, 0.05), 1);
        assert_eq!(allowed(0.0, 10, 0.0), 0);
    }

    #[test]
    fn other_rules_hold_for_what_was_counted_before() {
        let (now, ttl) = (start(), Duration::from_secs(10));
        let mut budget = RetryBudget::new(0.0, ttl, 1.0);
        budget.deposit(100, now);
        let take =
            |budget: &mut RetryBudget, now| (0..50).filter(|_| budget.try_withdraw(now)).count();
        assert_eq!(take(&mut budget, now), 10);
        let mut same = RetryBudget::new(0.0, ttl, 1.0).continuing(&budget);
        assert_eq!(take(&mut same, now), 0);
        let mut more = RetryBudget::new(0.1, ttl, 1.0).continuing(&same);
        assert_eq!(take(&mut more, now), 10, "a tenth of a hundred on top");
        let mut brief = RetryBudget::new(0.1, ttl / 2, 1.0).continuing(&more);
        assert_eq!(take(&mut brief, now + ttl / 2), 5, "all else is too old");
    }

    #[test]
    fn what_was_given_back_can_be_taken_again() {
        let now = start();
        let mut budget = RetryBudget::new(0.1, Duration::from_secs(10), 0.0);
        budget.give_back(); // nothing was taken: nothing happens
        budget.deposit(10, now);
        assert!(budget.try_withdraw(now));
        assert!(!budget.try_withdraw(now));
        budget.give_back();
        assert!(budget.try_withdraw(now));
        assert!(!budget.try_withdraw(now));
    }

    proptest! {
        /// Within one window retries never exceed the share of requests.
        #[test]
        fn retries_never_exceed_their_share(ratio in 0.0..2.0f64, steps in prop::collection::vec((0u64..50, 0u32..80), 1..40)) {
            let mut now = start();
            let mut budget = RetryBudget::new(ratio, Duration::from_secs(3600), 0.0);
            let (mut requests, mut retries) = (0, 0u64);
            for (deposits, tries) in steps {
                now += Duration::from_millis(50);
                budget.deposit(deposits, now);
                requests += deposits;
                retries += (0..tries).filter(|_| budget.try_withdraw(now)).count() as u64;
                prop_assert!(retries as f64 <= ratio * requests as f64 + HAIR);
            }
        }

        /// Memory stays bounded whatever the rate.
        #[test]
        fn the_window_holds_a_bounded_number_of_slots(step_us in 1u64..100_000) {
            let mut now = start();
            let mut budget = RetryBudget::new(0.1, Duration::from_secs(1), 0.0);
            for _ in 0..5_000 {
                now += Duration::from_micros(step_us);
                budget.deposit(1, now);
            }
            prop_assert!(budget.window.len() <= MOST);
        }
    }
}
