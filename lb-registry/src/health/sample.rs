//! How busy this machine is, sampled in the background, with respect for cgroup limits.
//!
//! Inside a container the machine's memory says little; the limit of the control group (version 2) counts.

use std::path::Path;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use sysinfo::{Disks, System};

use super::Shared;
use super::verdict::Usage;

const EVERY: Duration = Duration::from_secs(1);
const CGROUP: &str = "/sys/fs/cgroup";

/// Samples once a second until the routes are gone.
pub(super) async fn run(shared: Weak<Shared>) {
    let mut probe = Probe::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Reading /proc and statfs may block, so it happens on a thread that may.
        let sampled = tokio::task::spawn_blocking(move || {
            let usage = probe.sample();
            (probe, usage)
        });
        let (Ok((back, usage)), Some(shared)) = (sampled.await, shared.upgrade()) else {
            return;
        };
        probe = back;
        shared
            .verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .observe(usage);
    }
}

struct Probe {
    /// Missing on systems that sysinfo does not know.
    system: Option<System>,
    samples: u32,
}

impl Probe {
    fn new() -> Self {
        Self {
            system: System::new().ok(),
            samples: 0,
        }
    }

    fn sample(&mut self) -> Usage {
        self.samples = self.samples.saturating_add(1);
        let Some(system) = &mut self.system else {
            return Usage::default();
        };
        system.refresh_cpu_usage();
        system.refresh_memory();
        Usage {
            // The first reading has nothing to compare with and would always be zero.
            cpu_percent: (self.samples > 1).then(|| f64::from(system.global_cpu_usage())),
            memory_percent: cgroup_memory().or_else(|| host_memory(system)),
            disk_percent: disk_in_use(),
        }
    }
}

fn host_memory(system: &System) -> Option<f64> {
    let total = system.total_memory();
    share(total.saturating_sub(system.available_memory()), total)
}

/// The share of the control group's limit, if there is a limit. Page cache that can be dropped does not count.
fn cgroup_memory() -> Option<f64> {
    let folder = Path::new(CGROUP);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let current: u64 = read("memory.current")?.trim().parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let cache = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let cache = cache.and_then(|text| text.parse().ok()).unwrap_or(0);
    share(current.saturating_sub(cache), limit)
}

/// The disk that the working folder is on.
fn disk_in_use() -> Option<f64> {
    let here = std::env::current_dir().ok()?;
    let disks = Disks::new_with_refreshed_list().ok()?;
    let holding = disks
        .iter()
        .filter(|disk| here.starts_with(disk.mount_point()));
    let disk = holding.max_by_key(|disk| disk.mount_point().as_os_str().len())?;
    share(
        disk.total_space().saturating_sub(disk.available_space()),
        disk.total_space(),
    )
}

fn share(used: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| used as f64 / total as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_says_nothing_about_cpu_and_the_second_does() {
        let mut probe = Probe::new();
        assert_eq!(probe.sample().cpu_percent, None);
        let second = probe.sample();
        assert!(
            second
                .cpu_percent
                .is_some_and(|percent| (0.0..=100.5).contains(&percent))
        );
        assert!(second.memory_percent.is_some_and(|percent| percent > 0.0));
    }
}
