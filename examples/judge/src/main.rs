//! The judge as a process: see the library.

use clap::Parser;

/// Decides whether anything was lost. Reads phases from standard input.
#[derive(Debug, Parser)]
#[command(version)]
struct Command {
    #[command(flatten)]
    args: judge::Args,
}

#[tokio::main]
async fn main() -> anyhow::Result<std::process::ExitCode> {
    judge::run(Command::parse().args).await
}
