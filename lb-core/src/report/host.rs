//! CPU and memory of this machine, or of the cgroup this process runs in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sysinfo::System;

use super::{LoadReport, ReportLayer};
use crate::clock;

/// Shares of CPU and memory in use, for [`ReportLayer::host`].
///
/// A process with a CPU or memory limit (a container, by cgroup v2) is measured
/// against its limit, everybody else against the machine. Samples are taken when
/// asked for, at most one per second, by reading a few files (some 100 µs).
#[derive(Clone, Debug)]
pub struct HostSampler {
    state: Arc<Mutex<Sampling>>,
}

#[derive(Debug)]
struct Sampling {
    /// `None` on systems that tell nothing.
    system: Option<System>,
    cgroup: Option<PathBuf>,
    last: Instant,
    /// CPU time of the cgroup so far, if it can be told.
    used: Option<Duration>,
    cpu: Option<f64>,
    mem: Option<f64>,
}

impl HostSampler {
    const EVERY: Duration = Duration::from_secs(1);

    /// Samples this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::at(own_cgroup())
    }

    fn at(cgroup: Option<PathBuf>) -> Self {
        let mut system = System::new().ok();
        if let Some(system) = &mut system {
            system.refresh_cpu_usage();
        }
        let used = cgroup.as_deref().and_then(cpu_time);
        let mut sampling = Sampling {
            system,
            cgroup,
            last: clock::now(),
            used,
            cpu: None,
            mem: None,
        };
        sampling.sample_memory();
        Self {
            state: Arc::new(Mutex::new(sampling)),
        }
    }

    /// Share of the CPUs in use over the last second or more; `None` at first.
    #[must_use]
    pub fn cpu(&self) -> Option<f64> {
        self.sample(clock::now()).0
    }

    /// Share of the memory in use.
    #[must_use]
    pub fn memory(&self) -> Option<f64> {
        self.sample(clock::now()).1
    }

    fn sample(&self, now: Instant) -> (Option<f64>, Option<f64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.last);
        if passed >= Self::EVERY {
            state.last = now;
            state.sample_cpu(passed);
            state.sample_memory();
        }
        (state.cpu, state.mem)
    }
}

impl Default for HostSampler {
    fn default() -> Self {
        Self::new()
    }
}

impl ReportLayer {
    /// Reports the CPU and memory that `sampler` sees.
    #[must_use]
    pub fn host(self, sampler: HostSampler) -> Self {
        self.extend(move |report| {
            let (cpu, mem) = sampler.sample(clock::now());
            LoadReport {
                cpu_utilization: cpu.or(report.cpu_utilization),
                mem_utilization: mem.or(report.mem_utilization),
                ..report
            }
        })
    }
}

impl Sampling {
    fn sample_cpu(&mut self, passed: Duration) {
        let machine = self.system.as_mut().map(|system| {
            system.refresh_cpu_usage();
            f64::from(system.global_cpu_usage()) / 100.0
        });
        let before = self.used;
        self.used = self.cgroup.as_deref().and_then(cpu_time);
        let limit = self.cgroup.as_deref().and_then(cpu_limit);
        self.cpu = match (before, self.used, limit) {
            (Some(before), Some(used), Some(cpus)) => {
                let busy = used.saturating_sub(before).as_secs_f64();
                Some(busy / passed.as_secs_f64() / cpus)
            }
            _ => machine,
        };
    }

    fn sample_memory(&mut self) {
        if let Some(share) = self.cgroup.as_deref().and_then(memory_share) {
            self.mem = Some(share);
            return;
        }
        self.mem = self.system.as_mut().and_then(|system| {
            system.refresh_memory();
            let (total, free) = (system.total_memory(), system.available_memory());
            (total > 0).then(|| 1.0 - (free as f64 / total as f64).min(1.0))
        });
    }
}

/// The cgroup v2 of this process.
fn own_cgroup() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

/// CPUs that the cgroup may use; `None` without a limit.
fn cpu_limit(cgroup: &Path) -> Option<f64> {
    let text = fs::read_to_string(cgroup.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn cpu_time(cgroup: &Path) -> Option<Duration> {
    let micros = entry(&cgroup.join("cpu.stat"), "usage_usec")?;
    Some(Duration::from_micros(micros))
}

/// Used share of the cgroup's memory limit, without page cache that can go.
fn memory_share(cgroup: &Path) -> Option<f64> {
    let read = |name| {
        fs::read_to_string(cgroup.join(name))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let (limit, current) = (read("memory.max")?, read("memory.current")?);
    let cache = entry(&cgroup.join("memory.stat"), "inactive_file").unwrap_or(0);
    let used = current.saturating_sub(cache) as f64;
    (limit > 0).then(|| (used / limit as f64).min(1.0))
}

/// The number after `name` in a file of such lines.
fn entry(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like a cgroup.
    fn cgroup(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lb-core-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        path
    }

    #[test]
    fn a_limited_process_is_measured_against_its_limit() {
        let files = [
            ("cpu.max", "50000 100000\n"),
            ("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
            ("memory.max", "1000\n"),
            ("memory.current", "700\n"),
            ("memory.stat", "anon 1\ninactive_file 200\n"),
        ];
        let path = cgroup("limited", &files);
        let sampler = HostSampler::at(Some(path.clone()));
        assert_eq!(sampler.memory(), Some(0.5));
        fs::write(path.join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        let start = sampler.state.lock().unwrap().last;
        let (cpu, _) = sampler.sample(start + Duration::from_secs(2));
        assert_eq!(
            cpu,
            Some(0.5),
            "half a second of the one that half a CPU had"
        );
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn without_a_limit_the_machine_is_measured() {
        let path = cgroup(
            "open",
            &[("cpu.max", "max 100000\n"), ("memory.max", "max\n")],
        );
        let sampler = HostSampler::at(Some(path.clone()));
        let share = sampler.memory().expect("this machine has memory");
        assert!(share > 0.0 && share < 1.0);
        assert_eq!(sampler.cpu(), None, "one sample is none");
        fs::remove_dir_all(path).unwrap();
    }
}
