//! One retry budget for all requests of a proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::retry::RetryBudget;

/// Requests are taken into the budget this often, not one by one.
const STEP: Duration = Duration::from_millis(10);

/// A budget that a request costs one atomic step: requests are counted beside it
/// and taken in as of the beginning of their step, so a little too old, never too
/// young.
#[derive(Debug)]
pub(crate) struct SharedBudget {
    start: Instant,
    budget: Mutex<RetryBudget>,
    /// Requests since `taken`.
    pending: AtomicU64,
    /// Nanoseconds from `start` to when requests were last taken in.
    taken: AtomicU64,
}

impl SharedBudget {
    pub(crate) fn new(budget: RetryBudget) -> Self {
        Self {
            start: clock::now(),
            budget: Mutex::new(budget),
            pending: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// Other rules from now on, for what this one has counted as well.
    pub(crate) fn under(&self, rules: RetryBudget) -> Self {
        let now = clock::now();
        let before = self.take_in(self.nanos(now));
        Self::new(rules.continuing(&before))
    }

    /// Counts a request's first attempt.
    pub(crate) fn deposit(&self, now: Instant) {
        let now = self.nanos(now);
        // Relaxed: who sees an old step takes the lock and finds nothing to take in.
        if now.saturating_sub(self.taken.load(Ordering::Relaxed)) >= STEP.as_nanos() as u64 {
            drop(self.take_in(now));
        }
        // Relaxed: a counter; the lock orders what is taken out.
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes one retry if one is left.
    #[must_use = "a retry that was taken but not made is to be given back"]
    pub(crate) fn try_withdraw(&self, now: Instant) -> bool {
        self.take_in(self.nanos(now)).try_withdraw(now)
    }

    /// A retry that was taken could not be made.
    pub(crate) fn give_back(&self, now: Instant) {
        self.take_in(self.nanos(now)).give_back();
    }

    fn take_in(&self, now: u64) -> MutexGuard<'_, RetryBudget> {
        // Whole after any panic: it never panics between two of its fields.
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: only changed under this lock.
        let since = self.taken.load(Ordering::Relaxed);
        let pending = self.pending.swap(0, Ordering::Relaxed);
        if pending > 0 {
            budget.deposit(pending, self.start + Duration::from_nanos(since));
        }
        self.taken.store(now.max(since), Ordering::Relaxed);
        budget
    }

    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_of_this_very_moment_count() {
        let now = clock::now();
        let budget = SharedBudget::new(RetryBudget::new(0.5, 10 * SECOND, 0.0));
        (0..10).for_each(|_| budget.deposit(now));
        assert_eq!((0..20).filter(|_| budget.try_withdraw(now)).count(), 5);
    }

    #[test]
    fn requests_from_before_a_silence_do_not_pay_for_retries_after_it() {
        let now = clock::now();
        let budget = SharedBudget::new(RetryBudget::new(0.5, 10 * SECOND, 0.0));
        (0..1_000).for_each(|_| budget.deposit(now));
        assert!(!budget.try_withdraw(now + 11 * SECOND));
    }

    #[test]
    fn who_changes_the_rules_begins_no_new_reserve() {
        let now = clock::now();
        let rules = || RetryBudget::new(0.5, 10 * SECOND, 1.0);
        let mut budget = SharedBudget::new(rules());
        (0..10).for_each(|_| budget.deposit(now));
        let mut taken = 0;
        for _ in 0..5 {
            taken += (0..20).filter(|_| budget.try_withdraw(now)).count();
            budget = budget.under(rules());
        }
        assert_eq!(taken, 15, "half of ten, and one a second");
    }

    proptest! {
        /// In every window of the budget's time, retries stay within the share of that
        /// window's requests and the rate that is always allowed.
        #[test]
        fn retries_never_exceed_the_budget(
            ratio in 0.0..1.0_f64,
            always in 0_u32..4,
            steps in prop::collection::vec((0_u64..900, 0_u32..40, 0_u32..40), 1..60),
        ) {
            let ttl = 2 * SECOND;
            let budget = SharedBudget::new(RetryBudget::new(ratio, ttl, f64::from(always)));
            let mut now = clock::now();
            let mut history: Vec<(Instant, u32, u32)> = Vec::new();
            for (pause, requests, tries) in steps {
                now += Duration::from_millis(pause);
                (0..requests).for_each(|_| budget.deposit(now));
                let retries = (0..tries).filter(|_| budget.try_withdraw(now)).count() as u32;
                history.push((now, requests, retries));
                let live = || history.iter().filter(|(at, ..)| now.duration_since(*at) < ttl);
                let requests: u32 = live().map(|(_, requests, _)| requests).sum();
                let spent: u32 = live().map(|(.., retries)| retries).sum();
                let allowed = (ratio * f64::from(requests)).floor() + f64::from(2 * always);
                // What was taken earlier was within the budget of its own moment.
                prop_assert!(retries == 0 || f64::from(spent) <= allowed, "{spent} of {allowed}");
            }
        }

        /// Retries and hedges of any history, those given back not counted, never exceed
        /// the share of the requests before them.
        #[test]
        fn retries_and_hedges_together_never_exceed_the_budget(
            ratio in 0.0..1.0_f64,
            steps in prop::collection::vec((0_u64..200, 0_u32..4, any::<[bool; 4]>()), 1..200),
        ) {
            // Longer than any history: what is taken stays taken.
            let budget = SharedBudget::new(RetryBudget::new(ratio, 3_600 * SECOND, 0.0));
            let mut now = clock::now();
            let (mut requests, mut made) = (0_u32, 0_u32);
            for (pause, arrivals, [hedges, finds_one, fails, finds_another]) in steps {
                now += Duration::from_millis(pause);
                (0..arrivals).for_each(|_| budget.deposit(now));
                requests += arrivals;
                for (wanted, found) in [(hedges, finds_one), (fails, finds_another)] {
                    if !wanted || !budget.try_withdraw(now) {
                        continue;
                    }
                    if found {
                        made += 1;
                    } else {
                        budget.give_back(now);
                    }
                    let allowed = (ratio * f64::from(requests)).floor();
                    prop_assert!(f64::from(made) <= allowed, "{made} of {allowed}");
                }
            }
            // And not one less: what was given back can be taken.
            let left = (0..1_000).filter(|_| budget.try_withdraw(now)).count() as u32;
            prop_assert_eq!(f64::from(made + left), (ratio * f64::from(requests)).floor());
        }
    }
}
