//! Real servers for tests: found, started on a free loopback port, watched, and killed on drop.
//!
//! A test asks for a program and gets a running process, or an error that names the one command that
//! installs what is missing. Nothing is ever skipped.
//!
//! | I want to…                                   | module      |
//! |----------------------------------------------|-------------|
//! | find a program or learn how to install it    | [`program`] |
//! | get a loopback port that nobody else holds   | [`port`]    |
//! | start it, wait until it answers, read its log| [`server`]  |
//! | get a Redis server, or a cluster of six      | [`redis`], [`redis_cluster`] |
//! | get a PostgreSQL server                      | [`postgres`] |
//! | get a Consul agent, an etcd, a Prometheus    | [`consul`], [`etcd`], [`prometheus`] |
//! | get other people's clients                   | [`clients`], [`kubectl`] |
//! | keep what was fetched                        | [`cache`], [`debian`] |
//! | know how much memory a process holds         | [`memory`]  |
//! | wait for a condition with a deadline         | [`wait`]    |
//!
//! ```no_run
//! use testkit::{Program, Ready, Server, port};
//!
//! let port = port::free();
//! let python = Program::new("python3", "python3");
//! let server = Server::of(&python)
//!     .args(["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()])
//!     .ready(Ready::Http { port, path: "/".into() })
//!     .start()?;
//! assert!(server.is_running());
//! # Ok::<(), testkit::StartError>(())
//! ```
//!
//! # What it does not do
//!
//! It does not install anything, and servers need no async runtime. A server that must not run as root
//! (PostgreSQL) is started with [`Launch::user`](server::Launch::user), which itself needs root.

pub mod cache;
pub mod clients;
pub mod consul;
pub mod debian;
pub mod etcd;
pub mod kubectl;
pub mod memory;
pub mod port;
pub mod postgres;
pub mod program;
pub mod prometheus;
pub mod redis;
pub mod redis_cluster;
pub mod server;
pub mod wait;

pub use program::{MissingProgram, Program};
pub use server::{Launch, Ready, Server, StartError};
