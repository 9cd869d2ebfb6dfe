//! A fair turn on the GPUs for every tenant.
//!
//! Somebody who wants to work on a GPU asks [`FairShare`] for a [`Permit`] and
//! holds it while working. A permit is one or more *slots* and a declared
//! amount of memory on one device. Who is next is decided by **weighted dominant
//! share over time**: a tenant's clock advances by what its permits take of the
//! scarcer resource, times how long they hold it, divided by its weight; the
//! tenant whose clock is furthest behind goes next. That is dominant resource
//! fairness (Ghodsi et al., NSDI 2011) with the virtual clocks of start-time
//! fair queueing (Goyal et al., SIGCOMM 1996). Nobody can save up turns while
//! away: a clock that fell behind the others is set to theirs on return.
//!
//! # What is promised
//!
//! - **Fair.** While two tenants both wait, what they were granted differs by
//!   at most one largest cost of each, divided by their weights, as long as
//!   nothing overtakes (see below) and holding times were estimated right.
//! - **No starvation.** Whoever is first in line and does not fit, because it
//!   needs much memory or many slots, is overtaken by smaller requests for at
//!   most `reserve_after` (default 10 s). Then a device is reserved for it: it
//!   starts after `reserve_after` plus the longest holding time at the latest.
//! - **Nothing leaks.** A dropped permit, a cancelled wait and a panic all give
//!   back. Queues are bounded; a full one says when to come back.
//! - **No preemption.** Running work is never stopped. When a device becomes
//!   unfit, its permits are told ([`Permit::revoked`]), and no more are given.
//!
//! # Limits
//!
//! It admits, it does not enforce: a tenant that takes more memory than it
//! declared is not stopped here; use MIG or MPS limits for that. What the
//! devices really have in use is taken into account through
//! [`FairShare::observe`]. Each process schedules for itself; fairness across a
//! fleet is the balancer's business.
//!
//! ```
//! use lb_gpu::fair::{Demand, FairShare};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let share = FairShare::builder()
//!     .slots(8)
//!     .memory_bytes(80 << 30)
//!     .tenant("research", 3.0)
//!     .tenant("teaching", 1.0)
//!     .build()?;
//! let permit = share.acquire("research", Demand::slots(1).memory_bytes(4 << 30)).await?;
//! println!("work on {}", permit.device());
//! drop(permit); // the slot goes to whoever is next
//! # Ok(()) }
//! ```

mod acquire;
mod books;
mod choose;
mod config;
mod demand;
mod device;
mod explain;
mod permit;
mod scheduler;
mod share;
mod tenant;

pub use acquire::Acquire;
pub use config::{Builder, InvalidConfig, WEIGHTS};
pub use demand::{Demand, Refused, Ticket};
pub use explain::{Explanation, WaitReason};
pub use permit::{Permit, Revoked};
pub use scheduler::{Grant, Scheduler};
pub use share::FairShare;
