//! Faults in real processes, and a judge that knows only ledgers.
//!
//! ```text
//! faults run [--quick] [--only 3,5] [--json]
//! ```
//!
//! Each scenario starts origins that break on command, a gateway built on lb-core, and
//! an open-loop client, each a process of its own on free loopback ports. Every part
//! keeps a ledger; the judge reads those and the kernel's figures, never the gateway's
//! opinion of itself. Each scenario then runs again with its mechanism off, and the same
//! judge must reject that control.
//!
//! | I want to…                     | module        |
//! |--------------------------------|---------------|
//! | see what is judged             | `scenarios`   |
//! | know how ledgers are judged    | `frame::judge`|
//! | break an origin in another way | `origin`      |
//! | send other traffic             | `client`      |
//! | change the gateway under test  | `gateway`     |

mod client;
mod clock;
mod control;
mod frame;
mod gateway;
mod ledger;
mod message;
mod origin;
mod scenarios;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Runs scenarios and prints their figures.
    Run(scenarios::Arguments),
    #[command(hide = true)]
    Origin(origin::Arguments),
    #[command(hide = true)]
    Gateway(gateway::Arguments),
    #[command(hide = true, subcommand)]
    Client(client::Arguments),
}

fn main() -> ExitCode {
    let part = Cli::parse().part;
    raise_descriptor_limit();
    if !matches!(part, Part::Run(_)) {
        leave_with_parent();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match part {
            Part::Run(arguments) => scenarios::run(&arguments).await,
            Part::Origin(arguments) => origin::run(arguments).await.map(|()| true),
            Part::Gateway(arguments) => gateway::run(arguments).await.map(|()| true),
            Part::Client(arguments) => client::run(arguments).await.map(|()| true),
        }
    });
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A run that is killed, in whatever way, leaves nothing behind.
fn leave_with_parent() {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("this process may outlive its run: {error}");
    }
}

/// Thousands of connections need as many descriptors as this user may have.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays lower, scenarios say what they could not open.
    let _ = setrlimit(Resource::Nofile, limit);
}
