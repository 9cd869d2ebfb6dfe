//! One binary with every fuzz target; `FUZZ_TARGET` says which one runs.
//!
//! Each target states a law and panics where it does not hold. `./run` builds this
//! with the flags that libFuzzer needs on stable Rust and runs every target.
#![no_main]
#![cfg(fuzzing)]

mod answers;
mod chunks;
mod cookies;
mod envelope;
mod forwarded;
mod heads;
mod orca;
mod text;
mod upgrade;

use std::sync::LazyLock;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 8] = [
    ("answers", answers::run),
    ("chunks", chunks::run),
    ("cookies", cookies::run),
    ("envelope", envelope::run),
    ("forwarded", forwarded::run),
    ("heads", heads::run),
    ("orca", orca::run),
    ("upgrade", upgrade::run),
];

static CHOSEN: LazyLock<Target> = LazyLock::new(|| {
    // What the crates draw by chance must not decide where a seeded walk goes.
    fastrand::seed(1);
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.expect("FUZZ_TARGET names one of the targets").1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| CHOSEN(data));
