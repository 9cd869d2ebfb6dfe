//! One instance of the simulation service.

use clap::Parser;

/// A Monte Carlo simulation service.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: simulation::service::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    simulation::service::run(Command::parse().args).await
}
