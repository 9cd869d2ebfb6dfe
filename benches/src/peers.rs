//! The peers: tower's balancers over the echo, and pingora's selections, which do neither
//! count nor call.

use std::{hint::black_box, time::Duration};

use pingora_load_balancing::{
    LoadBalancer,
    selection::{BackendIter, BackendSelection},
};
use tower::{
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, PeakEwma, PendingRequests},
};
use tower_service::Service;

use crate::{
    cpu::now,
    echo::{Asked, Echo},
};

/// Two drawn, the fewer requests in flight.
#[must_use]
pub fn in_flight(n: usize) -> Balance<ServiceList<Vec<PendingRequests<Echo>>>, Asked> {
    let one = |_| PendingRequests::new(Echo, CompleteOnResponse::default());
    Balance::new(ServiceList::new((0..n).map(one).collect::<Vec<_>>()))
}

/// Two drawn, the lower peak-sensitive average of response times.
#[must_use]
pub fn peak_ewma(n: usize) -> Balance<ServiceList<Vec<PeakEwma<Echo>>>, Asked> {
    let one = |_| {
        PeakEwma::new(
            Echo,
            Duration::from_millis(30),
            1e10,
            CompleteOnResponse::default(),
        )
    };
    Balance::new(ServiceList::new((0..n).map(one).collect::<Vec<_>>()))
}

/// CPU time of so many calls of [`in_flight`] behind a buffer, from sixty-four callers, as
/// handlers of one server would be; all on this thread. The quickest of several rounds.
///
/// # Panics
///
/// If there is no runtime, or the echo fails.
#[must_use]
pub fn behind_buffer(n: usize, calls: u64) -> Duration {
    const CALLERS: u64 = 64;
    const EACH: u64 = 30;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        let buffer = Buffer::new(in_flight(n), 1024);
        let mut best = Duration::MAX;
        for _ in 0..calls.div_ceil(CALLERS * EACH) {
            let begin = now();
            let caller = |_| {
                let mut buffer = buffer.clone();
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        std::future::poll_fn(|cx| buffer.poll_ready(cx))
                            .await
                            .expect("the worker lives");
                        let answer = buffer.call(Asked::default());
                        black_box(answer.await.expect("echo does not fail"));
                    }
                })
            };
            let all: Vec<_> = (0..CALLERS).map(caller).collect();
            for caller in all {
                caller.await.expect("no panic");
            }
            best = best.min(now().saturating_sub(begin));
        }
        best.mul_f64(calls as f64 / (CALLERS * EACH) as f64)
    })
}

/// Pingora's balancer over so many addresses.
///
/// # Panics
///
/// If it does not take the addresses.
#[must_use]
pub fn pingora<S>(n: usize) -> LoadBalancer<S>
where
    S: BackendSelection + 'static,
    S::Iter: BackendIter,
{
    let address = |i: usize| format!("10.{}.{}.{}:80", i >> 16, (i >> 8) & 255, i & 255);
    let addresses: Vec<String> = (0..n).map(address).collect();
    LoadBalancer::try_from_iter(&addresses).expect("addresses are good")
}
