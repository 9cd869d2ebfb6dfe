//! A policy that panics on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lb_core::PickCx;
use lb_core::candidates::Candidates;
use lb_core::pick::Picker;
use lb_core::policy::Policy;

/// Panics while it is angry; takes any endpoint otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moody(pub(crate) Arc<AtomicBool>);

impl Policy for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn build(&self, _: &Candidates, _: u64) -> Arc<dyn Picker> {
        Arc::new(self.clone())
    }
}

impl Picker for Moody {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        assert!(!self.0.load(Ordering::SeqCst), "in a bad mood");
        candidates.any(cx)
    }
}
