//! Lines out of pieces of a stream, each of bounded length.

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

/// A line is longer than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// Takes in a piece and gives out the lines that are whole now. An empty line is none.
    pub(crate) fn push(&mut self, piece: &[u8], most: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut whole = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > most {
                return Err(TooLong);
            }
            self.rest.extend_from_slice(part);
            if self.rest.ends_with(b"\n") {
                let line = std::mem::take(&mut self.rest);
                let line = line.trim_ascii();
                if !line.is_empty() {
                    whole.push(line.to_vec());
                }
            }
        }
        Ok(whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a stream is cut, its lines are the same.
        #[test]
        fn the_cuts_do_not_matter(lines in prop::collection::vec("[a-z]{1,9}", 0..9), cut in 1usize..7) {
            let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut reader = Lines::default();
            let mut found = Vec::new();
            for piece in stream.as_bytes().chunks(cut) {
                found.extend(reader.push(piece, 100).unwrap());
            }
            let found: Vec<String> = found.into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
            prop_assert_eq!(found, lines);
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        assert_eq!(Lines::default().push(&[b'x'; 101], 100), Err(TooLong));
    }
}
