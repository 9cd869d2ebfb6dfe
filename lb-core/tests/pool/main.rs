//! Membership, availability, leases and drains of the pool.

mod availability;
#[path = "../common/mod.rs"]
mod common;
mod discovery;
mod leases;
mod membership;
mod threads;
