//! From the first request to the verdict.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ledger::{Kind, Ledger};
use crate::phases::{Announcer, Command};
use crate::traffic::{Traffic, direct, jobs, reads, tunnels};
use crate::verdict::Verdict;

/// What the judge sends, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address of the system under judgement, for example 127.0.0.1:8080.
    #[arg(long)]
    pub target: String,
    /// Jobs in flight at a time.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Iterations of each job.
    #[arg(long, default_value_t = 3_000_000)]
    pub iterations: u64,
    /// Tunnels open at a time.
    #[arg(long, default_value_t = 2)]
    pub tunnels: usize,
    /// Ticks of each tunnel.
    #[arg(long, default_value_t = 60)]
    pub ticks: u64,
    /// Milliseconds between two ticks.
    #[arg(long, default_value_t = 50)]
    pub tick_ms: u64,
    /// Milliseconds between two direct runs, two reads, two jobs of a worker.
    #[arg(long, default_value_t = 100)]
    pub pause_ms: u64,
    /// Rounds of each worker; 0 means until `finish`.
    #[arg(long, default_value_t = 0)]
    pub rounds: u64,
    /// Milliseconds that a request has to be answered.
    #[arg(long, default_value_t = 20_000)]
    pub deadline_ms: u64,
    /// Seconds that open work has after `finish`.
    #[arg(long, default_value_t = 60)]
    pub finish_seconds: u64,
    /// Seconds after which the judgement finishes by itself.
    #[arg(long, default_value_t = 300)]
    pub max_seconds: u64,
}

impl Args {
    /// The defaults for a system at `target`.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            jobs: 2,
            iterations: 3_000_000,
            tunnels: 2,
            ticks: 60,
            tick_ms: 50,
            pause_ms: 100,
            rounds: 0,
            deadline_ms: 20_000,
            finish_seconds: 60,
            max_seconds: 300,
        }
    }
}

/// Judges by the commands on standard input; their end means `finish`. Prints
/// the verdict and returns the exit code: 0 if nothing was lost, 1 otherwise.
///
/// # Errors
///
/// If the target is no address.
#[must_use = "nothing happens until it is awaited"]
pub fn run(args: Args) -> LocalBoxFuture<'static, anyhow::Result<ExitCode>> {
    // In a box, so that it is compiled here and not again by everybody who awaits it.
    judge_by_standard_input(args).boxed_local()
}

async fn judge_by_standard_input(args: Args) -> anyhow::Result<ExitCode> {
    let announcer = Announcer::default();
    let phases = announcer.phases();
    tokio::spawn(async move { listen(&announcer).await });
    let verdict = judge(args, phases).await?;
    writeln!(std::io::stdout(), "{verdict}")?;
    Ok(if verdict.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Judges through `phases` until they finish, or the rounds are over.
///
/// # Errors
///
/// If the target is no address.
pub async fn judge(args: Args, mut phases: crate::phases::Phases) -> anyhow::Result<Verdict> {
    let target = args
        .target
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let uri: http::Uri = format!("http://{target}/")
        .parse()
        .context("the target is no address")?;
    ensure!(
        uri.authority().is_some() && uri.path() == "/",
        "the target is no address"
    );
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let traffic = Traffic::new(target, args.clone(), Arc::clone(&ledger), phases.clone());
    let mut workers = JoinSet::new();
    for number in 0..args.jobs {
        workers.spawn(jobs::work(traffic.clone(), number));
    }
    for number in 0..args.tunnels {
        workers.spawn(tunnels::work(traffic.clone(), number));
    }
    workers.spawn(direct::work(traffic.clone()));
    workers.spawn(reads::work(traffic.clone()));

    let patience = Duration::from_secs(args.finish_seconds);
    tokio::select! {
        () = ended(&mut workers, &traffic) => {}
        () = over(&mut phases, args.max_seconds) => {
            traffic.stop();
            if timeout(patience, ended(&mut workers, &traffic)).await.is_err() {
                for _ in 0..workers.len() {
                    traffic.lose(Kind::Unfinished, "work was still open when the time was over");
                }
                workers.shutdown().await;
            }
        }
    }
    let verdict = traffic.ledger().verdict();
    Ok(verdict)
}

async fn over(phases: &mut crate::phases::Phases, max_seconds: u64) {
    tokio::select! {
        () = phases.finishing() => {}
        () = sleep(Duration::from_secs(max_seconds)) => {}
    }
}

async fn ended(workers: &mut JoinSet<()>, traffic: &Traffic) {
    while let Some(worker) = workers.join_next().await {
        if worker.is_err() {
            traffic.lose(Kind::Unfinished, "a worker of the judge broke off");
        }
    }
}

/// Reads commands, each line at most a hundred bytes; the end means `finish`.
async fn listen(announcer: &Announcer) {
    let mut input = BufReader::new(stdin());
    loop {
        let mut line = String::new();
        match (&mut input).take(100).read_line(&mut line).await {
            Ok(length) if length > 0 => {}
            _ => return announcer.announce(Command::Finish),
        }
        match Command::parse(&line) {
            Some(command) => {
                announcer.announce(command);
                eprintln!("{}", line.trim());
            }
            None => eprintln!("not understood: {}", line.trim()),
        }
    }
}
