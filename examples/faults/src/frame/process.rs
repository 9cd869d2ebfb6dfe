//! A child process of this very program, steered by its control port.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::control;

const START: Duration = Duration::from_secs(20);

/// Where a process listens, in its first line of output.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Announcement {
    service: SocketAddr,
    control: SocketAddr,
}

/// A running part. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    errors: PathBuf,
    announced: Option<Announcement>,
}

impl Process {
    /// Starts `faults ARGUMENTS`, with what it writes to standard error in a file.
    pub(crate) fn start(
        arguments: &[String],
        folder: &Path,
        before: Option<&Wrap>,
    ) -> Result<Self> {
        let own: OsString = std::env::current_exe()?.into();
        let mut command = match before {
            Some(Wrap::DescriptorLimit(limit)) => {
                let mut command = Command::new("sh");
                command
                    .args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"])
                    .arg(own);
                command
            }
            Some(Wrap::Environment(values)) => {
                let mut command = Command::new(own);
                command.envs(values.iter().map(|(name, value)| (name, value)));
                command
            }
            None => Command::new(own),
        };
        let errors = folder.join(format!(
            "{}.err",
            arguments.join("-").get(..24).unwrap_or("x")
        ));
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            child,
            errors,
            announced: None,
        })
    }

    /// Waits for the line that says where it listens.
    pub(crate) async fn ready(mut self) -> Result<Self> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("a child's output is piped")?;
        let mut line = String::new();
        let reading = timeout(START, BufReader::new(stdout).read_line(&mut line)).await;
        reading.context("a child did not start in time")??;
        let announced = serde_json::from_str(&line);
        self.announced = Some(announced.with_context(|| self.complaint())?);
        Ok(self)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.announced
            .expect("invariant: asked of ready processes only")
            .service
    }

    pub(crate) async fn order(&self, order: &impl Serialize) -> Result<Value> {
        let announced = self.announced.context("not ready")?;
        control::order(announced.control, order)
            .await
            .with_context(|| self.complaint())
    }

    /// Waits for its end, which must be a good one.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("a part ended with {status}: {}", self.complaint());
        }
        Ok(())
    }

    /// `kill -9`; returns when it is dead.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32));
        pid.with_context(|| format!("a process is gone: {}", self.complaint()))
    }

    /// The end of what it wrote to standard error.
    fn complaint(&self) -> String {
        let text = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// What stands in front of a process.
#[derive(Clone, Debug)]
pub(crate) enum Wrap {
    /// It may open that many descriptors.
    DescriptorLimit(u32),
    /// More environment.
    Environment(Vec<(String, String)>),
}
