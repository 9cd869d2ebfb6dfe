//! Programs that tests need, and the command that installs each.
//!
//! ```
//! use testkit::Program;
//!
//! let missing = Program::new("no-such-server", "no-such-package").find().unwrap_err();
//! assert!(missing.to_string().contains("apt-get install"));
//! ```

use std::path::PathBuf;

/// Where Debian puts programs that are not on every PATH.
const EXTRA_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A program and how one gets it.
#[derive(Clone, Debug)]
pub struct Program {
    name: String,
    install: String,
    folders: Vec<PathBuf>,
}

/// The program is not on this machine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{name} is not installed; install it with: {install}")]
pub struct MissingProgram {
    /// The program's name.
    pub name: String,
    /// The one command that installs it.
    pub install: String,
}

impl Program {
    /// A program that a Debian package brings.
    #[must_use]
    pub fn new(name: &str, debian_package: &str) -> Self {
        Self::installed_by(
            name,
            &format!("apt-get install -y --no-install-recommends {debian_package}"),
        )
    }

    /// A program that another command installs.
    #[must_use]
    pub fn installed_by(name: &str, command: &str) -> Self {
        Self {
            name: name.into(),
            install: command.into(),
            folders: Vec::new(),
        }
    }

    /// Looks in this folder too, before PATH.
    #[must_use]
    pub fn in_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// The program's path.
    ///
    /// # Errors
    ///
    /// [`MissingProgram`] with the command that installs it.
    pub fn find(&self) -> Result<PathBuf, MissingProgram> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.folders
            .iter()
            .cloned()
            .chain(std::env::split_paths(&path))
            .chain(EXTRA_FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join(&self.name))
            .find(|candidate| candidate.is_file())
            .ok_or_else(|| MissingProgram {
                name: self.name.clone(),
                install: self.install.clone(),
            })
    }
}
