//! Four origins, a gateway before them, and a folder for their ledgers.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use super::Process;
use super::process::Wrap;
use crate::gateway::{self, Member, Plan};
use crate::ledger::{self, Seen, Sent};
use crate::origin::{self, Mode};

/// An origin and its arguments, so that it can be started again.
struct Origin {
    process: Option<Process>,
    port: u16,
}

/// How the origins work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) delay_ms: u64,
    pub(crate) slots: usize,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            delay_ms: 20,
            slots: 10_000,
        }
    }
}

/// A load on its way.
pub(crate) struct Load {
    process: Process,
    ledger: PathBuf,
}

pub(crate) struct Stage {
    folder: TempDir,
    service: Service,
    origins: Vec<Origin>,
    gateway: Option<Process>,
    clients: usize,
}

impl Stage {
    /// Four origins of 20 ms and a gateway by `plan`.
    pub(crate) async fn open(plan: Plan) -> Result<Self> {
        Self::with(4, Service::default(), plan, None).await
    }

    pub(crate) async fn with(
        count: usize,
        service: Service,
        plan: Plan,
        wrap: Option<Wrap>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut stage = Self {
            folder,
            service,
            origins: Vec::new(),
            gateway: None,
            clients: 0,
        };
        for _ in 0..count {
            stage.add_origin().await?;
        }
        let plan = Plan {
            members: stage.members(),
            ..plan
        };
        let arguments = ["gateway", "--plan", &serde_json::to_string(&plan)?].map(str::to_owned);
        let gateway = Process::start(&arguments, stage.folder.path(), wrap.as_ref())?;
        stage.gateway = Some(gateway.ready().await.context("the gateway")?);
        Ok(stage)
    }

    pub(crate) async fn add_origin(&mut self) -> Result<()> {
        self.origins.push(Origin {
            process: None,
            port: 0,
        });
        self.start_origin(self.origins.len() - 1).await
    }

    /// Starts an origin, on the port it had before if it had one.
    pub(crate) async fn start_origin(&mut self, index: usize) -> Result<()> {
        let port = self.origins[index].port;
        let ledger = self.ledger_of(index);
        let arguments = format!(
            "origin --id {} --port {port} --delay-ms {} --slots {} --ledger",
            name(index),
            self.service.delay_ms,
            self.service.slots
        );
        let mut arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
        arguments.push(ledger.display().to_string());
        let process = Process::start(&arguments, self.folder.path(), None)?;
        let process = process
            .ready()
            .await
            .with_context(|| format!("origin {}", name(index)))?;
        let origin = &mut self.origins[index];
        origin.port = process.address().port();
        origin.process = Some(process);
        Ok(())
    }

    /// `kill -9`.
    pub(crate) async fn kill_origin(&mut self, index: usize) -> Result<()> {
        let process = self.origins[index].process.take();
        process.context("this origin runs")?.kill().await
    }

    pub(crate) async fn set_mode(&self, index: usize, mode: Mode) -> Result<()> {
        self.order_origin(index, &origin::Order::Mode { mode })
            .await
    }

    pub(crate) async fn order_origin(&self, index: usize, order: &origin::Order) -> Result<()> {
        let process = self.origins[index].process.as_ref();
        process
            .context("this origin runs")?
            .order(order)
            .await
            .map(drop)
    }

    pub(crate) fn port(&self, index: usize) -> u16 {
        self.origins[index].port
    }

    pub(crate) fn member(&self, index: usize) -> Member {
        Member {
            id: name(index),
            uri: format!("http://127.0.0.1:{}", self.origins[index].port),
        }
    }

    fn members(&self) -> Vec<Member> {
        (0..self.origins.len())
            .map(|index| self.member(index))
            .collect()
    }

    pub(crate) fn gateway(&mut self) -> &mut Process {
        self.gateway
            .as_mut()
            .expect("invariant: an open stage has a gateway")
    }

    pub(crate) async fn order(&mut self, order: &gateway::Order) -> Result<Value> {
        self.gateway().order(order).await
    }

    /// Starts a load of that many requests per second; `more` are further arguments.
    pub(crate) fn load(&mut self, rate: f64, seconds: f64, more: &str) -> Result<Load> {
        let prefix = format!("c{}-", self.clients);
        self.client(
            &format!("load --rate {rate} --prefix {prefix} {more}"),
            seconds,
        )
    }

    /// Starts a client of any kind.
    pub(crate) fn client(&mut self, arguments: &str, seconds: f64) -> Result<Load> {
        self.clients += 1;
        let ledger = self
            .folder
            .path()
            .join(format!("client-{}.jsonl", self.clients));
        let gateway = self.gateway().address();
        let arguments =
            format!("client {arguments} --gateway {gateway} --seconds {seconds} --ledger");
        let mut arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        arguments.push(ledger.display().to_string());
        let process = Process::start(&arguments, self.folder.path(), None)?;
        Ok(Load { process, ledger })
    }

    /// What this origin wrote down so far.
    pub(crate) fn seen(&self, index: usize) -> Result<Vec<Seen>> {
        ledger::read(&self.ledger_of(index))
    }

    pub(crate) fn seen_by_all(&self) -> Result<Vec<Seen>> {
        let each: Result<Vec<_>> = (0..self.origins.len())
            .map(|index| self.seen(index))
            .collect();
        Ok(each?.concat())
    }

    fn ledger_of(&self, index: usize) -> PathBuf {
        self.folder
            .path()
            .join(format!("origin-{}.jsonl", name(index)))
    }
}

impl Load {
    /// Waits for the end of the load and reads its ledger.
    pub(crate) async fn done(self) -> Result<Vec<Sent>> {
        self.result().await
    }

    /// The same for other kinds of clients.
    pub(crate) async fn result<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        self.process.finish().await?;
        ledger::read(&self.ledger)
    }
}

/// Origins are called a, b, c and so on.
pub(crate) fn name(index: usize) -> String {
    char::from(b'a' + index as u8).to_string()
}

pub(crate) async fn pause(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}
