//! The GPU exporter's text, judged by Prometheus' own linter.

use std::io::Write;
use std::process::{Command, Stdio};

use fake_nvml::FakeNvml;
use lb_gpu::exporter::Exporter;
use lb_gpu::{FakeProbe, GpuSnapshot, NvmlProbe, Sampler, probe::AbsentReason};

/// What `promtool check metrics` says: its complaints, or nothing.
fn lint(text: &str) -> Result<(), String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: apt-get install -y --no-install-recommends prometheus");
    let mut input = promtool.stdin.take().expect("stdin is a pipe");
    input.write_all(text.as_bytes()).expect("promtool reads");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() && said.is_empty() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&said).into_owned())
}

fn render(snapshot: &GpuSnapshot) -> String {
    let now = snapshot.taken_at.unwrap_or_else(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "any time will do without a sample"
        )]
        std::time::Instant::now()
    });
    Exporter::default().processes(true).render(snapshot, now)
}

#[tokio::test]
async fn everything_that_a_driver_can_tell_passes_promtool() {
    let fake = FakeNvml::install();
    fake.apply(
        "devices 3\n process GPU-0 101 1073741824\n xid GPU-0 31\n mig GPU-2 7 0 1
         set GPU-0 busy 50\n set GPU-0 throttle 68\n field GPU-0 82 70\n field GPU-0 142 1
         field GPU-0 143 0\n field GPU-0 144 0\n field GPU-0 145 0\n field GPU-0 230 0
         field GPU-0 94 5\n field GPU-0 197 10\n field GPU-0 198 20\n field GPU-0 38 1",
    );
    let sampler = Sampler::start(NvmlProbe::at(fake.path()));
    let snapshot = sampler.ready().await;
    let text = render(&snapshot);
    for family in [
        "busy_seconds_total",
        "pcie_sent_bytes_total",
        "mig_parent=\"GPU-2\"",
        "pid=",
    ] {
        assert!(text.contains(family), "{family} is missing:\n{text}");
    }
    assert_eq!(lint(&text), Ok(()));
}

#[tokio::test]
async fn a_machine_without_a_gpu_passes_promtool() {
    let sampler = Sampler::start(FakeProbe::absent(AbsentReason::NoLibrary));
    let snapshot = sampler.ready().await;
    let text = render(&snapshot);
    assert!(text.contains("lb_gpu_available 0\n"));
    assert_eq!(lint(&text), Ok(()));
}

/// They are somebody else's names: promtool reads them, and has two things to say.
#[tokio::test]
async fn the_names_of_dcgm_exporter_parse_and_break_only_the_rules_that_it_breaks() {
    let fake = FakeNvml::install();
    let sampler = Sampler::start(NvmlProbe::at(fake.path()));
    let snapshot = sampler.ready().await;
    let now = snapshot.taken_at.expect("a reading came");
    let text = Exporter::default().dcgm_names(true).render(&snapshot, now);
    assert!(text.contains("DCGM_FI_DEV_FB_FREE{gpu=\"0\",UUID=\"GPU-0\""));
    let complaints = lint(&text).expect_err("`modelName`, and a counter without `_total`");
    for line in complaints.lines() {
        let known = line.ends_with("not 'camelCase'") || line.ends_with("\"_total\" suffix");
        assert!(line.starts_with("DCGM_FI_DEV_") && known, "{line}");
    }
}

#[test]
fn the_linter_finds_what_is_wrong() {
    assert!(
        lint("# TYPE x counter\nx 1\n").is_err(),
        "a counter without _total and without help"
    );
    assert!(lint("x{ 1\n").is_err(), "not the format at all");
}
