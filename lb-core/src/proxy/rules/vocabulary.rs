//! The names of an answer's fields, and what each means to a proxy.
//!
//! To read a name (its bytes, its case, whether it is a well-known one, what it
//! means) costs several times as much as to compare it. The answers of an
//! application have the same names in the same order, so each place of a head
//! remembers the name that stood there last, as it was spelt.

use http::header::{self, HeaderName};

use super::names::is_hop_by_hop;
use crate::report;

/// Places that are remembered; names further down are read each time.
const PLACES: usize = 32;
/// A longer name is read each time.
const LONGEST: usize = 40;

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

/// Names by place.
#[derive(Debug, Default)]
pub(crate) struct Vocabulary {
    words: Vec<Option<Word>>,
}

#[derive(Debug)]
struct Word {
    spelling: [u8; LONGEST],
    length: usize,
    name: HeaderName,
    meaning: Meaning,
}

impl Vocabulary {
    pub(crate) const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The name that is spelt like this at this place of a head; `None` when it
    /// is no name.
    pub(crate) fn read(&mut self, place: usize, spelling: &[u8]) -> Option<(HeaderName, Meaning)> {
        if let Some(Some(word)) = self.words.get(place)
            && word.spelling[..word.length] == *spelling
        {
            return Some((word.name.clone(), word.meaning));
        }
        self.learn(place, spelling)
    }

    #[cold]
    fn learn(&mut self, place: usize, spelling: &[u8]) -> Option<(HeaderName, Meaning)> {
        let name = HeaderName::from_bytes(spelling).ok()?;
        let meaning = Meaning::of(&name);
        if place < PLACES && spelling.len() <= LONGEST {
            let mut word = Word {
                spelling: [0; LONGEST],
                length: spelling.len(),
                name: name.clone(),
                meaning,
            };
            word.spelling[..spelling.len()].copy_from_slice(spelling);
            if self.words.len() <= place {
                self.words.resize_with(place + 1, || None);
            }
            self.words[place] = Some(word);
        }
        Some((name, meaning))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_means_the_same_however_it_is_spelt() {
        let mut vocabulary = Vocabulary::new();
        for spelling in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
            let (name, meaning) = vocabulary.read(0, spelling.as_bytes()).unwrap();
            assert_eq!(
                (name, meaning),
                (header::CONTENT_LENGTH, Meaning::ContentLength)
            );
        }
        assert_eq!(vocabulary.read(0, b"Upgrade").unwrap().1, Meaning::Hop);
        assert_eq!(vocabulary.read(0, b"X-Any").unwrap().1, Meaning::Plain);
    }

    proptest! {
        /// What was read before never changes what is read now.
        #[test]
        fn memory_makes_no_difference(
            heads in prop::collection::vec(prop::collection::vec(
                "(content-length|Connection|TE|[a-zA-Z]{0,3}|[a-z ]{2}|[a-z]{39,42})", 0..40), 1..6),
        ) {
            let mut vocabulary = Vocabulary::new();
            for head in &heads {
                for (place, spelling) in head.iter().enumerate() {
                    let fresh = Vocabulary::new().read(place, spelling.as_bytes());
                    prop_assert_eq!(vocabulary.read(place, spelling.as_bytes()), fresh, "{}", spelling);
                }
                prop_assert!(vocabulary.words.len() <= PLACES);
            }
        }
    }
}
