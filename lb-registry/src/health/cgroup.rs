//! How much of its control group's limits (version 2) this process's group uses.
//!
//! Inside a container the machine's memory and cores say little: what counts is what the group may have of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::sample::share;

/// The group that a container sees as its own.
pub(super) const OWN: &str = "/sys/fs/cgroup";

/// One control group, and what it had used when it was last looked at.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    last: Option<(Instant, Duration)>,
}

impl Cgroup {
    pub(super) fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            last: None,
        }
    }

    /// The share of the CPU time that the group was allowed since the last look; `None` without a limit, and at the
    /// first look.
    pub(super) fn cpu_percent(&mut self, now: Instant) -> Option<f64> {
        let cores = self.cores()?;
        let used = Duration::from_micros(self.field("cpu.stat", "usage_usec")?);
        let (then, before) = self.last.replace((now, used))?;
        let elapsed = now.saturating_duration_since(then);
        let used = used.saturating_sub(before);
        let allowed = elapsed.mul_f64(cores);
        (!allowed.is_zero()).then(|| used.as_secs_f64() / allowed.as_secs_f64() * 100.0)
    }

    /// The share of the memory that the group may have; `None` without a limit. Page cache that can be dropped does not
    /// count.
    pub(super) fn memory_percent(&self) -> Option<f64> {
        let limit: u64 = self.read("memory.max")?.trim().parse().ok()?;
        let current: u64 = self.read("memory.current")?.trim().parse().ok()?;
        let cache = self.field("memory.stat", "inactive_file").unwrap_or(0);
        share(current.saturating_sub(cache), limit)
    }

    /// How many cores' time the group may use. `max` is no limit.
    fn cores(&self) -> Option<f64> {
        let text = self.read("cpu.max")?;
        let (quota, period) = text.trim().split_once(' ')?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = self.read(file)?;
        let mut fields = text.lines().filter_map(|line| line.split_once(' '));
        fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(file)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// A folder that looks like a control group's.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let group = Cgroup::new(folder.path());
        (folder, group)
    }

    #[test]
    fn cpu_is_the_share_of_the_quota_and_not_of_the_machine() {
        let (folder, mut group) = tree(&[
            ("cpu.max", "50000 100000\n"),
            ("cpu.stat", "usage_usec 1000000\nuser_usec 900000\n"),
        ]);
        let now = clock::now();
        assert_eq!(group.cpu_percent(now), None, "one look tells nothing");
        // Half a second of CPU time in two seconds is half of what half a core gives.
        std::fs::write(folder.path().join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        assert_eq!(group.cpu_percent(now + Duration::from_secs(2)), Some(50.0));
        std::fs::write(folder.path().join("cpu.stat"), "usage_usec 2000000\n").unwrap();
        assert_eq!(group.cpu_percent(now + Duration::from_secs(3)), Some(100.0));
    }

    #[test]
    fn without_a_quota_the_group_says_nothing_about_cpu() {
        let now = clock::now();
        for files in [
            &[("cpu.max", "max 100000\n"), ("cpu.stat", "usage_usec 1\n")][..],
            &[("cpu.stat", "usage_usec 1\n")],
            &[("cpu.max", "nonsense"), ("cpu.stat", "usage_usec 1\n")],
        ] {
            let (_folder, mut group) = tree(files);
            assert_eq!(group.cpu_percent(now), None);
            assert_eq!(group.cpu_percent(now + Duration::from_secs(1)), None);
        }
    }

    #[test]
    fn memory_is_the_share_of_the_limit_without_what_can_be_dropped() {
        let (_folder, group) = tree(&[
            ("memory.max", "1000\n"),
            ("memory.current", "700\n"),
            ("memory.stat", "anon 400\ninactive_file 200\n"),
        ]);
        assert_eq!(group.memory_percent(), Some(50.0));
        let (_folder, group) = tree(&[("memory.max", "max\n"), ("memory.current", "700\n")]);
        assert_eq!(group.memory_percent(), None);
    }
}
