//! What each process writes down about every request, one JSON object a line.
//!
//! Origins write each line with one system call, so that what was written before a
//! `kill -9` is there after it. The judge reads nothing but these files.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What an origin saw.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Seen {
    /// A whole request arrived: from here on the origin acts upon it.
    Executed {
        id: String,
        method: String,
        at: u64,
        bytes: usize,
    },
    /// Its answer was written to the end.
    Answered { id: String, at: u64 },
}

/// How a request ended for the client.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// A complete message with the right content.
    Whole,
    /// HTTP says complete, but the content is cut or foreign.
    Corrupt,
    /// The connection broke after the head: the client knows that it is cut.
    Aborted,
    /// No answer at all.
    Failed,
    /// Given up after the client's own time.
    TimedOut,
}

/// One request of the client.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) method: String,
    /// When it was meant to be sent, in microseconds since 1970.
    pub(crate) at: u64,
    /// From then to its end, in microseconds.
    pub(crate) took: u64,
    /// 0: none came.
    pub(crate) status: u16,
    pub(crate) end: End,
    /// Who answered, if an origin did.
    pub(crate) origin: Option<String>,
    /// The answer said when to come back.
    pub(crate) retry_after: bool,
}

impl Sent {
    /// A whole answer of 2xx.
    pub(crate) fn is_good(&self) -> bool {
        self.end == End::Whole && (200..300).contains(&self.status)
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.method != "POST"
    }

    pub(crate) fn done(&self) -> u64 {
        self.at + self.took
    }
}

/// A ledger that outlives its process.
#[derive(Debug)]
pub(crate) struct Journal(Mutex<File>);

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(Mutex::new(
            file.with_context(|| format!("{}", path.display()))?,
        )))
    }

    pub(crate) fn write(&self, line: &Seen) {
        let mut text = serde_json::to_vec(line).expect("invariant: a plain value becomes JSON");
        text.push(b'\n');
        let mut file = self
            .0
            .lock()
            .expect("invariant: nobody panics while writing");
        if let Err(error) = file.write_all(&text) {
            eprintln!("the ledger cannot be written: {error}");
            std::process::abort();
        }
    }
}

pub(crate) fn write_all<T: Serialize>(path: &Path, lines: &[T]) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

/// All whole lines; the last one may be cut when its process was killed.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    let lines: Vec<_> = BufReader::new(file).lines().collect::<Result<_, _>>()?;
    let last = lines.len().saturating_sub(1);
    let parse = |(at, line): (usize, &String)| match serde_json::from_str(line) {
        Ok(value) => Some(Ok(value)),
        Err(_) if at == last => None,
        Err(error) => Some(Err(error.into())),
    };
    lines.iter().enumerate().filter_map(parse).collect()
}
