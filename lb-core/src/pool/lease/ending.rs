//! A request whose answer has begun, for the body of that answer.

use super::Lease;
use crate::pool::counted::Answered;

/// What is left of a lease when all is told of it: two words, because answers are moved often.
#[expect(dead_code, reason = "kept for what dropping it does")]
pub(crate) enum Ending {
    /// Written in full as the others are: two words that are moved as one.
    Nothing(u64),
    Answered(Answered),
    Held(Box<Lease>),
}

impl Ending {
    pub(crate) const NOTHING: Self = Self::Nothing(0);
}

impl From<Lease> for Ending {
    #[inline]
    fn from(mut lease: Lease) -> Self {
        let plain = lease.held.is_none();
        match plain.then(|| lease.counted.answered()).flatten() {
            Some(answered) => Self::Answered(answered),
            None => Self::Held(Box::new(lease)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndpointId, Outcome, PickCx, Pool, clock, pool::PoolBuilder};
    use crate::{breaker::UpstreamLimits, endpoint::Endpoint};

    fn pool() -> PoolBuilder {
        Pool::builder("a").endpoints(["http://10.0.0.1"])
    }

    fn lease(pool: &Pool) -> Lease {
        pool.pick(&PickCx::new(clock::now(), 1))
            .expect("there is room")
    }

    fn answered(mut lease: Lease) -> Lease {
        lease.settle(Outcome::Success, true, clock::now);
        lease
    }

    /// In flight, and waiting for their answer.
    fn counts(pool: &Pool) -> (u32, u32) {
        let counts = |it: &Endpoint| (it.stats().in_flight(), it.stats().waiting());
        counts(&pool.endpoints()[0])
    }

    #[test]
    fn a_body_counts_until_it_ends() {
        let pool = pool().build().expect("a pool");
        let ending = Ending::from(answered(lease(&pool)));
        assert!(matches!(ending, Ending::Answered(_)));
        assert_eq!((counts(&pool), size_of_val(&ending)), ((1, 0), 16));
        drop(ending);
        let _next = lease(&pool);
        assert_eq!(counts(&pool), (1, 1));
    }

    #[test]
    fn whose_answer_has_not_begun_waits_until_it_ends() {
        let pool = pool().build().expect("a pool");
        let ending = Ending::from(lease(&pool));
        assert_eq!(counts(&pool), (1, 1));
        drop(ending);
        assert_eq!(counts(&pool), (0, 0));
    }

    #[test]
    fn a_place_is_held_until_the_body_ends() {
        let limits = UpstreamLimits::default().requests(1);
        let pool = pool().limits(limits).build().expect("a pool");
        let ending = Ending::from(answered(lease(&pool)));
        let next = |pool: &Pool| pool.pick(&PickCx::new(clock::now(), 2)).is_ok();
        assert!(!next(&pool), "the body holds the only place");
        drop(ending);
        assert!(next(&pool));
    }

    #[test]
    fn who_left_the_pool_is_counted_off_all_the_same() {
        let pool = pool().build().expect("a pool");
        let ending = Ending::from(answered(lease(&pool)));
        let before = pool
            .endpoint(&EndpointId::from("http://10.0.0.1"))
            .expect("a member");
        pool.set_endpoints(["http://10.0.0.0", "http://10.0.0.2"])
            .expect("addresses");
        // The thread meets the new members: another one has the seat now.
        drop(lease(&pool));
        drop(ending);
        assert_eq!(before.stats().in_flight(), 0);
        assert_eq!(
            pool.endpoints()
                .iter()
                .map(|it| it.stats().in_flight())
                .sum::<u32>(),
            0
        );
    }
}
