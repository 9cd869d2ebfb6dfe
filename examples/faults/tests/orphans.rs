//! Nothing outlives a run, however it ends.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Processes start and end in less.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with the test.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Process ids by state letter and parent, as `/proc` has them now.
fn processes() -> impl Iterator<Item = (u32, char, u32)> {
    let all = std::fs::read_dir("/proc").expect("a proc file system");
    all.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let state = words.next()?.chars().next()?;
        Some((pid, state, words.next()?.parse().ok()?))
    })
}

fn children_of(parent: u32) -> Vec<u32> {
    let alive = |state: &char| !"ZX".contains(*state);
    let mine = processes().filter(|(_, state, of)| *of == parent && alive(state));
    mine.map(|(pid, ..)| pid).collect()
}

fn lives(pid: u32) -> bool {
    processes().any(|(one, state, _)| one == pid && !"ZX".contains(state))
}

/// Whether `condition` comes to hold in time.
fn until(mut condition: impl FnMut() -> bool) -> bool {
    testkit::wait::until(PATIENCE, &mut condition)
}

#[test]
fn a_run_that_is_killed_takes_its_origins_and_its_gateway_along() {
    let run = Command::new(env!("CARGO_BIN_EXE_faults"))
        .args(["run", "--quick", "--only", "2"])
        .stdout(Stdio::null())
        .spawn();
    let mut run = Run(run.expect("the binary of this package starts"));
    let mut children = Vec::new();
    // Four origins and their gateway.
    assert!(until(|| {
        children = children_of(run.0.id());
        children.len() >= 5
    }));
    run.0.kill().expect("it runs");
    run.0.wait().expect("it was killed");
    let gone = until(|| !children.iter().any(|pid| lives(*pid)));
    for left in children.iter().filter(|pid| lives(**pid)) {
        let pid = Pid::from_raw(i32::try_from(*left).expect("a process id"));
        let _ = kill_process(pid.expect("not zero"), Signal::KILL);
    }
    assert!(gone);
}
