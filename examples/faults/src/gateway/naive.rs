//! What a mechanism looks like without its care: only for control runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::middleware::Next;
use axum::response::Response;
use http::{Request, StatusCode};
use lb_core::endpoint::{Cause, Endpoint, Observation, Observer};
use lb_core::{Pool, WeakPool};

use crate::clock::unix_micros;

/// Whoever took longer is out.
const TOO_LONG: Duration = Duration::from_secs(2);

/// Ejects for good whoever was slow once, however many are left, and whether this
/// process was awake or not.
pub(super) struct Ejector(WeakPool);

impl Ejector {
    pub(super) fn new(pool: &Pool) -> Self {
        Self(pool.downgrade())
    }
}

impl Observer for Ejector {
    fn observed(&self, endpoint: &Endpoint, observation: &Observation) {
        if observation.latency > TOO_LONG
            && let Some(pool) = self.0.upgrade()
        {
            pool.mark(endpoint.id(), Cause::Ejected, true);
        }
    }
}

/// So many requests per second, by the wall clock.
pub(super) struct WallLimit {
    per_second: f64,
    /// Tokens, and the microsecond of 1970 when they were counted.
    state: Mutex<(f64, u64)>,
}

impl WallLimit {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.into(),
            state: Mutex::new((0.0, unix_micros())),
        }
    }

    fn admits(&self) -> bool {
        let mut state = self
            .state
            .lock()
            .expect("invariant: nobody panics while counting");
        let now = unix_micros();
        let passed = now.saturating_sub(state.1) as f64 / 1e6;
        // No cap: a jump of an hour is an hour's worth of tokens.
        *state = (state.0 + passed * self.per_second, now);
        if state.0 < 1.0 {
            return false;
        }
        state.0 -= 1.0;
        true
    }
}

pub(super) async fn limit(limit: Arc<WallLimit>, request: Request<Body>, next: Next) -> Response {
    if limit.admits() {
        return next.run(request).await;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
}
