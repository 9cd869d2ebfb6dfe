//! How processes are started, watched and stopped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;

use super::{Instance, LocalProcesses};

pub(super) type Hook<T> =
    Arc<dyn Fn(Instance) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync>;

pub(super) type WorkProbe = Box<dyn Fn(&Instance) -> Option<u32> + Send + Sync>;

/// The command of a slot.
type CommandOf = Box<dyn Fn(u16) -> Command + Send + Sync>;

/// What all supervisors share.
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) command: CommandOf,
    pub(super) ready: Option<Hook<bool>>,
    pub(super) drain: Option<Hook<()>>,
    pub(super) active_work: Option<WorkProbe>,
    pub(super) ready_every: Duration,
    pub(super) start_timeout: Duration,
    pub(super) drain_deadline: Duration,
    pub(super) stop_grace: Duration,
    pub(super) backoff: (Duration, Duration),
    pub(super) stable_after: Duration,
}

impl Settings {
    pub(super) fn new(name: String, command: CommandOf) -> Self {
        Self {
            name,
            command,
            ready: None,
            drain: None,
            active_work: None,
            ready_every: Duration::from_millis(100),
            start_timeout: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            stop_grace: Duration::from_secs(10),
            backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            stable_after: Duration::from_secs(30),
        }
    }
}

impl LocalProcesses {
    /// Asked until it says `true`. Default: a process is ready as soon as it runs.
    #[must_use]
    pub fn ready<F, Fut>(self, ready: F) -> Self
    where
        F: Fn(Instance) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.with(|settings| {
            settings.ready = Some(Arc::new(move |instance| Box::pin(ready(instance))));
        })
    }

    /// Awaited before a process is told to end, for example a pool's drain.
    /// Default: nothing, the process is told at once.
    #[must_use]
    pub fn drain<F, Fut>(self, drain: F) -> Self
    where
        F: Fn(Instance) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.with(|settings| {
            settings.drain = Some(Arc::new(move |instance| Box::pin(drain(instance))));
        })
    }

    /// How much work an instance holds, for choosing victims. Default: unknown.
    #[must_use]
    pub fn active_work(
        self,
        work: impl Fn(&Instance) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.active_work = Some(Box::new(work)))
    }

    /// How often readiness is asked. Default: 100 ms.
    #[must_use]
    pub fn ready_every(self, period: Duration) -> Self {
        self.with(|settings| settings.ready_every = period.max(Duration::from_millis(1)))
    }

    /// A process that is not ready by then counts as dead. Default: 60 s.
    #[must_use]
    pub fn start_timeout(self, limit: Duration) -> Self {
        self.with(|settings| settings.start_timeout = limit)
    }

    /// How long the drain hook may take. Default: 30 s.
    #[must_use]
    pub fn drain_deadline(self, limit: Duration) -> Self {
        self.with(|settings| settings.drain_deadline = limit)
    }

    /// How long a process may take to end after SIGTERM. Default: 10 s.
    #[must_use]
    pub fn stop_grace(self, limit: Duration) -> Self {
        self.with(|settings| settings.stop_grace = limit)
    }

    /// First and longest delay of the crash-loop back-off. Default: 0.5 s to 60 s.
    #[must_use]
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        self.with(|settings| settings.backoff = (first, longest.max(first)))
    }

    /// A process that was ready this long has proven itself: the back-off starts
    /// anew. Default: 30 s.
    #[must_use]
    pub fn stable_after(self, span: Duration) -> Self {
        self.with(|settings| settings.stable_after = span)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        // Settings are shared only once a slot runs, and then this builder is over.
        if let Some(settings) = Arc::get_mut(&mut self.settings) {
            change(settings);
        }
        self
    }
}
