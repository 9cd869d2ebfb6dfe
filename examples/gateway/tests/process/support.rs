//! The gateway as a process, on free ports.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use gateway::client::Client;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::Value;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that is killed with this handle.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) child: Child,
    /// First address it printed, as in `127.0.0.1:8080`.
    pub(crate) authority: String,
    /// Everything it printed before it began to serve.
    pub(crate) words: Vec<String>,
}

impl Process {
    /// Starts `gateway` with these arguments and waits until it has printed `lines` lines.
    pub(crate) fn start(arguments: &[&str], lines: usize) -> Self {
        Self::start_with(arguments, &[], lines)
    }

    /// As `start`, in another environment.
    pub(crate) fn start_with(
        arguments: &[&str],
        environment: &[(&str, OsString)],
        lines: usize,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let out = BufReader::new(child.stdout.take().expect("it has an output"));
        let words: Vec<String> = out.lines().take(lines).map_while(Result::ok).collect();
        let first = words.first().expect("it prints where it serves");
        let (_, address) = first.split_once("http://").expect("an address");
        let authority = address.trim_end_matches('/').to_owned();
        Self {
            child,
            authority,
            words,
        }
    }

    /// The demonstration's gateway without the demonstration.
    pub(crate) fn quiet() -> Self {
        Self::start(&["--quiet", "--listen", "127.0.0.1:0"], 2)
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh")
            .args([
                "-c",
                "kill -\"$0\" \"$1\"",
                name,
                &self.child.id().to_string(),
            ])
            .status();
        assert!(status.expect("a shell").success());
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the gateway ends", || {
            self.child.try_wait().expect("it can be waited for")
        })
        .await
    }

    /// Processes that it started and that still run.
    pub(crate) fn children(&self) -> Vec<u32> {
        let id = self.child.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let of_main = std::fs::read_to_string(path).unwrap_or_default();
        let threads = std::fs::read_dir(format!("/proc/{id}/task"))
            .into_iter()
            .flatten()
            .flatten();
        let of_threads = threads
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let all: Vec<String> = std::iter::once(of_main).chain(of_threads).collect();
        let mut ids: Vec<u32> = all
            .iter()
            .flat_map(|line| line.split_whitespace())
            .filter_map(|id| id.parse().ok())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// One request, its whole answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        send(&self.authority, method, path, body)
            .await
            .expect("an answer")
    }

    /// One request with these headers, its whole answer.
    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        send_with(&self.authority, method, path, headers, body)
            .await
            .expect("an answer")
    }

    /// A `GET` as JSON.
    pub(crate) async fn get(&self, path: &str) -> Value {
        serde_json::from_slice(self.send("GET", path, "").await.body()).expect("JSON")
    }

    /// Waits until so many instances serve.
    pub(crate) async fn instances(&self, count: usize) {
        until_async("all instances serve", async || {
            let status = self.get("/status").await;
            let endpoints = status["pool"]["endpoints"].as_array()?.clone();
            let serving = endpoints.iter().filter(|one| one["state"] == "active");
            (endpoints.len() == count && serving.count() == count).then_some(())
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request to anybody.
pub(crate) async fn send(
    authority: &str,
    method: &str,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, gateway::client::FetchError> {
    send_with(authority, method, path, &[], body).await
}

async fn send_with(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response<Bytes>, gateway::client::FetchError> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{authority}{path}"))
        .header("content-type", "application/json");
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| {
            request.header(*name, *value)
        })
        .body(Full::new(body.into()))
        .expect("a request");
    Client::default()
        .fetch(request, Duration::from_secs(20))
        .await
}

/// Looks again and again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    testkit::wait::found(what, PATIENCE, async || look()).await
}

/// As `until`, by asking.
pub(crate) async fn until_async<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    testkit::wait::found(what, PATIENCE, look).await
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next());
    !matches!(state, None | Some("Z" | "X"))
}
