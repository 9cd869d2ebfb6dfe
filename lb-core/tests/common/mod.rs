//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(unreachable_pub, reason = "a module of test files")]

use std::time::Instant;

use lb_core::{EndpointId, EndpointSpec, PickCx, Pool, policy::PolicyConfig};

/// The start of a test's time.
pub fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where tests read the clock"
    )]
    Instant::now()
}

/// `n` endpoints named `e0`, `e1`, ... of weight 1.
pub fn specs(n: usize) -> Vec<EndpointSpec> {
    (0..n)
        .map(|i| EndpointSpec::new(format!("e{i}"), format!("http://10.0.0.1:{}", 8000 + i)))
        .collect()
}

/// A pool of `n` endpoints `e0`, `e1`, ...
pub fn pool(n: usize, policy: impl Into<PolicyConfig>) -> Pool {
    Pool::builder("test")
        .endpoints(specs(n))
        .policy(policy)
        .build()
        .expect("the configuration is good")
}

/// The name of endpoint `i`.
pub fn id(i: usize) -> EndpointId {
    format!("e{i}").into()
}

/// How often each endpoint of the pool was picked, in the order of names.
pub fn picks(pool: &Pool) -> Vec<u64> {
    pool.endpoints()
        .iter()
        .map(|endpoint| endpoint.stats().picks_total())
        .collect()
}

/// Picks and releases `n` times.
pub fn run(pool: &Pool, n: u64) {
    let now = start();
    for i in 0..n {
        drop(
            pool.pick(&PickCx::new(now, random(i)))
                .expect("somebody is available"),
        );
    }
}

/// The `i`th number of a fixed random sequence (splitmix64).
pub fn random(i: u64) -> u64 {
    let mut z = i
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
