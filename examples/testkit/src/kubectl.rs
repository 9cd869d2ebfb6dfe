//! A kubectl 1.32, the one of Debian 13, pointed at an API server of the test's own.
//!
//! ```no_run
//! let kubectl = testkit::kubectl::Kubectl::new("https://127.0.0.1:6443", "token", "ca.crt".as_ref())?;
//! println!("{}", kubectl.run(&["get", "endpointslices"])?);
//! # Ok::<(), testkit::StartError>(())
//! ```

use std::path::Path;

use crate::clients::output;
use crate::debian::Package;
use crate::{Program, StartError};

const PACKAGE: Package = Package {
    suite: "trixie",
    name: "kubectl",
    version: "1.32.3+ds-2",
    sha256: "9825aaf4c14913027aae04af8688e580459f781c829bd5de00cc4dc2cc5a867f",
};

/// A kubectl with a configuration.
#[derive(Debug)]
pub struct Kubectl {
    program: std::path::PathBuf,
    folder: tempfile::TempDir,
}

impl Kubectl {
    /// Shows this token to this server, whose certificate was signed by that authority.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; a package that cannot be fetched is reported as such.
    pub fn new(server: &str, token: &str, authority: &Path) -> Result<Self, StartError> {
        let program = Program::new("kubectl", "kubernetes-client")
            .in_folder(PACKAGE.unpacked()?.join("usr/bin"))
            .find()?;
        let folder = tempfile::tempdir()?;
        let authority = authority.display();
        let configuration = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: \"{server}\", certificate-authority: \"{authority}\"}}}}]\n\
             users: [{{name: test, user: {{token: \"{token}\"}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n"
        );
        std::fs::write(folder.path().join("config"), configuration)?;
        Ok(Self { program, folder })
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`StartError`] with its output, if it fails.
    pub fn run(&self, words: &[&str]) -> Result<String, StartError> {
        let mut command = std::process::Command::new(&self.program);
        command
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("config"));
        output(command.args(words))
    }
}
