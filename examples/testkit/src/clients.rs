//! Other people's clients, installed once into the [cache](crate::cache) from their package registries.
//!
//! ```no_run
//! let python = testkit::clients::python("consul", &["requests==2.32.5"])?;
//! let output = testkit::clients::output(std::process::Command::new(python).args(["-c", "print(1)"]))?;
//! assert_eq!(output.trim(), "1");
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::PathBuf;
use std::process::Command;

use crate::cache::{kept, run};
use crate::{Program, StartError};

/// A Python with these packages, under a name of its own.
///
/// # Errors
///
/// [`StartError`], with what pip printed.
pub fn python(name: &str, packages: &[&str]) -> Result<PathBuf, StartError> {
    let python = Program::new("python3", "python3").find()?;
    let folder = kept(&format!("python-{name}"), |folder| {
        let target = folder.join("packages");
        let mut pip = Command::new(&python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
        ]);
        run(pip.arg(target).args(packages)).map(drop)
    })?;
    // A virtual environment cannot be moved into place; a folder of packages and a small wrapper can.
    let wrapper = folder.join("python");
    if !wrapper.exists() {
        let script = format!(
            "#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n",
            folder.join("packages").display(),
            python.display()
        );
        std::fs::write(&wrapper, script)?;
        run(Command::new("chmod").arg("+x").arg(&wrapper))?;
    }
    Ok(wrapper)
}

/// A folder in which Node finds these packages, under a name of its own.
///
/// # Errors
///
/// [`StartError`], with what npm printed.
pub fn node(name: &str, packages: &[&str]) -> Result<PathBuf, StartError> {
    let npm = Program::new("npm", "npm").find()?;
    kept(&format!("node-{name}"), |folder| {
        let mut npm = Command::new(npm);
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder);
        run(npm.args(packages)).map(drop)
    })
}

/// What a program prints, run to its end.
///
/// # Errors
///
/// [`StartError`] with its output, if it fails.
pub fn output(command: &mut Command) -> Result<String, StartError> {
    run(command)
}
