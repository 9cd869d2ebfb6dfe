//! A real Prometheus scrapes real instances and drives real local processes up and down
//! under real load: simulations that outlive the request that started them. With the drain none of
//! them is lost; without it (the control) some are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lb_autoscale::prometheus::Prometheus;
use lb_autoscale::spec::{Metric, Policy, ScalingRules};
use lb_autoscale::{Autoscaler, AutoscalerHandle, LocalProcesses, Spec};
use testkit::{Program, Ready, Server, port};
use tokio::process::Command;

/// An instance: `/start/ID` begins a simulation of 0.4 s and answers at once, `/state/ID` tells
/// whether it has finished, `/metrics` how many have not. It stops at once when told to, so
/// whatever it holds then is lost.
const INSTANCE: &str = r#"
import http.server, sys, threading, time
known, active, lock = {}, 0, threading.Lock()
def simulate(name):
    global active
    time.sleep(0.4)
    with lock:
        known[name] = "finished"
        active -= 1
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global active
        _, what, *name = self.path.split("/")
        with lock:
            if what == "start":
                known[name[0]] = "running"
                active += 1
                threading.Thread(target=simulate, args=name, daemon=True).start()
            state = known.get(name[0], "unknown") if name else ""
            body = f"simulation_active {active}\n# {state}\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *ignored): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

const SLOTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// A GET on loopback; the answer if it is complete and 200.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut answer = String::new();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    stream.read_to_string(&mut answer).ok()?;
    let whole = answer.starts_with("HTTP/1.0 200") && answer.contains("simulation_active");
    whole.then_some(answer)
}

/// One simulation from its start to its end; `false` if its instance lost it.
fn simulate(port: u16, name: usize) -> bool {
    if get(port, &format!("/start/{name}")).is_none() {
        return false;
    }
    let mut state = None;
    let ended = testkit::wait::until(PATIENCE, || {
        state = get(port, &format!("/state/{name}"));
        state
            .as_deref()
            .is_none_or(|state| !state.contains("# running"))
    });
    ended && state.is_some_and(|state| state.contains("# finished"))
}

/// One instance as the balancer sees it.
#[derive(Default)]
struct Slot {
    held: usize,
    closed: bool,
}

/// A balancer of a few lines: round robin over the instances that are open.
#[derive(Default)]
struct Balancer {
    slots: Mutex<BTreeMap<u16, Slot>>,
    turn: AtomicUsize,
    named: AtomicUsize,
    finished: AtomicUsize,
    lost: AtomicUsize,
}

impl Balancer {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<u16, Slot>> {
        self.slots.lock().expect("no holder panics")
    }

    fn take(&self) -> Option<u16> {
        // Relaxed, here and below: counters that order nothing.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut slots = self.slots();
        let open = slots.values().filter(|slot| !slot.closed).count();
        let (number, slot) = slots
            .iter_mut()
            .filter(|(_, slot)| !slot.closed)
            .nth(turn.checked_rem(open)?)?;
        slot.held += 1;
        Some(*number)
    }

    fn request(&self, ports: &[u16]) {
        let Some(number) = self.take() else {
            return;
        };
        let name = self.named.fetch_add(1, Ordering::Relaxed);
        let finished = simulate(ports[usize::from(number)], name);
        let counter = if finished { &self.finished } else { &self.lost };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = self.slots().get_mut(&number) {
            slot.held -= 1;
        }
    }
}

struct Scene {
    balancer: Arc<Balancer>,
    ports: Arc<[u16]>,
    clients: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    handle: AutoscalerHandle,
    _prometheus: Server,
    _files: tempfile::TempDir,
}

fn prometheus(files: &tempfile::TempDir, ports: &[u16]) -> anyhow::Result<(u16, Server)> {
    let mut targets = String::new();
    for port in ports {
        write!(targets, "'127.0.0.1:{port}',")?;
    }
    let config = files.path().join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 250ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n- job_name: simulation\n  static_configs:\n  - targets: [{targets}]\n"
        ),
    )?;
    let port = port::free();
    let program = Program::new("prometheus", "prometheus");
    let server = Server::of(&program)
        .args([
            format!("--config.file={}", config.display()),
            format!(
                "--storage.tsdb.path={}",
                files.path().join("data").display()
            ),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ])
        .ready(Ready::Http {
            port,
            path: "/-/ready".into(),
        })
        .start()?;
    Ok((port, server))
}

fn processes(
    script: PathBuf,
    python: PathBuf,
    ports: Arc<[u16]>,
    balancer: &Arc<Balancer>,
    drain: bool,
) -> LocalProcesses {
    let (ready_ports, opened, closed) = (
        Arc::clone(&ports),
        Arc::clone(balancer),
        Arc::clone(balancer),
    );
    LocalProcesses::new("simulation", move |slot| {
        let mut command = Command::new(&python);
        command
            .arg(&script)
            .arg(ports[usize::from(slot)].to_string());
        command
    })
    .ready(move |instance| {
        let up = get(ready_ports[usize::from(instance.slot)], "/metrics").is_some();
        if up {
            opened.slots().entry(instance.slot).or_default().closed = false;
        }
        std::future::ready(up)
    })
    .drain(move |instance| {
        let balancer = Arc::clone(&closed);
        async move {
            if !drain {
                // The control: the instance ends while requests still come to it.
                return;
            }
            let held = move |balancer: &Balancer| {
                balancer.slots().get_mut(&instance.slot).map_or(0, |slot| {
                    slot.closed = true;
                    slot.held
                })
            };
            let empty = move || testkit::wait::until(PATIENCE, || held(&balancer) == 0);
            let waited = tokio::task::spawn_blocking(empty).await;
            assert!(waited.is_ok_and(|empty| empty), "it never was empty");
        }
    })
}

