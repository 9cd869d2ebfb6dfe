//! A split under construction.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::observe;
use super::service::{Arm, Shared};
use super::{Match, Split};
use crate::affinity::Affinity;
use crate::endpoint::EndpointId;
use crate::error::ConfigError;

/// A split under construction; see [`Split::builder`].
#[must_use = "nothing happens before `build`"]
pub struct SplitBuilder<S> {
    name: String,
    arms: Vec<Arm<S>>,
    rules: Vec<(Match, String)>,
    sticky: Option<Affinity>,
}

impl<S> SplitBuilder<S> {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            arms: Vec::new(),
            rules: Vec::new(),
            sticky: None,
        }
    }

    /// Adds an arm; `weight` is its share relative to the others.
    pub fn arm(mut self, name: impl Into<EndpointId>, weight: u32, service: S) -> Self {
        let name = name.into();
        self.arms.push(Arm {
            requests: observe::arm(&self.name, name.as_str()),
            name,
            weight: AtomicU32::new(weight),
            service,
        });
        self
    }

    /// Requests that show `what` go to this arm, whatever its weight; the first
    /// rule that holds counts.
    pub fn when(mut self, what: Match, arm: impl Into<String>) -> Self {
        self.rules.push((what, arm.into()));
        self
    }

    /// Keeps clients in the arm they were drawn into, by a token
    /// ([`Affinity::cookie`] or [`Affinity::signed_header`]) under a name of its
    /// own. What it says of endpoints that are down says nothing here: the weights do.
    /// Default: every request is drawn anew.
    pub fn sticky(mut self, affinity: Affinity) -> Self {
        self.sticky = Some(affinity);
        self
    }

    /// # Errors
    ///
    /// [`ConfigError::Range`] for no arms, equal names, weights that are all
    /// zero, a rule for an unknown arm, or an affinity that cannot bind.
    pub fn build(self) -> Result<Split<S>, ConfigError> {
        let range = |what, must| Err(ConfigError::Range { what, must });
        let position = |name: &str| self.arms.iter().position(|arm| arm.name.as_str() == name);
        if self.arms.iter().all(|arm| arm.weight() == 0) {
            return range("split arms", "at least one of a weight above zero");
        }
        let unique = |(at, arm): (usize, &Arm<S>)| position(arm.name.as_str()) == Some(at);
        if !self.arms.iter().enumerate().all(unique) {
            return range("split arms", "of different names");
        }
        let mut rules = Vec::new();
        for (what, arm) in &self.rules {
            match position(arm) {
                Some(at) if what.is_valid() => rules.push((what.clone(), at)),
                _ => return range("split rule", "a header or cookie and the name of an arm"),
            }
        }
        if let Some(affinity) = &self.sticky {
            affinity.check()?;
            if !affinity.is_signed() {
                return range("split sticky", "a cookie or a signed header");
            }
        }
        Ok(Split {
            shared: Arc::new(Shared {
                arms: self.arms,
                rules,
                sticky: self.sticky,
            }),
        })
    }
}

impl<S> fmt::Debug for SplitBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitBuilder")
            .field("name", &self.name)
            .field("arms", &self.arms.len())
            .finish_non_exhaustive()
    }
}
