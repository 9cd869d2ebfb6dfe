#![cfg_attr(docsrs, feature(doc_cfg))]
//! Who is there, how are they, and tell me when it changes.
//!
//! A service registers in one line ([`Membership`]); whoever calls it follows a [`Watch`] of whole sets of
//! [`Instance`]s. The registry behind may be inside the process ([`InProcess`]), an [`EmbeddedServer`] that speaks
//! Consul's HTTP interface, or a real [`Consul`]. A registry that does not answer never empties a set.
//!
//! ```
//! use lb_registry::{Discovery, InProcess, Membership};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let registry = InProcess::default();
//! let member = Membership::new("simulation", "10.0.0.7:8000").version("1.2.3").join(&registry);
//! let mut watch = registry.watch("simulation");
//! let set = watch.until(|set| !set.instances.is_empty()).await.expect("the registry is alive");
//! assert_eq!(set.instances[0].uri(), "http://10.0.0.7:8000");
//! member.leave().await;
//! # }
//! ```
//!
//! # Map
//!
//! | I want to…                                         | module         | floor  |
//! |----------------------------------------------------|----------------|--------|
//! | know what an instance is                           | [`instance`]   | decide |
//! | know what a set of them is, and how sure we are    | [`snapshot`]   | decide |
//! | compare two sets                                   | [`mod@diff`]   | decide |
//! | keep services, checks, keys and sessions           | [`catalog`]    | decide |
//! | believe or not believe a registry                  | [`mod@fail_static`] | decide |
//! | read and write Consul's durations                  | [`duration`]   | decide |
//! | wait before the next attempt                       | [`backoff`]    | decide |
//! | say what a registry can do                         | [`registry`]   | serve  |
//! | follow a service                                   | [`watch`]      | serve  |
//! | register inside the process                        | [`in_process`] | serve  |
//! | join several registries into one                   | [`merge`]      | serve  |
//! | name instances in the program                      | [`fixed`]      | serve  |
//! | name instances in a file                           | [`mod@file`]   | edge   |
//! | take the services or addresses of a name           | [`dns`]        | edge   |
//! | be registered while serving                        | [`membership`] | serve  |
//! | answer health probes (feature `serve`)             | [`health`]     | edge   |
//! | offer a registry to others (feature `server`)      | [`server`]     | edge   |
//! | use a Consul agent (feature `consul`)              | [`consul`]     | edge   |
//! | use Kubernetes EndpointSlices (feature `kubernetes`) | `kubernetes`   | edge   |
//! | run several embedded servers that agree (feature `etcd`) | `etcd` | edge   |
//! | see sets and drain instances over HTTP (feature `admin`) | `admin`   | edge   |
//! | name the metrics                                   | [`observe`]    | edge   |

#[cfg(feature = "admin")]
pub mod admin;
pub mod backoff;
pub mod catalog;
mod clock;
#[cfg(feature = "consul")]
pub mod consul;
pub mod diff;
pub mod dns;
pub mod duration;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod fail_static;
mod feed;
pub mod file;
pub mod fixed;
#[cfg(feature = "serve")]
pub mod health;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
mod http_client;
pub mod in_process;
pub mod instance;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(any(feature = "kubernetes", feature = "etcd"))]
mod lines;
pub mod membership;
pub mod merge;
pub mod observe;
mod persist;
pub mod registry;
#[cfg(feature = "server")]
pub mod server;
pub mod snapshot;
pub mod watch;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "consul")]
pub use self::consul::Consul;
pub use self::dns::Dns;
#[cfg(feature = "etcd")]
pub use self::etcd::Etcd;
pub use self::file::File;
pub use self::fixed::Fixed;
#[cfg(feature = "serve")]
pub use self::health::HealthRoutes;
#[cfg(any(feature = "consul", feature = "etcd", feature = "kubernetes"))]
pub use self::http_client::InvalidUrl;
#[cfg(all(
    feature = "tls",
    any(feature = "consul", feature = "etcd", feature = "kubernetes")
))]
pub use self::http_client::tls::InvalidCertificates;
pub use self::in_process::InProcess;
pub use self::instance::{Instance, Status};
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
pub use self::membership::Membership;
pub use self::merge::Merge;
pub use self::registry::{Discovery, HttpCheck, Registration, Registry, RegistryError};
#[cfg(feature = "server")]
pub use self::server::EmbeddedServer;
pub use self::snapshot::{Origin, Snapshot, UnixMillis};
pub use self::watch::Watch;
