//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use clap::{Args, Parser, Subcommand};
use lb_core::client::{IpNet, TrustedProxies};
use lb_core::limit::QuotaError;
use simulation::gpu::TenantWeight;

use crate::wiring::limits::PerSecond;

/// A gateway for simulations, with everything it needs. Without a subcommand it starts a registry,
/// three instances and itself, plays a demonstration, and goes on serving.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Instead of the demonstration.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The demonstration.
    #[command(flatten)]
    pub demo: DemoArgs,
}

/// How the demonstration is played.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Address for clients; port 0 picks a free one. Nothing is protected: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// What one client may send.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Whose word about clients is taken.
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Weight of a tenant in the turns for GPU slots, as in research=3; 1 for all others.
    #[arg(long = "tenant", value_name = "NAME=WEIGHT")]
    pub tenants: Vec<TenantWeight>,
    /// Ends after the demonstration; fails if anything it claims did not hold.
    #[arg(long)]
    pub once: bool,
    /// Serves without playing anything.
    #[arg(long, conflicts_with = "once")]
    pub quiet: bool,
    /// Control run: plays the scaling without a drain, ends, and fails because the judge reports losses.
    #[arg(long, hide = true, conflicts_with_all = ["once", "quiet"])]
    pub no_drain: bool,
    /// Ends when standard input does.
    #[arg(long, hide = true)]
    pub leave_with_parent: bool,
}

/// What one client may send; more is answered 429.
#[derive(Clone, Copy, Debug, Args)]
pub struct LimitArgs {
    /// Requests that one client may send per second.
    #[arg(long, default_value = "5000")]
    pub requests_per_second: NonZeroU32,
    /// Of them uploads: bodies of 64 KiB and more, or of unknown size.
    #[arg(long, default_value = "100")]
    pub uploads_per_second: NonZeroU32,
}

impl LimitArgs {
    /// As the seam wants them.
    ///
    /// # Errors
    ///
    /// If a limit is so high that it means nothing.
    pub fn per_second(self) -> Result<PerSecond, QuotaError> {
        PerSecond::new(
            self.requests_per_second.get(),
            self.uploads_per_second.get(),
        )
    }
}

/// Whose word about clients is taken; by default nobody's.
#[derive(Clone, Debug, Default, Args)]
pub struct TrustArgs {
    /// Network of proxies in front, as in 10.0.0.0/8, whose x-forwarded-for and x-tenant are
    /// believed. Default: nobody's are.
    #[arg(long = "trusted-proxy", value_name = "NETWORK")]
    pub trusted_proxies: Vec<IpNet>,
}

impl From<TrustArgs> for TrustedProxies {
    fn from(args: TrustArgs) -> Self {
        Self::new(args.trusted_proxies)
    }
}

/// What else this program can be.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Balances over the given upstreams, without any configuration.
    Up(UpArgs),
    /// One instance of the simulation service.
    #[command(hide = true)]
    Instance(InstanceArgs),
    /// The judge of the demonstration.
    #[command(hide = true)]
    Judge(judge::Args),
}

/// `gateway up http://a http://b`
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// Upstreams, as in http://10.0.0.1:8000.
    #[arg(required = true)]
    pub upstreams: Vec<String>,
    /// Address for clients; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Path that upstreams are asked for; any answer is a sign of life.
    #[arg(long, default_value = "/")]
    pub health_path: String,
    /// Seconds between two questions.
    #[arg(long, default_value = "2")]
    pub health_seconds: NonZeroU32,
    /// What one client may send.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Whose word about clients is taken.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// One instance, and whether it ends with its parent.
#[derive(Clone, Debug, Args)]
pub struct InstanceArgs {
    /// As of the simulation service.
    #[command(flatten)]
    pub simulation: simulation::service::Args,
    /// Ends when standard input does.
    #[arg(long)]
    pub leave_with_parent: bool,
}
