//! A panic on order, in each callback that a user of lb-core writes.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use http::{Request, StatusCode};
use lb_core::PickCx;
use lb_core::candidates::Candidates;
use lb_core::endpoint::{Endpoint, Observation, Observer};
use lb_core::health::{HttpProbe, Probe, Probing};
use lb_core::pick::Picker;
use lb_core::policy::{LeastRequest, Policy, PolicyConfig, RoundRobin};
use serde::{Deserialize, Serialize};

/// A callback that can panic.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// A health probe.
    Probe,
    /// The key of the rate limit.
    Key,
    /// The observer of outcomes.
    Observer,
    /// The picker.
    Score,
}

/// Which callbacks panic when they are called next.
#[derive(Debug, Default)]
pub(super) struct Panics([AtomicBool; 4]);

impl Panics {
    pub(super) fn arm(&self, place: Place) {
        // Relaxed: a flag that guards no other memory, here and below.
        self.0[place as usize].store(true, Ordering::Relaxed);
    }

    pub(super) fn is_armed(&self, place: Place) -> bool {
        self.0[place as usize].load(Ordering::Relaxed)
    }

    /// Panics once if it was armed.
    pub(super) fn spring(&self, place: Place) {
        let armed = self.is_armed(place);
        assert!(
            !(armed && self.0[place as usize].swap(false, Ordering::Relaxed)),
            "on order, in {place:?}"
        );
    }

    pub(super) fn probe(self: &Arc<Self>, inner: HttpProbe) -> impl Probe {
        PanickyProbe {
            panics: Arc::clone(self),
            inner,
        }
    }

    pub(super) fn observer(self: &Arc<Self>) -> impl Observer {
        PanickyObserver(Arc::clone(self))
    }

    /// Least request, or round robin if it is to be blind, with the trap in its picker.
    pub(super) fn policy(self: &Arc<Self>, blind: bool) -> PolicyConfig {
        let panics = Arc::clone(self);
        PolicyConfig::Custom(Arc::new(PanickyPolicy { panics, blind }))
    }
}

/// A layer of the application: the request that panics is answered, nothing else ends.
pub(super) async fn catch(request: Request<Body>, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        let mut response = Response::new(Body::from("internal error"));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

struct PanickyProbe {
    panics: Arc<Panics>,
    inner: HttpProbe,
}

impl Probe for PanickyProbe {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> Probing<'a> {
        self.panics.spring(Place::Probe);
        self.inner.probe(endpoint)
    }
}

struct PanickyObserver(Arc<Panics>);

impl Observer for PanickyObserver {
    fn observed(&self, _: &Endpoint, _: &Observation) {
        self.0.spring(Place::Observer);
    }
}

#[derive(Debug)]
struct PanickyPolicy {
    panics: Arc<Panics>,
    blind: bool,
}

impl Policy for PanickyPolicy {
    fn name(&self) -> &str {
        "with_a_trap"
    }

    fn build(&self, candidates: &Candidates, random: u64) -> Arc<dyn Picker> {
        let inner = if self.blind {
            RoundRobin::default().build(candidates, random)
        } else {
            LeastRequest::default().build(candidates, random)
        };
        Arc::new(PanickyPicker {
            panics: Arc::clone(&self.panics),
            inner,
        })
    }
}

struct PanickyPicker {
    panics: Arc<Panics>,
    inner: Arc<dyn Picker>,
}

impl Picker for PanickyPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        self.panics.spring(Place::Score);
        self.inner.pick(candidates, cx)
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        let inner = self.inner.refresh(candidates)?;
        Some(Arc::new(Self {
            panics: Arc::clone(&self.panics),
            inner,
        }))
    }
}

impl fmt::Debug for PanickyPicker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PanickyPicker")
    }
}
