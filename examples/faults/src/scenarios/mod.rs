//! The scenarios, one file each, and the run of all.

mod descriptors;
mod gray;
mod http2;
mod kill;
mod memory;
mod overload;
mod panics;
mod race;
mod restart;
mod slow;
mod sockets;
mod storm;
mod suspend;
mod wall;

use anyhow::Result;
use clap::Args;

use crate::clock::now;
use crate::frame::{Figure, Pace, Report, Verdict};
use crate::origin::Mode;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Shorter load; the mechanisms keep their times.
    #[arg(long)]
    quick: bool,
    /// Only these, as in `3,5` or `3a`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// One JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

/// A scenario: its name, its story, and what its control leaves out.
struct Scenario {
    name: &'static str,
    title: &'static str,
    control: &'static str,
}

const fn scenario(name: &'static str, title: &'static str, control: &'static str) -> Scenario {
    Scenario {
        name,
        title,
        control,
    }
}

const ALL: &[Scenario] = &[
    scenario("1", "kill -9 of one origin under full load", "no retry"),
    scenario("2", "rolling restart of all origins", "no drain"),
    scenario("3a", "gray origin: two seconds slower", "blind round robin"),
    scenario(
        "3b",
        "gray origin: every other answer is a 500",
        "blind round robin",
    ),
    scenario(
        "3c",
        "gray origin: accepts, then silence",
        "blind round robin",
    ),
    scenario("3d", "gray origin: head, then silence", "blind round robin"),
    scenario("3e", "gray origin: reset in the body", "blind round robin"),
    scenario(
        "3f",
        "gray origin: half a body, then its end",
        "blind round robin",
    ),
    scenario(
        "3g",
        "gray origin: connections are swallowed",
        "blind round robin",
    ),
    scenario(
        "4a",
        "all origins bad: retries stay within the budget",
        "no budget",
    ),
    scenario(
        "4b",
        "all origins bad: everybody is tried, and comes back",
        "no panic rule",
    ),
    scenario(
        "5",
        "origins close unused connections at random",
        "no retry of stale connections",
    ),
    scenario(
        "10",
        "WebSockets through scale-up, scale-in and drain",
        "no drain",
    ),
    scenario("11", "a thousand slow heads", "no head timeout"),
    scenario(
        "12",
        "memory of idle connections, sessions and limited clients",
        "unfinished heads, no cap",
    ),
    scenario("13", "no descriptor left", "accept without a pause"),
    scenario(
        "14a",
        "the wall clock jumps an hour, both ways",
        "a limiter on the wall clock",
    ),
    scenario(
        "14b",
        "the gateway is suspended for 30 s",
        "ejection by time alone",
    ),
    scenario("15", "panics in callbacks", "panics are not caught"),
    scenario("17", "hostile HTTP/2", "a server without limits"),
    scenario("19", "three times the capacity", "no concurrency limit"),
];

impl Scenario {
    async fn run(&self, pace: Pace) -> Result<Vec<Figure>> {
        match self.name {
            "1" => kill::run(pace).await,
            "2" => restart::run(pace).await,
            "3a" => gray::run(pace, Mode::Slow).await,
            "3b" => gray::run(pace, Mode::Errors).await,
            "3c" => gray::run(pace, Mode::Silent).await,
            "3d" => gray::run(pace, Mode::Stall).await,
            "3e" => gray::run(pace, Mode::Reset).await,
            "3f" => gray::run(pace, Mode::Short).await,
            "3g" => gray::run(pace, Mode::Blackhole).await,
            "4a" => storm::run(pace, storm::Question::Budget).await,
            "4b" => storm::run(pace, storm::Question::Panic).await,
            "5" => race::run(pace).await,
            "10" => sockets::run(pace).await,
            "11" => slow::run(pace).await,
            "12" => memory::run(pace).await,
            "13" => descriptors::run(pace).await,
            "14a" => wall::run(pace).await,
            "14b" => suspend::run(pace).await,
            "15" => panics::run(pace).await,
            "17" => http2::run(pace).await,
            "19" => overload::run(pace).await,
            other => anyhow::bail!("no scenario is called {other}"),
        }
    }

    /// Asked for by its name, by its number, or not left out.
    fn is_wanted(&self, only: &[String]) -> bool {
        let number = self.name.trim_end_matches(char::is_alphabetic);
        only.is_empty() || only.iter().any(|one| one == self.name || one == number)
    }

    async fn judge(&self, pace: Pace) -> Verdict {
        match Box::pin(self.run(pace)).await {
            Ok(figures) => Verdict::Figures(figures),
            Err(error) => Verdict::Broken(format!("{error:#}")),
        }
    }
}

/// `true` if every scenario met its figures and every control was rejected.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let wanted = ALL.iter().filter(|one| one.is_wanted(&arguments.only));
    let (mut good, mut all) = (0, 0);
    for scenario in wanted {
        let begun = now();
        let quick = arguments.quick;
        let with = scenario.judge(Pace { quick, on: true }).await;
        let without = scenario.judge(Pace { quick, on: false }).await;
        let report = Report {
            scenario: scenario.name,
            title: scenario.title,
            control: scenario.control,
            seconds: now().saturating_duration_since(begun).as_secs_f64(),
            with,
            without,
        };
        if arguments.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            report.print();
        }
        all += 1;
        good += usize::from(report.is_good());
    }
    anyhow::ensure!(all > 0, "no scenario is called {:?}", arguments.only);
    if !arguments.json {
        println!("\n{good} of {all} scenarios met every figure, with their controls rejected");
    }
    Ok(good == all)
}
