//! The devices as Prometheus text, in base units.
//!
//! [`Exporter::render`] turns a snapshot into an exposition of its own, which an
//! application serves as one route or appends to what it serves already. A
//! device that is gone is gone from the text too, after its retention time.
//!
//! Every series of a device carries its `uuid` and nothing else that could
//! change; name, index and PCI address are on `lb_gpu_info`, to be joined. What
//! cannot be known is left out, never reported as zero. A machine without a GPU
//! answers with `lb_gpu_available 0`.
//!
//! [`Exporter::dcgm_names`] adds the handful of names and units of NVIDIA's
//! dcgm-exporter that most dashboards and autoscaling rules ask for.
//!
//! ```
//! use std::time::Instant;
//! use lb_gpu::GpuSnapshot;
//! use lb_gpu::exporter::Exporter;
//! use lb_gpu::probe::AbsentReason;
//!
//! # #[expect(clippy::disallowed_methods)]
//! let now = Instant::now();
//! let text = Exporter::default().render(&GpuSnapshot::absent(AbsentReason::NoLibrary), now);
//! assert!(text.contains("lb_gpu_available 0\n"));
//! assert!(text.contains("lb_gpu_unavailable_info{reason=\"no_library\"} 1\n"));
//! ```

mod dcgm;
mod families;
mod tables;
mod text;

use std::time::Instant;

use crate::snapshot::{Availability, GpuSnapshot};
use text::Text;

/// What to serve the text as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Turns snapshots into Prometheus text. See the module docs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exporter {
    dcgm_names: bool,
    processes: bool,
}

impl Exporter {
    /// Adds the names of dcgm-exporter, in its units: per cent, MiB. Default: no.
    #[must_use]
    pub fn dcgm_names(mut self, wanted: bool) -> Self {
        self.dcgm_names = wanted;
        self
    }

    /// Adds the memory of each process, by host pid: as many series as there are
    /// processes. Default: no.
    #[must_use]
    pub fn processes(mut self, wanted: bool) -> Self {
        self.processes = wanted;
        self
    }

    /// The whole exposition. O(devices).
    #[must_use]
    pub fn render(&self, snapshot: &GpuSnapshot, now: Instant) -> String {
        let mut text = Text::default();
        machine(&mut text, snapshot, now);
        families::devices(&mut text, snapshot);
        if self.processes {
            families::processes(&mut text, snapshot);
        }
        if self.dcgm_names {
            dcgm::devices(&mut text, snapshot);
        }
        text.finish()
    }
}

fn machine(text: &mut Text, snapshot: &GpuSnapshot, now: Instant) {
    let present = snapshot.availability == Availability::Present;
    text.family(
        "lb_gpu_available",
        "gauge",
        "1 while devices are being sampled.",
    );
    text.sample(&[], f64::from(u8::from(present)));
    let reason = match &snapshot.availability {
        Availability::Present => None,
        Availability::Starting => Some("starting"),
        Availability::Absent(reason) => Some(reason.label()),
        Availability::Faulted(_) => Some("faulted"),
    };
    text.family(
        "lb_gpu_unavailable_info",
        "gauge",
        "Why no devices are being sampled.",
    );
    if let Some(reason) = reason {
        text.sample(&[("reason", reason)], 1.0);
    }
    text.family(
        "lb_gpu_sample_age_seconds",
        "gauge",
        "Age of the latest sample.",
    );
    if let Some(age) = snapshot.age(now) {
        text.sample(&[], age.as_secs_f64());
    }
    text.family(
        "lb_gpu_reinits_total",
        "counter",
        "Times the driver was opened anew.",
    );
    text.sample(&[], snapshot.reinits as f64);
    text.family(
        "lb_gpu_nameless_devices",
        "gauge",
        "Devices that cannot tell their UUID.",
    );
    text.sample(&[], f64::from(snapshot.nameless_devices));
}
