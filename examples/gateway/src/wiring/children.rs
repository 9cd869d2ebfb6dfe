//! Autoscaler -> processes. Instances are this very program under the subcommand `instance`; they
//! register themselves, live as long as the lifeline, and count as ready once the registry knows.

use std::future::ready;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use lb_autoscale::process::LocalProcesses;
use lb_registry::{Discovery as _, InProcess, Registry as _, Status};
use simulation::gpu::TenantWeight;
use tokio::process::Command;

use super::SERVICE;
use crate::lifeline::Lifeline;

/// How an instance is started.
#[derive(Clone, Debug)]
pub struct Children {
    /// This program.
    pub program: PathBuf,
    /// Where instances register, as in `http://127.0.0.1:8500`.
    pub registry_uri: String,
    /// Weights of tenants.
    pub tenants: Vec<TenantWeight>,
    /// What ends them when this process ends.
    pub lifeline: Arc<Lifeline>,
}

impl Children {
    /// The fleet, without a drain.
    #[must_use]
    pub fn processes(self, registry: &InProcess) -> LocalProcesses {
        let (before_start, known) = (registry.clone(), registry.clone());
        let command = move |slot| {
            // Who starts has no past: an earlier process of this name is gone.
            let _in_memory = before_start.deregister(&name(slot)).now_or_never();
            self.command(slot)
        };
        LocalProcesses::new("sim", command)
            .ready(move |instance| {
                let latest = known.watch(SERVICE).latest();
                let one = latest.get(&instance.id);
                ready(one.is_some_and(|one| one.status == Status::Passing))
            })
            .start_timeout(Duration::from_secs(20))
            .backoff(Duration::from_millis(300), Duration::from_secs(30))
    }

    fn command(&self, slot: u16) -> Command {
        let (id, registry) = (name(slot), self.registry_uri.as_str());
        let mut command = Command::new(&self.program);
        command.args(["instance", "--leave-with-parent", "--threads", "1"]);
        // One GPU each, round where there are fewer.
        command.args(["--gpu", &slot.to_string()]);
        for tenant in &self.tenants {
            command.args(["--tenant", &tenant.to_string()]);
        }
        command
            .args(["--id", &id, "--registry", registry])
            .stdout(Stdio::null());
        // Ctrl-C in a terminal is for this process; it ends its children in order.
        command.process_group(0);
        if let Ok(stdin) = self.lifeline.stdin() {
            command.stdin(stdin);
        }
        command
    }
}

/// As the autoscaler names its instances.
fn name(slot: u16) -> String {
    format!("sim-{slot}")
}

#[cfg(test)]
mod tests {
    use lb_registry::{Instance, Registration};

    use super::*;

    #[test]
    fn an_instance_is_told_its_name_its_tenants_and_where_to_register() {
        let registry_uri = "http://127.0.0.1:8500".to_owned();
        let lifeline = Arc::new(Lifeline::new().unwrap());
        let children = Children {
            program: "gateway".into(),
            registry_uri,
            tenants: vec!["research=3".parse().unwrap()],
            lifeline,
        };
        let line = format!("{:?}", children.command(4).as_std());
        assert!(
            line.contains("sim-4") && line.contains("http://127.0.0.1:8500"),
            "{line}"
        );
        assert!(line.contains("research=3"), "{line}");
    }

    #[tokio::test]
    async fn a_registration_in_memory_needs_no_waiting() {
        let registry = InProcess::default();
        let one = Instance::new(SERVICE, "sim-0", "127.0.0.1", 1);
        registry.register(&Registration::new(one)).await.unwrap();
        assert!(registry.deregister("sim-0").now_or_never().is_some());
        assert!(registry.watch(SERVICE).latest().instances.is_empty());
    }
}
