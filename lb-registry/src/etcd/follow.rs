//! The task that follows etcd.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf;
use http_body_util::BodyExt;

use super::Shared;
use super::client::Trouble;
use super::key::Key;
use super::state::Event;
use super::wire::{KeyValue, Streamed, Watched};
use crate::backoff::Backoff;
use crate::http_client::MOST_BYTES;
use crate::lines::Lines;
use crate::observe;

/// How often to see whether the member that we follow still has a majority.
const PING: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(50),
    most: Duration::from_secs(1),
};

/// Lists, watches for as long as that goes well, and begins anew.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        let trouble = match shared.list().await {
            Ok(revision) => {
                failures = 0;
                shared.is_followed_now(true);
                shared.follow(revision).await
            }
            Err(trouble) => trouble,
        };
        shared.is_followed_now(false);
        tracing::warn!(
            error = &trouble as &dyn std::error::Error,
            "what is shared cannot be followed"
        );
        shared.client.give_up_on_current();
        tokio::time::sleep(BACKOFF.delay(failures, fastrand::u64(..))).await;
        failures = failures.saturating_add(1);
    }
}

impl Shared {
    fn is_followed_now(&self, is: bool) {
        // Relaxed: a fact by itself.
        self.followed.store(is, Ordering::Relaxed);
        observe::shared_connected(is);
    }

    async fn list(&self) -> Result<u64, Trouble> {
        let listed = self.client.list(&self.prefix).await?;
        let revision = listed.header.revision;
        let events = listed.kvs.into_iter();
        let events = events.filter_map(|kv| self.event(kv, true)).collect();
        let Some(store) = self.store.upgrade() else {
            return Err(Trouble::Ended);
        };
        let forgotten = {
            let mut state = self.state();
            store.change_here(|catalog, now| state.list(catalog, events, revision, now))
        };
        for unit in &forgotten {
            let plan = {
                let state = self.state();
                store.read(|catalog| state.plan_again(catalog, unit))
            };
            if let Some(plan) = plan {
                // If it is there by now, another replica has stored it.
                self.commit(&plan).await?;
            }
        }
        if self.applied.send_replace(revision.max(1)) == 0 {
            store.is_ready_now();
        }
        Ok(revision)
    }

    async fn follow(&self, revision: u64) -> Trouble {
        tokio::select! {
            trouble = self.read(revision) => trouble.err().unwrap_or(Trouble::Ended),
            trouble = self.ping() => trouble,
        }
    }

    async fn ping(&self) -> Trouble {
        loop {
            tokio::time::sleep(PING).await;
            if let Err(trouble) = self.client.ping(&self.prefix).await {
                return trouble;
            }
        }
    }

    async fn read(&self, revision: u64) -> Result<(), Trouble> {
        let mut body = self.client.watch(&self.prefix, revision + 1).await?;
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Trouble::Unreachable(error.into()))?;
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            let piece = data.copy_to_bytes(data.remaining());
            let lines = lines.push(&piece, MOST_BYTES);
            for line in lines.map_err(|_| Trouble::TooLong)? {
                let message: Streamed<Watched> = serde_json::from_slice(&line)?;
                match message.result {
                    Some(watched) if !watched.canceled => self.take(watched)?,
                    _ => return Err(Trouble::Ended),
                }
            }
        }
        Ok(())
    }

    fn take(&self, watched: Watched) -> Result<(), Trouble> {
        if watched.events.is_empty() {
            return Ok(());
        }
        let store = self.store.upgrade().ok_or(Trouble::Ended)?;
        let events = watched.events.into_iter();
        let events = events.filter_map(|event| self.event(event.kv, event.kind != "DELETE"));
        let events = events.collect();
        let revision = {
            let mut state = self.state();
            store.change_here(|catalog, now| state.apply(catalog, events, now));
            state.revision()
        };
        self.applied.send_replace(revision);
        Ok(())
    }

    fn event(&self, kv: KeyValue, is_put: bool) -> Option<Event> {
        Some(Event {
            key: Key::parse(&self.prefix, &kv.key)?,
            value: is_put.then_some(kv.value),
            lease: kv.lease,
            created: kv.create_revision,
            at: kv.mod_revision,
        })
    }
}
