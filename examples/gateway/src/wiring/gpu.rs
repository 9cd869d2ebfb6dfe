//! GPU probe -> status. That there is no GPU is an answer like any other.

use lb_gpu::GpuSnapshot;
use lb_gpu::snapshot::{Availability, GpuDevice};
use serde_json::{Value, json};

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
        "busy": device.busy_routing.map(lb_gpu::Ratio::get),
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
