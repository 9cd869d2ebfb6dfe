//! Pools of any size, and the time.

use std::time::Instant;

use lb_core::{EndpointSpec, Pool, balance::Balance, policy::PolicyConfig};

use crate::echo::{Echo, call};

/// The time.
#[must_use]
pub fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock reads are a part of what is measured"
    )]
    Instant::now()
}

/// Of so many endpoints, equal and well.
///
/// # Panics
///
/// If the policy cannot work.
#[must_use]
pub fn pool(n: usize, policy: impl Into<PolicyConfig>) -> Pool {
    let spec = |i: usize| {
        let uri = format!("http://10.0.0.1:{}", 1 + i % 65_000);
        EndpointSpec::new(format!("e{i}"), uri)
    };
    Pool::builder("bench")
        .endpoints((0..n).map(spec))
        .policy(policy.into())
        .build()
        .expect("the configuration is good")
}

/// The same as a service over echoes, which were all called before: each endpoint's service is
/// made by its first request.
#[must_use]
pub fn balanced(n: usize, policy: impl Into<PolicyConfig>) -> Balance<Echo> {
    let balance = Balance::new(pool(n, policy), |_| Echo);
    (0..n * 30).for_each(|_| call(&mut balance.clone()));
    balance
}
