//! How much memory a process holds.
//!
//! ```
//! assert!(testkit::memory::resident_bytes(std::process::id()) > 0);
//! ```

use std::fs;

/// Bytes of memory that this process holds now, from the kernel's status file.
///
/// # Panics
///
/// If there is no such process: a test that asks has lost it.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = kilobytes.and_then(|words| words.split_whitespace().next());
    let number = words.and_then(|word| word.parse::<u64>().ok());
    number.expect("the kernel tells it in kB") * 1024
}
