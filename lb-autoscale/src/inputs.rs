//! What was seen: replicas, pods and the readings of the metrics.
//!
//! Inputs are facts without judgement: a pod that is starting is reported as
//! such and the engine decides what its numbers are worth. A metric that is not
//! mentioned counts as failed, never as zero.
//!
//! ```
//! use lb_autoscale::inputs::{Inputs, Observation, Pod};
//!
//! let inputs = Inputs::new(3)
//!     .observe("active_simulations", Observation::value(31.0))
//!     .observe("broken", Observation::value(f64::NAN))
//!     .pods((0..3).map(|n| Pod::ready(format!("simulation-{n}"))));
//! assert!(inputs.metrics["broken"].failure().is_some());
//! ```

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Quantity, UnixMillis};

/// Everything one decision is made from, besides the spec, the state and the time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Replicas that are asked for now (`scale.spec.replicas`).
    pub current: u32,
    /// Replicas that exist now (`scale.status.replicas`). Default: `current`.
    #[serde(default)]
    pub status_replicas: Option<u32>,
    /// The pods, processes or instances. Default: none are known.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// One observation per metric id.
    #[serde(default)]
    pub metrics: BTreeMap<String, Observation>,
    /// Somebody waits for a replica although there is none.
    #[serde(default)]
    pub wake: bool,
    /// Nothing was ever asked for: zero replicas mean "not yet", not "switched off".
    #[serde(default)]
    pub fresh: bool,
}

/// One pod, or whatever plays its part: a process, an instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name; victims are named by it.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Ready or not; `None` if that is not known.
    #[serde(default)]
    pub ready: Option<bool>,
    /// When it started.
    #[serde(default)]
    pub started_at: Option<UnixMillis>,
    /// When `ready` last changed.
    #[serde(default)]
    pub ready_changed_at: Option<UnixMillis>,
    /// It is being deleted.
    #[serde(default)]
    pub deleting: bool,
    /// Its containers and what they request. Pods made from one template may share one list.
    #[serde(default)]
    pub containers: Arc<[Container]>,
    /// Its init containers; those that restart always count as containers.
    #[serde(default)]
    pub init_containers: Arc<[Container]>,
    /// Where it runs, to keep zones even when shrinking.
    #[serde(default)]
    pub zone: Option<Arc<str>>,
    /// Work it holds that would be lost or moved by stopping it; `None` if unknown.
    #[serde(default)]
    pub active_work: Option<u32>,
    /// It takes no new work already.
    #[serde(default)]
    pub draining: bool,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started yet, or waiting to be restarted.
    Pending,
    /// At least one container runs.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// A container's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: Arc<str>,
    /// Requested CPU, in cores.
    #[serde(default)]
    pub cpu: Option<Quantity>,
    /// Requested memory, in bytes.
    #[serde(default)]
    pub memory: Option<Quantity>,
    /// Requests of other resources, by name.
    #[serde(default)]
    pub other: BTreeMap<String, Quantity>,
    /// An init container that keeps running beside the others.
    #[serde(default)]
    pub restart_always: bool,
}

/// One metric as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When the numbers were true; `None` means now.
    #[serde(default)]
    pub at: Option<UnixMillis>,
    /// The numbers, or why there are none.
    pub reading: Reading,
}

/// The numbers of an [`Observation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Object and external metrics: the values are summed.
    Values(Vec<Quantity>),
    /// Resource and pods metrics: one sample per pod.
    Pods(Vec<PodSample>),
    /// It could not be read.
    Failed(String),
}

/// What one pod reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodSample {
    /// The pod's name. Sharing the `Arc` of [`Pod::name`] makes matching fastest.
    pub pod: Arc<str>,
    /// The value.
    pub value: SampleValue,
    /// When it was measured; `None` means now.
    #[serde(default)]
    pub at: Option<UnixMillis>,
    /// Over how long it was measured.
    #[serde(default)]
    pub window_seconds: u32,
}

/// One number for the pod, or one for each container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleValue {
    /// For the whole pod.
    Pod(Quantity),
    /// By container; `None` for a container that reported nothing.
    Containers(Box<[(Arc<str>, Option<Quantity>)]>),
}

// === impl Inputs ===

impl Inputs {
    /// Inputs with `current` replicas and nothing else known.
    #[must_use]
    pub fn new(current: u32) -> Self {
        Self {
            current,
            ..Self::default()
        }
    }

