//! Packages of another Debian release than the machine's: older ones that later releases no longer have, or have with
//! less in them, and newer ones.
//!
//! A package is fetched through a private package list on the machine's own mirror, checked against its SHA-256, and
//! unpacked into the [cache](crate::cache). Nothing is installed, and the machine's own lists stay as they are.
//!
//! ```no_run
//! use testkit::debian::Package;
//!
//! let package = Package { suite: "bullseye", name: "hello", version: "2.10-2", sha256: "..." };
//! println!("{}", package.unpacked()?.display());
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::StartError;
use crate::cache::{has_checksum, kept, run};

/// One version of one package.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The release that has it.
    pub suite: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Checksum of the package file, in hexadecimal.
    pub sha256: &'static str,
}

impl Package {
    /// The folder that it is unpacked in, fetched if need be.
    ///
    /// # Errors
    ///
    /// [`StartError`], which says that the package could not be fetched, and why.
    pub fn unpacked(&self) -> Result<PathBuf, StartError> {
        kept(&format!("{}-{}", self.name, self.version), |folder| {
            self.fetch(folder)?;
            let package = self.file_in(folder)?;
            if !has_checksum(&package, self.sha256)? {
                return Err(self.not_fetched("it is not the expected one".into()));
            }
            run(Command::new("dpkg").arg("-x").arg(&package).arg(folder)).map(drop)
        })
    }

    fn fetch(&self, folder: &Path) -> Result<(), StartError> {
        let uris = run(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))?;
        let mirror = uris
            .lines()
            .find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
        let mirror =
            mirror.ok_or_else(|| self.not_fetched("this machine knows no Debian mirror".into()))?;
        // What is fetched is checked by its SHA-256, whatever the list says.
        let list = folder.join("sources.list");
        std::fs::write(
            &list,
            format!("deb [trusted=yes] {mirror} {} main\n", self.suite),
        )?;
        for part in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        self.apt(folder, &["update"])?;
        self.apt(
            folder,
            &["download", &format!("{}={}", self.name, self.version)],
        )?;
        // The lists are large and have served their purpose.
        std::fs::remove_dir_all(folder.join("lists"))?;
        Ok(())
    }

    /// Runs apt-get on lists of its own.
    fn apt(&self, folder: &Path, words: &[&str]) -> Result<(), StartError> {
        let option =
            |name: &str, path: &str| format!("Dir::{name}={}", folder.join(path).display());
        let mut command = Command::new("apt-get");
        for option in [
            option("Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            option("State::lists", "lists"),
            option("Cache", ""),
            "APT::Sandbox::User=root".into(),
        ] {
            command.arg("-o").arg(option);
        }
        let done = run(command.args(words).current_dir(folder));
        done.map(drop)
            .map_err(|error| self.not_fetched(error.to_string()))
    }

    fn file_in(&self, folder: &Path) -> Result<PathBuf, StartError> {
        let mut files = std::fs::read_dir(folder)?
            .filter_map(Result::ok)
            .map(|entry| entry.path());
        let package = files.find(|path| path.extension().is_some_and(|end| end == "deb"));
        package.ok_or_else(|| self.not_fetched("apt-get downloaded nothing".into()))
    }

    fn not_fetched(&self, log: String) -> StartError {
        StartError::NotReady {
            program: format!("{} {} from Debian {}", self.name, self.version, self.suite),
            why: "the package could not be fetched",
            log,
        }
    }
}
