//! The lines of answers' heads that are known already.
//!
//! Endpoints say the same things in the same order, so each place of a head
//! remembers the line that stood there last, as it was spelt: its name with its
//! meaning, and its value. A line that is spelt the same is not read again; of a
//! line with another value only that is read. Everything else is the parser's.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use super::names::is_hop_by_hop;
use crate::report;

/// Places that are remembered; lines further down are read each time.
const PLACES: usize = 32;
/// A longer line is read each time.
const LONGEST: usize = 160;
/// First lines that are remembered.
const STARTS: usize = 8;
/// A new value is remembered when it was new this often: to remember costs a copy, and
/// some values are never the same.
const PATIENCE: u8 = 8;

/// What a field of an answer is to the one who forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing but a field for the client.
    Plain,
    ContentLength,
    TransferEncoding,
    Connection,
    /// Another field of this hop.
    Hop,
    /// What the endpoint says about its load.
    Report,
}

impl Meaning {
    pub(crate) fn of(name: &HeaderName) -> Self {
        if *name == header::CONTENT_LENGTH {
            Self::ContentLength
        } else if *name == header::TRANSFER_ENCODING {
            Self::TransferEncoding
        } else if *name == header::CONNECTION {
            Self::Connection
        } else if is_hop_by_hop(name.as_str()) {
            Self::Hop
        } else if report::is_report(name) {
            Self::Report
        } else {
            Self::Plain
        }
    }
}

/// What the first line of an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) status: StatusCode,
    /// The version is 1.1.
    pub(crate) current: bool,
}

/// Lines by place. It holds nothing but what the parser has accepted, or would have:
/// names are the parser's, values are judged as it does.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    starts: Vec<(Box<[u8]>, Start)>,
    /// The first line that is forgotten for a new one.
    oldest: usize,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The name with its colon and, if there is a value, the rest of the line.
    spelling: Box<[u8]>,
    /// The name with its colon.
    name_length: usize,
    name: HeaderName,
    meaning: Meaning,
    /// `None` for one that is too long to be remembered, or empty.
    value: Option<HeaderValue>,
    /// How often another value came since.
    misses: u8,
}

impl Vocabulary {
    pub(crate) const fn new() -> Self {
        Self {
            starts: Vec::new(),
            oldest: 0,
            lines: Vec::new(),
        }
    }

    /// Reads the head at the start of `bytes` and hands its fields to `take`, in their
    /// order. `None` when there is anything in it that is not known, or that `take`
    /// refuses: then the parser decides, and what was taken is void.
    pub(crate) fn recall(
        &mut self,
        bytes: &Bytes,
        mut take: impl FnMut(&HeaderName, Meaning, HeaderValue) -> Option<()>,
    ) -> Option<(Start, usize)> {
        let (mut at, start) = self.recall_start(bytes)?;
        for line in &mut self.lines {
            let rest = bytes.get(at..)?;
            if rest.starts_with(b"\r\n") {
                break;
            }
            let (value, length) = line.recall(bytes, at, rest)?;
            take(&line.name, line.meaning, value)?;
            at += length;
        }
        let ended = bytes.get(at..)?.starts_with(b"\r\n");
        ended.then_some((start, at + 2))
    }

    fn recall_start(&self, bytes: &[u8]) -> Option<(usize, Start)> {
        let mut starts = self.starts.iter();
        let (spelling, start) = starts.find(|(spelling, _)| bytes.starts_with(spelling))?;
        Some((spelling.len(), *start))
    }

    /// Remembers the first line of a head that says this.
    pub(crate) fn learn_start(&mut self, bytes: &[u8], start: Start) {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let line = end.map_or(&[][..], |end| &bytes[..=end]);
        let whole = line.starts_with(b"HTTP/1.") && line.ends_with(b"\r\n");
        if !whole || line.len() > LONGEST || self.recall_start(line).is_some() {
            return;
        }
        let known = (line.into(), start);
        if self.starts.len() < STARTS {
            self.starts.push(known);
        } else {
            self.starts[self.oldest] = known;
            self.oldest = (self.oldest + 1) % STARTS;
        }
    }

    /// The name that is spelt like this at this place of a head, and what it means;
    /// `None` when it is no name. Remembers the line, if that is a line in the usual form.
    pub(crate) fn read(
        &mut self,
        place: usize,
        spelling: &[u8],
        value: &[u8],
    ) -> Option<(HeaderName, Meaning)> {
        if let Some(line) = self.lines.get(place)
            && line.has_name(spelling)
        {
            return Some((line.name.clone(), line.meaning));
        }
        self.learn(place, spelling, value)
    }

    #[cold]
    fn learn(
        &mut self,
        place: usize,
        spelling: &[u8],
        value: &[u8],
    ) -> Option<(HeaderName, Meaning)> {
        let name = HeaderName::from_bytes(spelling).ok()?;
        let meaning = Meaning::of(&name);
        if spelling.len() > LONGEST {
            // What stands below would never be reached.
            self.lines.truncate(place);
        } else if place < PLACES && place <= self.lines.len() {
            let line = Line::new(spelling, value, name.clone(), meaning);
            match self.lines.get_mut(place) {
                Some(known) => *known = line,
                None => self.lines.push(line),
            }
        }
        Some((name, meaning))
    }
}

impl Line {
    fn new(spelling: &[u8], value: &[u8], name: HeaderName, meaning: Meaning) -> Self {
        let mut line = Self {
            spelling: [spelling, b":"].concat().into(),
            name_length: spelling.len() + 1,
            name,
            meaning,
            value: None,
            misses: 0,
        };
        line.replace(value);
        line
    }

    fn has_name(&self, spelling: &[u8]) -> bool {
        self.spelling[..self.name_length - 1] == *spelling
    }

    /// The value of the line that `rest`, which is `bytes` from `at` on, begins with, and
    /// the length of that line.
    fn recall(&mut self, bytes: &Bytes, at: usize, rest: &[u8]) -> Option<(HeaderValue, usize)> {
        if let Some(value) = &self.value
            && rest.starts_with(&self.spelling)
        {
            return Some((value.clone(), self.spelling.len()));
        }
        // Another value of the same name: one space before it, none behind.
        let text = rest.strip_prefix(&self.spelling[..self.name_length])?;
        let end = text.iter().position(|byte| *byte == b'\r')?;
        let value = text[..end].strip_prefix(b" ")?;
        let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b' ' | b'\t'));
        if is_blank(value.first()) || is_blank(value.last()) || text.get(end + 1) != Some(&b'\n') {
            return None;
        }
        let length = self.name_length + end + 2;
        let from = at + self.name_length + 1;
        let shared = bytes.slice(from..from + value.len());
        let shared = HeaderValue::from_maybe_shared(shared).ok()?;
        self.misses += 1;
        if self.misses >= PATIENCE {
            self.replace(value);
        }
        Some((shared, length))
    }

    /// Remembers this value, unless it is too long or empty.
    #[cold]
    fn replace(&mut self, value: &[u8]) {
        self.misses = 0;
        let name = &self.spelling[..self.name_length];
        if value.is_empty() || name.len() + value.len() > LONGEST {
            return;
        }
        self.spelling = [name, b" ", value, b"\r\n"].concat().into();
        self.value = HeaderValue::from_bytes(value).ok();
    }
}

#[cfg(test)]
#[path = "vocabulary_tests.rs"]
mod tests;
