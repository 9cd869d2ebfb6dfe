//! What the kernel says about a process.

use anyhow::{Context, Result};
use rustix::process::Pid;

/// Clock ticks per second, as Linux reports them to programs everywhere.
const TICKS: f64 = 100.0;

/// One process at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Resident memory.
    pub(crate) rss_bytes: f64,
    /// Processor time since its start.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    pub(crate) fn of(pid: Pid) -> Result<Self> {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let rss: f64 = rss.context("VmRSS is in kB")?.trim().parse()?;
        let stat = std::fs::read_to_string(format!("{folder}/stat"))?;
        // The second field may hold anything, in parentheses.
        let (_, rest) = stat.rsplit_once(") ").context("a name in parentheses")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
        let cpu = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
        Ok(Self {
            rss_bytes: rss * 1024.0,
            cpu_seconds: cpu.context("utime and stime")? / TICKS,
        })
    }
}
