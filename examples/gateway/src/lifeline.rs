//! Children that cannot outlive this process, however it ends.
//!
//! Every child gets the reading end of one pipe as its standard input. Only this process holds
//! the writing end, and nobody ever writes: when this process is gone, even by `kill -9`, the
//! kernel closes the pipe, and each child reads the end of its input and leaves.

use std::io::{PipeReader, PipeWriter, Read as _};
use std::process::Stdio;

/// Holds the children's lives; dropping it tells them to leave.
#[derive(Debug)]
pub struct Lifeline {
    reader: PipeReader,
    _writer: PipeWriter,
}

impl Lifeline {
    /// A new pipe.
    ///
    /// # Errors
    ///
    /// The system's, if it has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self {
            reader,
            _writer: writer,
        })
    }

    /// The standard input of one child.
    ///
    /// # Errors
    ///
    /// As [`Lifeline::new`].
    pub fn stdin(&self) -> std::io::Result<Stdio> {
        Ok(self.reader.try_clone()?.into())
    }
}

/// In the child: ends the process once standard input has ended.
pub fn leave_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while stdin.read(&mut nothing).is_ok_and(|read| read > 0) {}
        std::process::exit(1);
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_that_reads_its_input_ends_with_the_lifeline_and_not_before() {
        let lifeline = Lifeline::new().unwrap();
        let mut cat = Command::new("cat")
            .stdin(lifeline.stdin().unwrap())
            .spawn()
            .unwrap();
        assert!(cat.try_wait().unwrap().is_none());
        drop(lifeline);
        assert!(cat.wait().unwrap().success());
    }
}
