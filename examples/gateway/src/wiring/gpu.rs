//! GPU probe -> status and autoscaler. That there is no GPU is an answer like any other.

use std::time::Duration;

use lb_gpu::sampler::Handle;
use lb_gpu::snapshot::{Availability, GpuDevice};
use lb_gpu::{GpuSnapshot, NvmlProbe, Ratio, Sampler};
use serde_json::{Value, json};

/// A driver that hangs must not keep the gateway from starting.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// Looks at this machine's GPUs from now on, and whether there are any.
pub async fn look() -> (Sampler, bool) {
    let sampler = Sampler::start(NvmlProbe::detect());
    let first = tokio::time::timeout(FIRST_LOOK, sampler.ready()).await;
    let any = first.is_ok_and(|snapshot| !snapshot.devices.is_empty());
    (sampler, any)
}

/// How busy the GPUs are for the autoscaler: the slow average.
pub fn busy(gpus: Handle) -> impl Fn() -> Option<f64> + Send + Sync + 'static {
    move || gpus.latest().load(None).gpu_scaling.map(Ratio::get)
}

/// What the page shows of this machine's GPUs.
#[must_use]
pub fn status(snapshot: &GpuSnapshot) -> Value {
    let absence = match &snapshot.availability {
        Availability::Absent(reason) => Some(format!("none: {reason}")),
        Availability::Starting => Some("looking".into()),
        Availability::Faulted(fault) => Some(format!("not working: {fault}")),
        _ => None,
    };
    json!({ "absence": absence, "devices": snapshot.devices.iter().map(device).collect::<Vec<_>>() })
}

fn device(device: &GpuDevice) -> Value {
    let metrics = &device.reading.metrics;
    json!({
        "id": device.id().as_str(),
        "name": device.reading.name,
        "present": device.present,
        "verdict": device.health.verdict.label(),
        "cause": device.health.cause.map(|cause| cause.to_string()),
        "busy": device.busy_routing.map(Ratio::get),
        "memory_used_bytes": metrics.memory.map(|memory| memory.used_bytes),
        "temperature_celsius": metrics.temperature_celsius,
        "power_watts": metrics.power_watts,
    })
}

#[cfg(test)]
mod tests {
    use lb_gpu::probe::AbsentReason;

    use super::*;

    #[test]
    fn a_machine_without_a_gpu_says_why() {
        let status = status(&GpuSnapshot::absent(AbsentReason::NoLibrary));
        assert_eq!(
            status["absence"],
            "none: the management library is not installed"
        );
        assert_eq!(status["devices"], json!([]));
    }
}
