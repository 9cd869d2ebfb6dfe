//! What the program does, by subcommand.
//!
//! It is here and not beside `main` so that all of it is compiled once: futures are compiled
//! where they are first polled.

use std::io::Write as _;
use std::process::ExitCode;

use simulation::signal::asked_to_end;

use crate::cli::{Cli, Command, DemoArgs, InstanceArgs, UpArgs};
use crate::demo::{self, Programme};
use crate::fleet::{Gateway, Options};
use crate::lifeline;
use crate::up::Up;

/// Does what the command line says, until that is done or a signal ends it.
///
/// # Errors
///
/// If something cannot be started, or the demonstration cannot be played.
#[tokio::main]
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        None => demonstration(cli.demo).await,
        Some(Command::Up(args)) => up(args).await,
        Some(Command::Instance(args)) => instance(args).await,
        Some(Command::Judge(args)) => judge::run(args).await,
    }
}

async fn demonstration(args: DemoArgs) -> anyhow::Result<ExitCode> {
    if args.leave_with_parent {
        lifeline::leave_with_parent();
    }
    let ended = asked_to_end()?;
    let gateway = Gateway::start(Options {
        listen: args.listen,
        drain: !args.no_drain,
        limits: args.limits.per_second()?,
        trusted: args.trust.into(),
        tenants: args.tenants,
    })
    .await?;
    announce(&gateway);
    let programme = if args.no_drain {
        Programme::Scaling
    } else {
        Programme::Whole
    };
    let played = async {
        if args.quiet {
            Ok(true)
        } else {
            demo::play(&gateway, programme).await
        }
    };
    tokio::pin!(ended);
    let played = tokio::select! {
        played = played => played,
        () = &mut ended => {
            gateway.stop().await;
            // Half a demonstration proves nothing.
            return Ok(if args.once { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    if matches!(played, Ok(true)) && !args.once && !args.no_drain {
        if !args.quiet {
            say("still serving; Ctrl-C ends it");
            announce(&gateway);
        }
        ended.await;
    }
    gateway.stop().await;
    Ok(if played? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn up(args: UpArgs) -> anyhow::Result<ExitCode> {
    let ended = asked_to_end()?;
    let up = Up::start(args).await?;
    let (address, page) = (up.address, up.page);
    say(&format!(
        "serving  http://{address}/\npage     http://{page}/"
    ));
    ended.await;
    up.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn instance(args: InstanceArgs) -> anyhow::Result<ExitCode> {
    if args.leave_with_parent {
        lifeline::leave_with_parent();
    }
    simulation::service::run(args.simulation).await?;
    Ok(ExitCode::SUCCESS)
}

/// Where to look.
fn announce(gateway: &Gateway) {
    let (page, registry) = (gateway.authority(), gateway.registry_uri());
    say(&format!("open      http://{page}/\nregistry  {registry}"));
}

/// Where nobody reads, it serves all the same.
fn say(words: &str) {
    let mut out = std::io::stdout();
    let _nobody_reads = writeln!(out, "{words}").and_then(|()| out.flush());
}
