//! Replays a day of load against autoscalers, without waiting a day.
//!
//! A fluid queue: every second requests arrive, ready instances serve at their
//! rate, the rest waits. New instances need time to start and cost from the
//! first second; stopped ones serve nothing more and cost until they are
//! drained. A request misses its objective if it arrives while the backlog is
//! longer than the allowed wait. What this cannot show: request sizes, unfair
//! balancing, retries. What it shows well: lag, overshoot, churn and cost.
//!
//! Bursts shorter than an instance's start cannot be scaled for. Where misses
//! stay high whatever the policy, the answer is standing headroom or a queue.
//!
//! ```
//! use lb_autoscale::presets;
//! use lb_autoscale::sim::{Trace, World, contestants::{Demand, Hpa}, simulate};
//!
//! let day = Trace::flash_crowds(1);
//! let world = World::default();
//! let hpa = simulate(&world, &day, &mut Hpa::new(70)?);
//! let spec = presets::demand("api", "demand", 70.0).replicas(2..=100).build()?;
//! let ours = simulate(&world, &day, &mut Demand::new(spec));
//! assert!(ours.slo_miss_percent < hpa.slo_miss_percent);
//! # Ok::<(), lb_autoscale::spec::SpecError>(())
//! ```

pub mod contestants;
mod generate;
mod random;
mod trace;
mod world;

pub use trace::{Trace, TraceError};
pub use world::{Contestant, Outcome, Point, View, World, simulate, simulate_with};
