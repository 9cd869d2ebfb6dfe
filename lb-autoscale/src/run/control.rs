//! Looking into a running loop, and steering it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::{Notify, watch};

use super::Clock;
use super::memory::{Core, Order};
use crate::inputs::Pod;
use crate::policy::{Override, OverrideError};
use crate::record::Record;
use crate::{Decision, Spec, State, UnixMillis};

/// The audit keeps this many entries.
const AUDIT: usize = 1_000;

/// Looks into a running loop and steers it. Cheap to clone; does not keep it alive.
#[derive(Clone)]
pub struct Control {
    pub(super) core: Arc<Mutex<Core>>,
    pub(super) poke: Arc<Notify>,
    pub(super) turns: watch::Receiver<u64>,
    pub(super) clock: Clock,
}

/// Who changed what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Audit {
    /// When.
    pub at: UnixMillis,
    /// Who.
    pub author: String,
    /// What.
    pub action: String,
}

/// What a loop is doing.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The specification's name.
    pub name: String,
    /// Latest first.
    pub decisions: Vec<Arc<Decision>>,
    /// The fleet as last seen.
    pub fleet: Vec<Pod>,
    /// Why the fleet cannot be seen or changed, if so.
    pub error: Option<String>,
    /// Turns in a row that the actuator failed.
    pub failures_in_a_row: u32,
}

// === impl Control ===

impl Control {
    /// What the loop is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let core = self.lock();
        Status {
            name: core.spec.name().to_owned(),
            decisions: core.decisions.iter().cloned().collect(),
            fleet: core
                .records
                .front()
                .map(|record| record.inputs.pods.clone())
                .unwrap_or_default(),
            error: core.error.clone(),
            failures_in_a_row: core.failures_in_a_row,
        }
    }

    /// The latest decision, if there was one.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Decision>> {
        self.lock().decisions.front().cloned()
    }

    /// The decisions kept with all they were made from, latest first.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.lock().records.iter().cloned().collect()
    }

    /// The specification in force.
    #[must_use]
    pub fn spec(&self) -> Spec {
        self.lock().spec.clone()
    }

    /// What would have to be stored now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Another specification from the next decision on, which comes at once.
    /// What is remembered stays.
    pub fn configure(&self, spec: Spec) {
        self.lock().spec = spec;
        self.poke.notify_one();
    }

    /// The same, with an entry in the audit.
    pub fn configure_by(&self, author: &str, spec: Spec) {
        let (min, max) = (spec.min_replicas(), spec.max_replicas());
        self.note(
            author,
            format!("configured {}: {min} to {max} replicas", spec.name()),
        );
        self.configure(spec);
    }

    /// Puts a human's word in force at once.
    ///
    /// # Errors
    ///
    /// [`OverrideError`] if it is anonymous, ends in the past, or lasts too long.
    pub fn set_override(&self, manual: Override) -> Result<(), OverrideError> {
        let now = self.now();
        let (author, order) = (
            manual.author.clone(),
            format!("{:?}: {}", manual.kind, manual.reason),
        );
        let checked = manual.checked(now)?;
        self.lock().order = Some(Order::Set(checked));
        self.note(&author, format!("override {order}"));
        self.poke.notify_one();
        Ok(())
    }

    /// Ends an override; returns it if there was one.
    #[must_use]
    pub fn clear_override(&self, author: &str) -> Option<Override> {
        let ended = {
            let mut core = self.lock();
            core.order = Some(Order::Clear);
            core.state.current_override().cloned()
        };
        self.note(author, "ended the override".into());
        self.poke.notify_one();
        ended
    }

    /// Who changed what, latest first; the last thousand entries.
    #[must_use]
    pub fn audit(&self) -> Vec<Audit> {
        self.lock().audit.iter().cloned().collect()
    }

    /// The time by the loop's clock.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    fn note(&self, author: &str, action: String) {
        tracing::info!(author, "{action}");
        let entry = Audit {
            at: self.now(),
            author: author.to_owned(),
            action,
        };
        let mut core = self.lock();
        core.audit.push_front(entry);
        core.audit.truncate(AUDIT);
    }

    /// Somebody waits although there is no replica: decide at once, and count it as demand.
    pub fn wake(&self) {
        self.lock().wake = true;
        self.poke.notify_one();
    }

    /// Decides at once instead of at the end of the interval.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Waits for the next turn to end. Returns at once if the loop has ended.
    pub async fn next_decision(&self) {
        let mut turns = self.turns.clone();
        turns.borrow_and_update();
        // An error means that the loop is gone; there is nothing to wait for.
        let _ = turns.changed().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while holding it leaves plain data behind.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("spec", &self.lock().spec.name())
            .finish_non_exhaustive()
    }
}
