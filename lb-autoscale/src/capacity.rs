//! How much work fits: slots in use, free now, and possible at most.
//!
//! ```
//! use lb_autoscale::capacity::Capacity;
//! use lb_autoscale::inputs::Pod;
//! use lb_autoscale::Spec;
//!
//! let spec = Spec::builder("simulation").replicas(3..=20).build()?;
//! let pods = [Pod::ready("a").active_work(4), Pod::ready("b").active_work(10), Pod::pending("c")];
//! let view = Capacity::of(&spec, &pods, 10);
//! assert_eq!((view.in_use, view.available, view.total), (14, 6, 20));
//! assert_eq!((view.at_minimum, view.at_maximum), (30, 200));
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

use serde::{Deserialize, Serialize};

use crate::inputs::{Pod, saturating_count};
use crate::spec::Spec;

/// Slots of a fleet in which every instance holds the same number of pieces of work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Capacity {
    /// Slots of one instance.
    pub per_instance: u32,
    /// Instances that take work.
    pub instances: u32,
    /// Slots that hold work, on any instance.
    pub in_use: u32,
    /// Free slots on instances that take work.
    pub available: u32,
    /// All slots of instances that take work.
    pub total: u32,
    /// Slots at the minimum of replicas.
    pub at_minimum: u32,
    /// Slots at the maximum of replicas.
    pub at_maximum: u32,
}

impl Capacity {
    /// Looks at `pods`; work that a pod does not report counts as none.
    #[must_use]
    pub fn of(spec: &Spec, pods: &[Pod], slots_per_instance: u32) -> Self {
        let slots = |instances: u32| instances.saturating_mul(slots_per_instance);
        let work = |pod: &Pod| pod.active_work.unwrap_or(0);
        let taking = || pods.iter().filter(|pod| pod.is_healthy());
        let instances = saturating_count(taking().count());
        let free = |pod: &Pod| slots_per_instance.saturating_sub(work(pod));
        Self {
            per_instance: slots_per_instance,
            instances,
            in_use: pods.iter().map(work).fold(0, u32::saturating_add),
            available: taking().map(free).fold(0, u32::saturating_add),
            total: slots(instances),
            at_minimum: slots(spec.min_replicas()),
            at_maximum: slots(spec.max_replicas()),
        }
    }
}
