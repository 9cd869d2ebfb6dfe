//! The judge: another process, with its own ledger of what it sent and received. Its word counts.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Time for the judge to end what it has under way and speak.
const DEADLINE: Duration = Duration::from_secs(90);

/// Time to hear an announcement.
const HEARING: Duration = Duration::from_secs(10);

/// What may happen to the fleet from now on, and therefore what may not be lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Nothing.
    Calm,
    /// An instance may die: what is idempotent must survive.
    Crash,
    /// Only planned changes: nothing at all may be lost.
    Planned,
}

/// The judge at work; it dies with this handle.
#[derive(Debug)]
pub(super) struct Judge {
    child: Child,
    commands: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
    confirmations: Lines<BufReader<ChildStderr>>,
}

/// What the judge says in the end.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Its words.
    pub(super) words: Value,
    /// Whether nothing was lost: by the words and by the exit status.
    pub(super) nothing_lost: bool,
}

impl Judge {
    /// Starts the judge, who begins to send requests to the gateway at `authority`; each of its
    /// jobs has so many iterations.
    ///
    /// # Errors
    ///
    /// If the process cannot be started.
    pub(super) fn start(authority: &str, iterations: u64) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["judge", "--target", authority])
            // Enough tunnels that every instance has one: a drain that does not wait is noticed.
            .args(["--iterations", &iterations.to_string(), "--tunnels", "10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .process_group(0)
            .spawn()
            .context("cannot start the judge")?;
        let commands = child.stdin.take().context("the judge has no input")?;
        let words = BufReader::new(child.stdout.take().context("the judge has no output")?).lines();
        let confirmations = child
            .stderr
            .take()
            .context("the judge has no standard error")?;
        let confirmations = BufReader::new(confirmations).lines();
        Ok(Self {
            child,
            commands,
            words,
            confirmations,
        })
    }

    /// Announces the next phase and waits until the judge has heard it.
    ///
    /// # Errors
    ///
    /// If the judge is gone.
    pub(super) async fn phase(&mut self, phase: Phase) -> anyhow::Result<()> {
        let line = match phase {
            Phase::Calm => "phase calm",
            Phase::Crash => "phase crash",
            Phase::Planned => "phase planned",
        };
        let heard = async {
            self.commands
                .write_all(format!("{line}\n").as_bytes())
                .await?;
            while self
                .confirmations
                .next_line()
                .await?
                .context("no confirmation")?
                != line
            {}
            anyhow::Ok(())
        };
        tokio::time::timeout(HEARING, heard)
            .await
            .context("the judge does not hear")?
    }

    /// Asks for the verdict.
    ///
    /// # Errors
    ///
    /// If the judge does not speak in time.
    pub(super) async fn finish(self) -> anyhow::Result<Verdict> {
        let Self {
            mut child,
            mut commands,
            mut words,
            ..
        } = self;
        commands
            .write_all(b"finish\n")
            .await
            .context("the judge is gone")?;
        // Whoever waits for more input cannot end.
        drop(commands);
        let verdict = async {
            let mut last = None;
            while let Some(line) = words.next_line().await? {
                last = Some(line);
            }
            let words = serde_json::from_str(&last.context("the judge said nothing")?)?;
            let nothing_lost = child.wait().await?.success();
            anyhow::Ok(Verdict {
                words,
                nothing_lost,
            })
        };
        tokio::time::timeout(DEADLINE, verdict)
            .await
            .context("the judge did not speak in time")?
    }
}
