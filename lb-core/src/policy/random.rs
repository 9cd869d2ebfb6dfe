//! Anybody, by weight.

use std::sync::Arc;

use crate::{
    candidates::Candidates,
    pick::{PickCx, Picker},
    policy::{Policy, draw::Draw},
};

/// A random available endpoint, by weight. O(1), and never in step with other
/// gateways; but it knows nothing of load.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Random {}

impl Policy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn build(&self, candidates: &Candidates, _random: u64) -> Arc<dyn Picker> {
        Arc::new(RandomPicker(Draw::by_weight(candidates)))
    }
}

#[derive(Debug)]
struct RandomPicker(Draw);

impl Picker for RandomPicker {
    fn pick(&self, candidates: &Candidates, cx: &PickCx<'_>) -> Option<usize> {
        let mut state = cx.random;
        self.0
            .admitted(candidates, cx, &mut state, None)
            .or_else(|| candidates.any(cx))
    }

    fn refresh(&self, candidates: &Candidates) -> Option<Arc<dyn Picker>> {
        self.0
            .refreshed(candidates)
            .map(|draw| Arc::new(Self(draw)) as Arc<dyn Picker>)
    }
}
