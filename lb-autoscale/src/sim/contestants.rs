//! Who competes: the Kubernetes autoscaler, the likes of Knative's and KEDA's,
//! thresholds, and demand.

use std::collections::VecDeque;
use std::sync::Arc;

use super::world::{Contestant, View};
use crate::inputs::{Container, Inputs, Observation, Phase, Pod, PodSample};
use crate::spec::{Metric, SelectPolicy, Spec, SpecError};
use crate::{Quantity, State, UnixMillis, decide, presets};

/// The mean over the last seconds.
#[derive(Clone, Debug)]
struct Window {
    length: usize,
    values: VecDeque<f64>,
    sum: f64,
}

impl Window {
    fn new(length: usize) -> Self {
        Self {
            length,
            values: VecDeque::new(),
            sum: 0.0,
        }
    }

    fn push(&mut self, value: f64) -> f64 {
        self.values.push_back(value);
        self.sum += value;
        if self.values.len() > self.length {
            self.sum -= self.values.pop_front().unwrap_or_default();
        }
        self.sum / self.values.len() as f64
    }
}

/// Arrivals plus what waits, to be worked off within so many seconds.
fn demand(view: &View, within_seconds: f64) -> f64 {
    view.arrivals + view.backlog / within_seconds
}

fn time(view: &View) -> UnixMillis {
    UnixMillis::from_secs(view.second)
}

/// A Kubernetes HPA with the default behavior on CPU utilization: samples of
/// 30 seconds, a decision every 15.
#[derive(Clone, Debug)]
pub struct Hpa {
    spec: Spec,
    state: State,
    window: Window,
    names: Vec<Arc<str>>,
    containers: Arc<[Container]>,
    wanted: u32,
}

impl Hpa {
    /// Target in percent.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for a target of zero.
    pub fn new(target_percent: u32) -> Result<Self, SpecError> {
        let spec = Spec::builder("hpa")
            .replicas(2..=100)
            .metric(Metric::resource("cpu").utilization(target_percent))
            .behavior(Some(crate::spec::Behavior::default()))
            .build()?;
        let names = (0..100).map(|n| Arc::from(format!("pod-{n}"))).collect();
        Ok(Self {
            spec,
            state: State::default(),
            window: Window::new(30),
            names,
            containers: Arc::new([Container::cpu("main", Quantity::from_units(1))]),
            wanted: 2,
        })
    }

    fn inputs(&self, view: &View, utilization: f64) -> Inputs {
        let used = Quantity::from_f64(utilization).unwrap_or_default();
        let (mut pods, mut samples) = (Vec::new(), Vec::new());
        for (index, name) in self.names.iter().take(view.replicas as usize).enumerate() {
            let mut pod = Pod::ready(Arc::clone(name)).containers(Arc::clone(&self.containers));
            if index < view.ready as usize {
                samples.push(PodSample::new(Arc::clone(name), used));
            } else {
                pod.phase = Phase::Pending;
                samples.push(PodSample::new(Arc::clone(name), Quantity::default()));
            }
            pods.push(pod);
        }
        Inputs::new(view.replicas)
            .pods(pods)
            .observe("cpu", Observation::pods(samples))
    }
}

impl Contestant for Hpa {
    fn decide(&mut self, view: &View) -> u32 {
        let utilization = self.window.push(view.utilization);
        if view.second % 15 == 14 {
            let inputs = self.inputs(view, utilization);
            self.wanted = decide(&self.spec, &mut self.state, &inputs, time(view)).desired;
        }
        self.wanted
    }
}

/// Knative's KPA as its sources describe it: a decision every 2 seconds, stable
/// window 60 s, panic window 6 s at twice the capacity, at most half away per decision.
#[derive(Clone, Debug)]
pub struct Kpa {
    target: f64,
    stable: Window,
    panic: Window,
    panic_until: Option<i64>,
    panic_peak: u32,
    wanted: u32,
}

impl Kpa {
    /// Demand per replica.
    #[must_use]
    pub fn new(target: f64) -> Self {
        let (stable, panic) = (Window::new(60), Window::new(6));
        Self {
            target,
            stable,
            panic,
            panic_until: None,
            panic_peak: 0,
            wanted: 2,
        }
    }
}

