//! Processes -> shutdown. The autoscaler owns its actuator; at the end somebody else must drain
//! and stop what it started. They share it.

use std::sync::Arc;

use lb_autoscale::Decision;
use lb_autoscale::actuator::{Actuator, ActuatorError};
use lb_autoscale::process::LocalProcesses;
use lb_autoscale::source::Fleet;
use tokio::sync::Mutex;

/// Local processes until somebody takes them away.
#[derive(Clone, Debug)]
pub struct SharedProcesses(Arc<Mutex<Option<LocalProcesses>>>);

impl SharedProcesses {
    /// To be given to the autoscaler and kept for the end.
    #[must_use]
    pub fn new(processes: LocalProcesses) -> Self {
        Self(Arc::new(Mutex::new(Some(processes))))
    }

    /// Drains and stops all of them; the autoscaler has nothing to act on from now on.
    pub async fn shutdown(&self) {
        if let Some(processes) = self.0.lock().await.take() {
            processes.shutdown().await;
        }
    }
}

fn gone() -> ActuatorError {
    ActuatorError::Refused("the gateway is shutting down".into())
}

impl Actuator for SharedProcesses {
    async fn observe(&mut self) -> Result<Fleet, ActuatorError> {
        self.0
            .lock()
            .await
            .as_mut()
            .ok_or_else(gone)?
            .observe()
            .await
    }

    async fn apply(&mut self, decision: &Decision) -> Result<(), ActuatorError> {
        self.0
            .lock()
            .await
            .as_mut()
            .ok_or_else(gone)?
            .apply(decision)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn after_the_shutdown_nothing_can_be_started() {
        let processes = LocalProcesses::new("sleep", |_| tokio::process::Command::new("sleep"));
        let mut shared = SharedProcesses::new(processes);
        assert_eq!(shared.observe().await.unwrap().replicas, 0);
        shared.shutdown().await;
        assert!(matches!(
            shared.observe().await,
            Err(ActuatorError::Refused(_))
        ));
    }
}
