//! A thousand re-initialisations, alone in a process so that growth is ours.

use std::ops::ControlFlow;

use fake_nvml::FakeNvml;
use lb_gpu::NvmlProbe;
use lb_gpu::probe::Probe;

const ROUNDS: usize = 1_000;
const WARM_UP: usize = 100;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("Linux lists open files")
        .count()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux counts pages");
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is resident pages") * 4_096
}

#[test]
fn a_thousand_reinitialisations_leak_neither_files_nor_memory_nor_references() {
    let fake = FakeNvml::install();
    let mut probe = NvmlProbe::at(fake.path());
    let mut after_warm_up = None;
    for round in 0..ROUNDS {
        if round == WARM_UP {
            after_warm_up = Some((open_files(), resident_bytes()));
        }
        let mut looks = 0;
        probe
            .watch(&mut |reading| {
                looks += reading.devices.len();
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!((looks, fake.refcount()), (1, 0));
    }
    let (files, bytes) = after_warm_up.unwrap();
    assert_eq!(open_files(), files);
    let growth = resident_bytes().saturating_sub(bytes);
    assert!(
        growth < 1 << 20,
        "{growth} bytes more than after {WARM_UP} rounds"
    );
}