impl Contestant for Kpa {
    fn decide(&mut self, view: &View) -> u32 {
        let stable = self.stable.push(demand(view, 10.0));
        let panic = self.panic.push(demand(view, 10.0));
        if view.second % 2 != 1 {
            return self.wanted;
        }
        let ready = view.ready.max(1);
        // `as` saturates; growth is capped at a thousandfold, shrinking at half.
        let cap = |demand: f64| {
            ((demand / self.target).ceil() as u32).clamp(ready / 2, ready.saturating_mul(1_000))
        };
        let (stable, panic) = (cap(stable), cap(panic));
        if f64::from(panic) / f64::from(ready) >= 2.0 {
            self.panic_until = Some(view.second + 60);
        }
        if self.panic_until.is_some_and(|until| view.second < until) {
            self.panic_peak = self.panic_peak.max(stable.max(panic));
            self.wanted = self.panic_peak.max(view.replicas);
        } else {
            (self.panic_until, self.panic_peak) = (None, 0);
            self.wanted = stable;
        }
        self.wanted
    }
}

/// KEDA with a request-rate trigger: an HPA on an external average value, rate
/// over a minute, polled every 30 seconds.
#[derive(Clone, Debug)]
pub struct Keda {
    inner: Demand,
    window: Window,
    polled: f64,
}

impl Keda {
    /// Requests a second per replica.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for a target that is not positive.
    pub fn new(target: f64) -> Result<Self, SpecError> {
        let spec = Spec::builder("keda")
            .replicas(2..=100)
            .metric(Metric::external("demand").average_value(target))
            .behavior(Some(crate::spec::Behavior::default()))
            .build()?;
        Ok(Self {
            inner: Demand::new(spec).every(15),
            window: Window::new(60),
            polled: 0.0,
        })
    }
}

impl Contestant for Keda {
    fn decide(&mut self, view: &View) -> u32 {
        let rate = self.window.push(view.arrivals);
        if view.second % 30 == 0 {
            self.polled = rate;
        }
        self.inner.decide_on(view, self.polled)
    }
}

/// The threshold preset on utilization.
#[derive(Clone, Debug)]
pub struct ThresholdRules {
    spec: Spec,
    state: State,
    window: Window,
    wanted: u32,
}

impl ThresholdRules {
    /// With either reading of "50 % but at most 2".
    ///
    /// # Errors
    ///
    /// None in practice: the preset is valid.
    pub fn new(growth: SelectPolicy) -> Result<Self, SpecError> {
        let spec = presets::thresholds("thresholds", growth)
            .replicas(2..=100)
            .build()?;
        Ok(Self {
            spec,
            state: State::default(),
            window: Window::new(30),
            wanted: 2,
        })
    }
}

impl Contestant for ThresholdRules {
    fn decide(&mut self, view: &View) -> u32 {
        let percent = self.window.push(view.utilization) * 100.0;
        if view.second % 15 == 14 {
            let inputs = Inputs::new(view.replicas)
                .observe("cpu", Observation::value(percent))
                .observe("gpu", Observation::value(percent))
                .observe(
                    "active_simulations",
                    Observation::value(view.served / 100.0),
                )
                .pods((0..view.replicas).map(|n| Pod::ready(format!("pod-{n}"))));
            self.wanted = decide(&self.spec, &mut self.state, &inputs, time(view)).desired;
        }
        self.wanted
    }
}

/// Any specification with one metric `demand`, as [`presets::demand`] wants it:
/// the mean of 15 seconds, every 10 seconds by default.
#[derive(Clone, Debug)]
pub struct Demand {
    spec: Spec,
    state: State,
    window: Window,
    every: i64,
    wanted: u32,
}

impl Demand {
    /// The specification's metric must be called `demand`.
    #[must_use]
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            state: State::default(),
            window: Window::new(15),
            every: 10,
            wanted: 2,
        }
    }

    /// Seconds between decisions.
    #[must_use]
    pub fn every(mut self, seconds: i64) -> Self {
        self.every = seconds.max(1);
        self
    }

    fn decide_on(&mut self, view: &View, demand: f64) -> u32 {
        if view.second % self.every == self.every - 1 {
            let inputs = Inputs::new(view.replicas).observe("demand", Observation::value(demand));
            self.wanted = decide(&self.spec, &mut self.state, &inputs, time(view)).desired;
        }
        self.wanted
    }
}

impl Contestant for Demand {
    fn decide(&mut self, view: &View) -> u32 {
        let demand = self.window.push(demand(view, 300.0));
        self.decide_on(view, demand)
    }
}
