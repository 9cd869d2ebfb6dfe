//! What happens to the system under judgement right now, as announced.
//!
//! ```
//! use judge::phases::{Command, Phase};
//!
//! assert_eq!(Command::parse("phase crash"), Some(Command::Enter(Phase::Crash)));
//! assert_eq!(Command::parse("finish"), Some(Command::Finish));
//! assert_eq!(Command::parse("phase of the moon"), None);
//! ```

use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

/// What is announced to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing special.
    #[default]
    Calm,
    /// Instances come and go in good order.
    Planned,
    /// An instance is killed.
    Crash,
}

/// One line of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Another phase begins.
    Enter(Phase),
    /// Begin nothing more.
    Finish,
}

impl Command {
    /// Reads a line; `None` if it is no command.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        match line.trim() {
            "phase calm" => Some(Self::Enter(Phase::Calm)),
            "phase planned" => Some(Self::Enter(Phase::Planned)),
            "phase crash" => Some(Self::Enter(Phase::Crash)),
            "finish" => Some(Self::Finish),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Now {
    phase: Phase,
    crashes: u64,
    finishing: bool,
}

/// Announces the phases.
#[derive(Debug, Default)]
pub struct Announcer {
    now: watch::Sender<Now>,
}

impl Announcer {
    /// Carries a command out.
    pub fn announce(&self, command: Command) {
        self.now.send_modify(|now| match command {
            Command::Enter(phase) => {
                now.phase = phase;
                now.crashes += u64::from(phase == Phase::Crash);
            }
            Command::Finish => now.finishing = true,
        });
    }

    /// For those who want to know.
    #[must_use]
    pub fn phases(&self) -> Phases {
        Phases {
            now: self.now.subscribe(),
        }
    }
}

/// Knows the phase. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Phases {
    now: watch::Receiver<Now>,
}

/// The moment something began, to ask later whether a crash came in between.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    crashes: u64,
    in_crash: bool,
}

impl Phases {
    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.now.borrow().phase
    }

    /// Whether nothing more should begin.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.now.borrow().finishing
    }

    /// Resolves when nothing more should begin.
    pub async fn finishing(&mut self) {
        // An announcer that is gone announces no more: the same as finishing.
        let _gone = self.now.wait_for(|now| now.finishing).await;
    }

    /// The present moment.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let now = self.now.borrow();
        Moment {
            crashes: now.crashes,
            in_crash: now.phase == Phase::Crash,
        }
    }

    /// Whether it was crash time at any moment since then.
    #[must_use]
    pub fn crashed_since(&self, moment: Moment) -> bool {
        moment.in_crash || self.now.borrow().crashes > moment.crashes
    }

    /// As [`crashed_since`](Self::crashed_since), for something that just broke:
    /// the announcement may be a moment behind the damage.
    pub async fn excused_by_crash(&self, moment: Moment) -> bool {
        if !self.crashed_since(moment) {
            sleep(Duration::from_millis(500)).await;
        }
        self.crashed_since(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_excuses_what_overlaps_it_and_nothing_else() {
        let announcer = Announcer::default();
        let phases = announcer.phases();
        let before = phases.moment();
        announcer.announce(Command::Enter(Phase::Crash));
        let during = phases.moment();
        announcer.announce(Command::Enter(Phase::Planned));
        let after = phases.moment();
        assert!(phases.crashed_since(before) && phases.crashed_since(during));
        assert!(!phases.crashed_since(after));
    }
}
