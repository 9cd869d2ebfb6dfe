//! How busy this machine is, sampled in the background, with respect for cgroup limits.

use std::sync::{PoisonError, Weak};
use std::time::Duration;

use sysinfo::{Disks, System};

use super::Shared;
use super::cgroup::{Cgroup, OWN};
use super::verdict::Usage;
use crate::clock;

const EVERY: Duration = Duration::from_secs(1);

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
    group: Cgroup,
    samples: u32,
}

impl Probe {
    fn new() -> Self {
        Self {
            system: System::new().ok(),
            group: Cgroup::new(OWN),
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
        // The first reading has nothing to compare with and would always be zero.
        let host_cpu = (self.samples > 1).then(|| f64::from(system.global_cpu_usage()));
        Usage {
            cpu_percent: self.group.cpu_percent(clock::now()).or(host_cpu),
            memory_percent: self.group.memory_percent().or_else(|| host_memory(system)),
            disk_percent: disk_in_use(),
        }
    }
}

fn host_memory(system: &System) -> Option<f64> {
    let total = system.total_memory();
    share(total.saturating_sub(system.available_memory()), total)
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

pub(super) fn share(used: u64, total: u64) -> Option<f64> {
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
