//! Tests that look at the workspace from the outside, and tests that need real servers.
//!
//! Not a default member: a plain `cargo test` passes on a machine without servers, `make test` runs
//! these too. Files are named after what they judge: `workspace_*`, `cache_*`, `registry_*`, …
//! This library holds what several of those files share.
//!
//! ```
//! assert!(tests::workspace_root().join("Cargo.toml").is_file());
//! assert_eq!(tests::CRATES.len(), 5);
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// The five published crates.
pub const CRATES: [&str; 5] = [
    "lb-core",
    "lb-cache",
    "lb-registry",
    "lb-autoscale",
    "lb-gpu",
];

/// The folder of the workspace.
///
/// # Panics
///
/// If this package has been moved out of `examples/`.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the package lies two folders below the root")
        .to_owned()
}

/// Runs cargo in `folder` and returns what it printed.
///
/// # Errors
///
/// If cargo cannot be started or fails; the error holds what it said.
pub fn cargo(folder: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(folder)
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "cargo {} failed:\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The examples of the project's README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

/// The recipes.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook.md")]
mod cookbook {}
