//! The task that follows one service.

use std::sync::Arc;

use ::http::Method;
use tokio::sync::watch;

use super::blocking::{Cursor, WAIT};
use super::http::{self, Client, PATIENCE};
use super::wire;
use crate::backoff::{Backoff, jitter};
use crate::watch::AbortOnDrop;
use crate::{Instance, RegistryError, Snapshot, Watch, clock, observe};

/// How far waits stray, so that a fleet does not ask as one.
const SPREAD: f64 = 0.1;

pub(super) fn start(client: Client, service: &str) -> Watch {
    let (sender, receiver) = watch::channel(Arc::new(Snapshot::pending(service)));
    let follower = Follower {
        client,
        service: service.to_owned(),
        sender,
    };
    let task = tokio::spawn(follower.run());
    Watch::new(receiver, Some(AbortOnDrop(task.abort_handle())))
}

struct Follower {
    client: Client,
    service: String,
    sender: watch::Sender<Arc<Snapshot>>,
}

impl Follower {
    async fn run(self) {
        let mut cursor = Cursor::default();
        let mut failures = 0;
        loop {
            let pause = match self.ask(cursor.index()).await {
                Ok((index, instances)) => {
                    failures = 0;
                    observe::answer(&self.service, "ok");
                    self.publish(index, instances);
                    cursor.answered(index, clock::now())
                }
                Err(error) => {
                    tracing::warn!(
                        service = self.service,
                        error = &error as &dyn std::error::Error,
                        "no answer"
                    );
                    observe::answer(&self.service, "error");
                    cursor.failed();
                    failures += 1;
                    Backoff::default().delay(failures, fastrand::u64(..))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&self, index: u64) -> Result<(u64, Vec<Instance>), RegistryError> {
        let service = http::encode(&self.service);
        let (query, patience) = match index {
            0 => (String::new(), PATIENCE),
            index => {
                let wait = jitter(WAIT, SPREAD, fastrand::u64(..));
                // Consul adds up to a sixteenth.
                let patience = wait + wait / 16 + PATIENCE;
                (
                    format!("?index={index}&wait={}ms", wait.as_millis()),
                    patience,
                )
            }
        };
        let path = format!("/v1/health/service/{service}{query}");
        let answer = self
            .client
            .send(Method::GET, &path, None, patience)
            .await?
            .into_success()?;
        let index = answer
            .headers
            .get("x-consul-index")
            .and_then(|index| index.to_str().ok()?.parse().ok());
        let instances = wire::instances(&answer.body)
            .map_err(|error| RegistryError::Protocol(error.to_string()))?;
        Ok((index.unwrap_or(0), instances))
    }

    fn publish(&self, index: u64, instances: Vec<Instance>) {
        let next = Snapshot::live(&self.service, index, instances);
        observe::published(&self.service, next.instances.len(), false, false, 0);
        self.sender.send_if_modified(|last| {
            let changed = last.is_pending() || last.instances != next.instances;
            if changed {
                *last = Arc::new(next);
            }
            changed
        });
    }
}
