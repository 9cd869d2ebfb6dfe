//! What carries a decision out.
//!
//! An [`Actuator`] reports the fleet and changes it. [`DryRun`] only remembers
//! what it was told: the default way to try a specification. Local processes
//! are in `process` (feature `process`). A loop owns its actuator; [`Shared`]
//! is for those who want it back at the end, to stop in order what it started.
//!
//! ```
//! use lb_autoscale::actuator::{Actuator, DryRun};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let mut fleet = DryRun::new(3);
//! assert_eq!(fleet.observe().await?.replicas, 3);
//! # Ok::<(), lb_autoscale::actuator::ActuatorError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::Future;

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::decision::Decision;
use crate::source::Fleet;

/// Carries decisions out. Called from one loop, under a deadline.
pub trait Actuator: Send {
    /// The fleet as it is. One that begins empty says so with [`Fleet::fresh`] until it was asked
    /// for something: else zero replicas mean, as in Kubernetes, that somebody switched it off.
    ///
    /// # Errors
    ///
    /// [`ActuatorError`]; the loop then decides nothing and tries again.
    fn observe(&mut self) -> impl Future<Output = Result<Fleet, ActuatorError>> + Send;

    /// Moves the fleet to `decision.desired`, stopping `decision.victims` first.
    /// Must return soon: draining goes on in the background.
    ///
    /// # Errors
    ///
    /// [`ActuatorError`]; the loop then forgets the change and decides anew.
    fn apply(
        &mut self,
        decision: &Decision,
    ) -> impl Future<Output = Result<(), ActuatorError>> + Send;
}

/// Why a fleet could not be seen or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActuatorError {
    /// It does not answer, or not in time. Passes by itself.
    #[error("it is unavailable: {0}")]
    Unavailable(String),
    /// We may not. Needs a human.
    #[error("it is forbidden: {0}")]
    Forbidden(String),
    /// Somebody else changed it at the same time. Passes by itself.
    #[error("somebody else changed it: {0}")]
    Conflict(String),
    /// Acting would be wrong, for example because another autoscaler owns the target.
    #[error("refused: {0}")]
    Refused(String),
}

/// Remembers the count and does nothing.
#[derive(Clone, Debug)]
pub struct DryRun {
    replicas: u32,
}

impl DryRun {
    /// Starts from `replicas`.
    #[must_use]
    pub fn new(replicas: u32) -> Self {
        Self { replicas }
    }
}

impl Actuator for DryRun {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        Ok(Fleet {
            replicas: self.replicas,
            ..Fleet::default()
        })
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        self.replicas = decision.desired;
        Ok(())
    }
}

/// An actuator that can be taken back from the loop that uses it. Clones share it.
///
/// ```
/// use lb_autoscale::actuator::{DryRun, Shared};
/// use lb_autoscale::{Autoscaler, Spec, source::Gauges};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let fleet = Shared::new(DryRun::new(3)); // `LocalProcesses`, for example
/// let spec = Spec::builder("api").build()?;
/// let handle = Autoscaler::new(spec, Gauges::default(), fleet.clone()).run();
/// handle.next_decision().await;
/// if let Some(fleet) = fleet.take().await {
///     drop(fleet); // `fleet.shutdown().await`
/// }
/// handle.poke();
/// handle.next_decision().await; // from now on every turn is refused
/// assert!(handle.status().error.is_some());
/// # Ok::<(), lb_autoscale::spec::SpecError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Shared<A>(Arc<Mutex<Option<A>>>);

// === impl Shared ===

impl<A> Shared<A> {
    /// To be given to the loop, and kept for the end.
    pub fn new(actuator: A) -> Self {
        Self(Arc::new(Mutex::new(Some(actuator))))
    }

    /// The actuator itself, once the loop is done with the step it is at; `None` if it was taken before.
    /// From then on the loop sees and changes nothing.
    pub async fn take(&self) -> Option<A> {
        self.0.lock().await.take()
    }
}

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actuator> Actuator for Shared<A> {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        match &mut *self.0.lock().await {
            Some(actuator) => actuator.observe().await,
            None => Err(taken()),
        }
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        match &mut *self.0.lock().await {
            Some(actuator) => actuator.apply(decision).await,
            None => Err(taken()),
        }
    }
}

fn taken() -> ActuatorError {
    ActuatorError::Refused("the actuator was taken away".into())
}
