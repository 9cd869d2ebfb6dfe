//! The client: a process of its own that knows the gateway by its address only.

pub(crate) mod attack;
mod frames;
mod hold;
mod load;
mod socket;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use hold::Held;
pub(crate) use socket::Listened;

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Arguments {
    /// Requests at a fixed rate, whatever becomes of them.
    Load(load::Arguments),
    /// Connections that are opened and kept.
    Hold(hold::Arguments),
    /// WebSockets that count and come back.
    Sockets(socket::Arguments),
    /// Hostile HTTP/2.
    Attack(attack::Arguments),
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    match arguments {
        Arguments::Load(arguments) => load::run(arguments).await,
        Arguments::Hold(arguments) => hold::run(arguments).await,
        Arguments::Sockets(arguments) => socket::run(arguments).await,
        Arguments::Attack(arguments) => attack::run(arguments).await,
    }
}

/// What every kind of client needs.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// Where the gateway listens.
    #[arg(long)]
    gateway: SocketAddr,
    /// Where to write what happened.
    #[arg(long)]
    ledger: PathBuf,
    /// How long.
    #[arg(long)]
    seconds: f64,
}