    /// Adds the reading of one metric.
    #[must_use]
    pub fn observe(mut self, id: impl Into<String>, observation: Observation) -> Self {
        self.metrics.insert(id.into(), observation);
        self
    }

    /// Adds pods.
    #[must_use]
    pub fn pods(mut self, pods: impl IntoIterator<Item = Pod>) -> Self {
        self.pods.extend(pods);
        self
    }

    /// Replicas that exist, where that differs from what is asked for.
    #[must_use]
    pub fn status_replicas(mut self, replicas: u32) -> Self {
        self.status_replicas = Some(replicas);
        self
    }

    /// Pods that run, are ready and are not leaving.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        saturating_count(self.pods.iter().filter(|pod| pod.is_healthy()).count())
    }
}

// === impl Pod ===

impl Pod {
    /// A running, ready pod that started long ago.
    pub fn ready(name: impl Into<Arc<str>>) -> Self {
        Self {
            ready: Some(true),
            started_at: Some(UnixMillis::default()),
            ready_changed_at: Some(UnixMillis::default()),
            ..Self::pending(name)
        }
        .phase(Phase::Running)
    }

    /// A pod that has not started.
    pub fn pending(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            phase: Phase::Pending,
            ready: None,
            started_at: None,
            ready_changed_at: None,
            deleting: false,
            containers: Arc::default(),
            init_containers: Arc::default(),
            zone: None,
            active_work: None,
            draining: false,
        }
    }

    /// Another phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// Its containers. Pods that are given clones of one `Arc` share the list: it takes
    /// memory once, and what it requests is added up once.
    #[must_use]
    pub fn containers(mut self, containers: impl Into<Arc<[Container]>>) -> Self {
        self.containers = containers.into();
        self
    }

    /// Work it holds.
    #[must_use]
    pub fn active_work(mut self, work: u32) -> Self {
        self.active_work = Some(work);
        self
    }

    /// The zone it runs in.
    #[must_use]
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Runs, is ready and is not leaving.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.phase == Phase::Running && self.ready == Some(true) && !self.deleting && !self.draining
    }
}

impl Container {
    /// A container that requests `cpu` cores.
    pub fn cpu(name: impl Into<Arc<str>>, cpu: Quantity) -> Self {
        Self {
            name: name.into(),
            cpu: Some(cpu),
            ..Self::default()
        }
    }

    /// What it requests of `resource`.
    #[must_use]
    pub fn request(&self, resource: &str) -> Option<Quantity> {
        match resource {
            "cpu" => self.cpu,
            "memory" => self.memory,
            other => self.other.get(other).copied(),
        }
    }
}

// === impl Observation ===

impl Observation {
    /// One number; NaN and infinities count as a failed reading.
    #[must_use]
    pub fn value(value: f64) -> Self {
        match Quantity::from_f64(value) {
            Some(quantity) => Self::from(Reading::Values(vec![quantity])),
            None => Self::failed("the source reported a number that is not finite"),
        }
    }

    /// Samples of pods.
    #[must_use]
    pub fn pods(samples: Vec<PodSample>) -> Self {
        Self::from(Reading::Pods(samples))
    }

    /// It could not be read.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::from(Reading::Failed(reason.into()))
    }

    /// When the numbers were true.
    #[must_use]
    pub fn at(mut self, at: UnixMillis) -> Self {
        self.at = Some(at);
        self
    }

    /// Why there are no numbers, if there are none.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match &self.reading {
            Reading::Failed(reason) => Some(reason),
            Reading::Values(_) | Reading::Pods(_) => None,
        }
    }
}

impl From<Reading> for Observation {
    fn from(reading: Reading) -> Self {
        Self { at: None, reading }
    }
}

impl PodSample {
    /// A sample of the whole pod, measured now.
    pub fn new(pod: impl Into<Arc<str>>, value: Quantity) -> Self {
        Self {
            pod: pod.into(),
            value: SampleValue::Pod(value),
            at: None,
            window_seconds: 0,
        }
    }

    /// Whether it was reported by `pod`: one comparison of pointers if the name is shared.
    #[inline]
    pub(crate) fn is_of(&self, pod: &Pod) -> bool {
        // Of one allocation are the addresses alone, which spares comparing two lengths per pod.
        ptr::addr_eq(Arc::as_ptr(&self.pod), Arc::as_ptr(&pod.name)) || self.pod == pod.name
    }
}

pub(crate) fn saturating_count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
