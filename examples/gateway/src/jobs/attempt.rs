//! Stays with one job at one instance until one of them has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Place;
use super::instance::{Remote, Report, Socket, WithResult, next_text};
use crate::ledger::{Event, JobView, Ledger, Status};

/// A silent connection is doubted after this time.
const SILENCE: Duration = Duration::from_secs(10);
/// Connections that break one after the other, without a message between them, before the
/// instance counts as gone although it answers.
const BROKEN_IN_A_ROW: u32 = 5;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With this last event.
    With(Event),
    /// The job is not wanted any more.
    Stopped,
}

/// A job that an instance has taken.
#[derive(Debug)]
pub(super) struct Settled {
    /// Held until the attempt is over: it counts the job as work of the instance.
    place: Place,
    remote: Remote,
    /// The instance's own newest number.
    seen: u64,
}

/// Why one connection gave no more.
enum Broken {
    /// The job ended.
    Ended(Event),
    /// The connection did.
    Connection(String),
    /// The ledger says that the job is over.
    Over,
}

impl Settled {
    pub(super) fn new(place: Place, remote: Remote) -> Self {
        Self {
            place,
            remote,
            seen: 0,
        }
    }

    pub(super) fn instance(&self) -> &Arc<str> {
        &self.place.instance
    }

    /// Writes down what the instance says until the attempt is over. The job there comes back with
    /// the end, for an instance that is given up may work on it still.
    pub(super) async fn follow(
        mut self,
        ledger: &dyn Ledger,
        view: &JobView,
        token: &CancellationToken,
    ) -> (Ended, Remote) {
        let followed = tokio::select! {
            () = token.cancelled() => None,
            event = self.until_ended(ledger, view) => event,
        };
        let ended = match followed {
            Some(event) => Ended::With(event),
            None => {
                self.remote.cancel().await;
                Ended::Stopped
            }
        };
        (ended, self.remote)
    }

    async fn until_ended(&mut self, ledger: &dyn Ledger, view: &JobView) -> Option<Event> {
        let started = Event::Started {
            instance: Arc::clone(&self.place.instance),
        };
        let attempt = view.latest.attempt;
        let now = ledger.record(&view.id, attempt, started).await.ok()?;
        if now.latest.status.is_final() {
            return None;
        }
        let mut broken = 0;
        loop {
            let seen = self.seen;
            let why = match self.one_connection(ledger, view).await {
                Broken::Ended(event) => return Some(event),
                Broken::Over => return None,
                Broken::Connection(why) => why,
            };
            broken = if self.seen > seen { 0 } else { broken + 1 };
            match self.still_there().await {
                Some(Some(event)) => return Some(event),
                Some(None) if broken < BROKEN_IN_A_ROW => {}
                _ => return Some(Event::Lost { why: why.into() }),
            }
        }
    }

    /// Reads one connection to its end.
    async fn one_connection(&mut self, ledger: &dyn Ledger, view: &JobView) -> Broken {
        let mut socket = match self.remote.progress(self.seen).await {
            Ok(socket) => socket,
            Err(why) => return Broken::Connection(why),
        };
        loop {
            let text = match self.next(&mut socket).await {
                Ok(text) => text,
                Err(why) => return Broken::Connection(why),
            };
            let Some((report, ended)) = parse(&text) else {
                return Broken::Connection("an answer that is no progress message".into());
            };
            self.seen = self.seen.max(report.seq);
            let progress = Event::Advanced(report.update);
            let recorded = ledger.record(&view.id, view.latest.attempt, progress).await;
            if let Some(event) = ended {
                return Broken::Ended(event);
            }
            if recorded.is_ok_and(|now| now.latest.status.is_final()) {
                return Broken::Over;
            }
        }
    }

    /// The next message. A long silence is fine as long as the instance still knows the job.
    async fn next(&self, socket: &mut Socket) -> Result<String, String> {
        loop {
            match tokio::time::timeout(SILENCE, next_text(socket)).await {
                Ok(Ok(Some(text))) => return Ok(text),
                Ok(Ok(None)) => return Err("the instance closed the progress stream".into()),
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) if matches!(self.still_there().await, Some(None)) => {}
                Err(_) => return Err("the instance fell silent".into()),
            }
        }
    }

    /// `None`: gone. `Some(None)`: at work. `Some(Some(_))`: it has ended the job.
    async fn still_there(&self) -> Option<Option<Event>> {
        let body = self.remote.ask().await?;
        let (_, ended) = parse(std::str::from_utf8(&body).ok()?)?;
        Some(ended)
    }
}

/// A message, and the event it stands for if it is the last one.
fn parse(text: &str) -> Option<(Report, Option<Event>)> {
    let report: Report = serde_json::from_str(text).ok()?;
    let ended = match report.status {
        Status::Queued | Status::Running => None,
        Status::Finished => {
            let result: WithResult = serde_json::from_str(text).ok()?;
            Some(Event::Finished {
                result: result.result?.into(),
            })
        }
        Status::Failed => {
            let error = report
                .error
                .clone()
                .unwrap_or_else(|| "failed without a reason".into());
            Some(Event::Failed { error })
        }
        Status::Cancelled => Some(Event::Lost {
            why: "the instance gave the job up".into(),
        }),
    };
    Some((report, ended))
}
