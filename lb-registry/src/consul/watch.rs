//! The task that follows one service.

use ::http::{Method, StatusCode};
use tokio::sync::watch;

use super::blocking::{Cursor, WAIT};
use super::http::{self, Answer as Reply, Client, PATIENCE};
use super::{Options, wire};
use crate::backoff::{Backoff, jitter};
use crate::fail_static::Answer;
use crate::feed::{Feed, sleep_until};
use crate::watch::AbortOnDrop;
use crate::{Instance, RegistryError, Watch, clock};

/// How far waits stray, so that a fleet does not ask as one.
const SPREAD: f64 = 0.1;
/// Current Consul says with this header that the list is shorter than it would be with another token.
const FILTERED: &str = "x-consul-results-filtered-by-acls";

pub(super) fn start(client: Client, options: &Options, service: &str) -> Watch {
    let (feed, latest): (Feed, watch::Receiver<_>) =
        Feed::new(service, options.fail_static, options.snapshots.as_ref());
    let follower = Follower {
        client,
        service: service.to_owned(),
        feed,
        policies: None,
        latest: 0,
    };
    let task = tokio::spawn(follower.run());
    Watch::new(latest, Some(AbortOnDrop(task.abort_handle())))
}

struct Follower {
    client: Client,
    service: String,
    feed: Feed,
    /// What the token could do when it last worked.
    policies: Option<serde_json::Value>,
    /// The index of the latest list; one that went back is one of a server that began anew.
    latest: u64,
}

impl Follower {
    async fn run(mut self) {
        self.feed.load().await;
        let mut cursor = Cursor::default();
        let mut failures = 0;
        loop {
            let asked = tokio::select! {
                asked = self.client.ask(&self.service, cursor.index()) => asked,
                () = sleep_until(self.feed.deadline()) => {
                    if self.feed.wants_confirmation() {
                        cursor.failed();
                        self.confirm(&mut cursor).await;
                    }
                    self.feed.tick().await;
                    continue;
                }
            };
            let pause = match asked {
                Ok(list) => {
                    failures = 0;
                    let pause = cursor.answered(list.index, clock::now());
                    let answer = self.judge(list).await;
                    self.feed.answer(answer).await;
                    pause
                }
                Err(error) => {
                    self.failed(&error).await;
                    cursor.failed();
                    failures += 1;
                    Backoff::default().delay(failures, fastrand::u64(..))
                }
            };
            self.feed.rest(pause).await;
        }
    }

    /// Asks once more whether nobody is there, without waiting for a change.
    async fn confirm(&mut self, cursor: &mut Cursor) {
        match self.client.ask(&self.service, 0).await {
            Ok(list) => {
                let pause = cursor.answered(list.index, clock::now());
                let answer = self.judge(list).await;
                self.feed.answer(answer).await;
                self.feed.rest(pause).await;
            }
            Err(error) => {
                self.failed(&error).await;
                let pause = Backoff::default().delay(2, fastrand::u64(..));
                self.feed.rest(pause).await;
            }
        }
    }

    async fn failed(&mut self, error: &RegistryError) {
        tracing::warn!(
            service = self.service,
            error = error as &dyn std::error::Error,
            "no list"
        );
        let answer = match error {
            RegistryError::Denied { .. } => Answer::Denied,
            _ => Answer::Failed,
        };
        self.feed.answer(answer).await;
    }

    /// A list that is empty because the token may not see it is a denial: a Consul with ACLs answers 200 and `[]`.
    async fn judge(&mut self, list: List) -> Answer {
        if list.index < self.latest {
            self.feed.lost_memory();
        }
        self.latest = list.index;
        if list.filtered {
            return Answer::Denied;
        }
        let suspicious = list.instances.is_empty() && self.feed.has_somebody();
        if self.client.token.is_some() && (suspicious || self.policies.is_none()) {
            match self.client.policies().await {
                Ok(policies)
                    if self
                        .policies
                        .as_ref()
                        .is_none_or(|known| *known == policies) =>
                {
                    self.policies = Some(policies);
                }
                Ok(_) if !suspicious => {}
                // Other rights than before, or none: emptiness proves nothing.
                Ok(_) | Err(RegistryError::Denied { .. }) if suspicious => return Answer::Denied,
                Err(_) if suspicious => return Answer::Failed,
                Ok(_) | Err(_) => {}
            }
        }
        Answer::Instances(list.instances)
    }
}

/// One answer about a service.
struct List {
    index: u64,
    instances: Vec<Instance>,
    filtered: bool,
}

impl Client {
    async fn ask(&self, service: &str, index: u64) -> Result<List, RegistryError> {
        let service = http::encode(service);
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
        let reply = self
            .send(Method::GET, &path, None, patience)
            .await?
            .into_success()?;
        let instances = wire::instances(&reply.body)
            .map_err(|error| RegistryError::Protocol(error.to_string()))?;
        let header = |name| {
            reply
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let index = header("x-consul-index")
            .and_then(|index| index.parse().ok())
            .unwrap_or(0);
        let filtered = header(FILTERED) == Some("true") && instances.is_empty();
        Ok(List {
            index,
            instances,
            filtered,
        })
    }

    /// What the token may do, as far as it can be compared. Where there are no ACLs that is nothing special.
    async fn policies(&self) -> Result<serde_json::Value, RegistryError> {
        let reply: Reply = self
            .send(Method::GET, "/v1/acl/token/self", None, PATIENCE)
            .await?;
        match reply.status {
            // "ACL support disabled", and servers that have never heard of tokens.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Ok(serde_json::Value::Null),
            _ => {
                let reply = reply.into_success()?;
                let token: serde_json::Value = serde_json::from_slice(&reply.body)
                    .map_err(|error| RegistryError::Protocol(error.to_string()))?;
                Ok(serde_json::json!([token["Policies"], token["Roles"]]))
            }
        }
    }
}
