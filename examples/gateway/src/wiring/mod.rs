//! The seams: where two crates meet that have never heard of each other. One file each, at most
//! 40 lines of glue, with a test.
//!
//! | seam | file |
//! |---|---|
//! | registry -> balancer | [`endpoints`] |
//! | balancer -> jobs | [`places`] |
//! | ledger -> autoscaler | [`load`] |
//! | autoscaler -> processes | [`children`] |
//! | autoscaler -> balancer and registry, at scale-in | [`drain`] |
//! | operator -> balancer | [`weights`] |
//! | jobs -> cache | [`keep`] |
//! | cache in front of results | [`results`] |
//! | simulation -> gateway: is this a specification? | [`specs`] |
//! | GPU probe -> status, and GPU load -> autoscaler | [`gpu`] |
//! | instances' health and reports -> balancer | [`health`] |
//! | clients -> limits | [`limits`] |
//! | trusted proxies -> tenants | [`tenants`] |
//! | everything -> the page | [`page`] |

pub mod children;
pub mod drain;
pub mod endpoints;
pub mod gpu;
pub mod health;
pub mod keep;
pub mod limits;
pub mod load;
pub mod page;
pub mod places;
pub mod results;
pub mod specs;
pub mod tenants;
pub mod weights;

/// The name under which instances register.
pub const SERVICE: &str = "simulation";