fn scene(drain: bool) -> anyhow::Result<Scene> {
    let files = tempfile::tempdir()?;
    let script = files.path().join("instance.py");
    std::fs::write(&script, INSTANCE)?;
    let python = Program::new("python3", "python3").find()?;
    let ports: Arc<[u16]> = (0..SLOTS).map(|_| port::free()).collect();
    let (at, server) = prometheus(&files, &ports)?;
    let source = Prometheus::new(&format!("http://127.0.0.1:{at}"))?
        .query("active", "sum(simulation_active)");
    let spec = Spec::builder("simulation")
        .replicas(1..=4)
        .metric(Metric::external("active").average_value(2.0))
        .scale_up(ScalingRules::default())
        .scale_down(
            ScalingRules::default()
                .stabilization_window(Duration::from_secs(2))
                .policy(Policy::pods(1, Duration::from_secs(1))),
        )
        .build()?;
    let balancer = Arc::new(Balancer::default());
    let fleet = processes(script, python, Arc::clone(&ports), &balancer, drain);
    let handle = Autoscaler::new(spec, source, fleet)
        .interval(Duration::from_millis(250))
        .run();
    let (clients, over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    for number in 0..8 {
        let (balancer, ports) = (Arc::clone(&balancer), Arc::clone(&ports));
        let (clients, over) = (Arc::clone(&clients), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if number < clients.load(Ordering::Relaxed) {
                    balancer.request(&ports);
                }
                std::thread::yield_now();
                if number >= clients.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
        });
    }
    Ok(Scene {
        balancer,
        ports,
        clients,
        over,
        handle,
        _prometheus: server,
        _files: files,
    })
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

impl Scene {
    fn instances(&self) -> usize {
        self.handle
            .status()
            .fleet
            .iter()
            .filter(|pod| pod.is_healthy())
            .count()
    }

    fn reaches(&self, instances: usize) -> bool {
        testkit::wait::until(PATIENCE, || self.instances() == instances)
    }

    fn why(&self) -> String {
        self.handle
            .latest()
            .map(|decision| decision.why())
            .unwrap_or_default()
    }

    /// Up to four under eight clients, down to two under three; returns what was lost.
    fn play(&self) -> usize {
        assert!(self.reaches(1), "the minimum: {}", self.why());
        self.clients.store(8, Ordering::Relaxed);
        assert!(self.reaches(4), "up: {}", self.why());
        self.clients.store(3, Ordering::Relaxed);
        assert!(self.reaches(2), "down: {}", self.why());
        let finished = self.balancer.finished.load(Ordering::Relaxed);
        assert!(finished > 20, "only {finished} simulations finished");
        assert_eq!(self.ports.len(), SLOTS);
        self.balancer.lost.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_by_prometheus_loses_nothing_when_it_drains_and_something_when_it_does_not()
-> anyhow::Result<()> {
    let with_drain = tokio::task::block_in_place(|| scene(true).map(|scene| scene.play()))?;
    assert_eq!(with_drain, 0, "lost although drained");

    let control = tokio::task::block_in_place(|| scene(false).map(|scene| scene.play()))?;
    assert!(
        control > 0,
        "the control must lose something, or this test cannot fail"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_cannot_say_is_a_failed_reading_and_holds_the_count() -> anyhow::Result<()>
{
    use lb_autoscale::source::{Fleet, MetricSource};

    let files = tempfile::tempdir()?;
    let (at, server) = tokio::task::block_in_place(|| prometheus(&files, &[]))?;
    let mut source = Prometheus::new(&format!("http://127.0.0.1:{at}"))?
        .query("sound", "vector(7.5)")
        .query("scalar", "scalar(vector(2))")
        .query("nan", "vector(NaN)")
        .query("nothing", "no_such_series")
        .query("nonsense", "sum(")
        .query("old", "vector(1)")
        .fresh_by("old", "vector(1000)");
    let spec = Spec::builder("simulation").build()?;
    let seen = source.observe(&spec, &Fleet::default()).await;
    let failure = |id: &str| seen[id].failure().unwrap_or_default().to_owned();
    assert_eq!(seen["sound"], lb_autoscale::Observation::value(7.5));
    assert_eq!(seen["scalar"], lb_autoscale::Observation::value(2.0));
    assert!(failure("nan").contains("NaN"));
    assert!(failure("nothing").contains("no series"));
    assert!(
        failure("nonsense").contains("400"),
        "{}",
        failure("nonsense")
    );
    assert_eq!(
        seen["old"].at,
        Some(lb_autoscale::UnixMillis::from_secs(1_000))
    );

    server.kill();
    assert!(server.wait_for_exit(PATIENCE));
    let seen = source.observe(&spec, &Fleet::default()).await;
    assert!(
        seen.values().all(|reading| reading.failure().is_some()),
        "{seen:?}"
    );
    Ok(())
}
