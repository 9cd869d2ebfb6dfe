//! Things that tests fetch once and keep outside the repository: `$TESTKIT_CACHE`, or `~/.cache/lb-testkit`.
//!
//! ```
//! let folder = testkit::cache::folder();
//! assert!(folder.is_absolute());
//! ```

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::StartError;

/// Where fetched things are kept.
#[must_use]
pub fn folder() -> PathBuf {
    let variable = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    variable("TESTKIT_CACHE")
        .or_else(|| Some(variable("HOME")?.join(".cache/lb-testkit")))
        .unwrap_or_else(|| std::env::temp_dir().join("lb-testkit"))
}

/// The folder `name` in the cache, filled by `fill` if it is not there. It appears whole or not at all.
///
/// # Errors
///
/// What `fill` reports, and what the file system does.
pub fn kept(
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), StartError>,
) -> Result<PathBuf, StartError> {
    let target = folder().join(name);
    if target.exists() {
        return Ok(target);
    }
    std::fs::create_dir_all(folder())?;
    let fresh = tempfile::tempdir_in(folder())?;
    fill(fresh.path())?;
    // Another process may have been faster; then its copy is as good as this one.
    match std::fs::rename(fresh.path(), &target) {
        Ok(()) => drop(fresh.keep()),
        Err(_) if target.exists() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(target)
}

/// Runs a program to its end.
///
/// # Errors
///
/// With what it printed, if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, StartError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let log = text + &String::from_utf8_lossy(&output.stderr);
    Err(StartError::NotReady {
        program,
        why: "it failed",
        log,
    })
}

/// `true` if the file's SHA-256 is this one, in hexadecimal.
pub(crate) fn has_checksum(file: &Path, sha256: &str) -> Result<bool, StartError> {
    let text = run(Command::new("sha256sum").arg(file))?;
    let found = text.split_whitespace().next();
    found
        .map(|found| found == sha256)
        .ok_or_else(|| Error::from(ErrorKind::InvalidData).into())
}
