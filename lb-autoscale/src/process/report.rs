//! What a slot says of itself.

use serde::Serialize;

use crate::UnixMillis;

/// One process, as hooks see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// `name-slot`; the same for every process of the slot.
    pub id: String,
    /// The slot, from 0.
    pub slot: u16,
    /// Counts the processes of this slot, from 0.
    pub incarnation: u64,
    /// Its process id.
    pub pid: Option<u32>,
}

/// What a supervisor says about its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The process.
    pub instance: Instance,
    /// Where it is in its life.
    pub life: Life,
    /// When this life began.
    pub since: UnixMillis,
    /// When the process was started.
    pub started_at: UnixMillis,
    /// How often this slot's process had to be replaced.
    pub restarts: u64,
    /// How the last one ended.
    pub last_exit: Option<String>,
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Started, not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Died; the next one waits for its delay.
    BackingOff,
    /// Takes no new work, finishes what it has.
    Draining,
    /// Was told to end.
    Stopping,
    /// Gone.
    Stopped,
}
