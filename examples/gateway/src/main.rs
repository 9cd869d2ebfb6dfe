//! The gateway as a program.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::Cli;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match gateway::program::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
