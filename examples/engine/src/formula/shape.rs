//! Looks at the order of the words of a formula before `exmex` reads it, and
//! refuses what `exmex` would read otherwise than a mathematician.

use super::FormulaError;
use super::operators::{is_function, is_taken, takes_two};

/// Brackets this deep are a mistake or an attack.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Word<'a> {
    Number(&'a str),
    Name(&'a str),
    Operator(char),
    Open,
    Close,
    Comma,
}

/// The formula as `exmex` is to read it.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub(super) fn check(text: &str) -> Result<String, FormulaError> {
    let words = words(text)?;
    if words.is_empty() {
        return Err(FormulaError::Empty);
    }
    check_brackets(&words)?;
    check_commas(&words)?;
    check_neighbours(&words)?;
    for (index, word) in words.iter().enumerate() {
        match word {
            Word::Name(name) if is_function(name) && words.get(index + 1) != Some(&Word::Open) => {
                return Err(FormulaError::FunctionWithoutBrackets((*name).to_owned()));
            }
            Word::Operator('+' | '-') if is_sign(&words, index) && is_power(&words, index) => {
                return Err(FormulaError::SignBeforePower);
            }
            Word::Operator('^') if is_power(&words, index) => {
                return Err(FormulaError::ChainedPower);
            }
            _ => {}
        }
    }
    Ok(words.iter().map(Word::for_parser).collect())
}

impl Word<'_> {
    /// Inputs go in braces: without them `exmex` reads `minimum` as `min` and `imum`.
    fn for_parser(&self) -> String {
        match self {
            Self::Name(name) if !is_taken(name) => format!("{{{name}}}"),
            Self::Name(text) | Self::Number(text) => format!("{text} "),
            Self::Operator(operator) => operator.to_string(),
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Comma => ",".to_owned(),
        }
    }
}

fn words(text: &str) -> Result<Vec<Word<'_>>, FormulaError> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (word, length) = match first {
            ' ' => (None, 1),
            '(' => (Some(Word::Open), 1),
            ')' => (Some(Word::Close), 1),
            ',' => (Some(Word::Comma), 1),
            '+' | '-' | '*' | '/' | '^' => (Some(Word::Operator(first)), 1),
            'a'..='z' | 'A'..='Z' => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                (Some(Word::Name(name)), name.len())
            }
            '0'..='9' | '.' => {
                let number = &rest[..number_length(rest)];
                (Some(Word::Number(number)), number.len())
            }
            other => return Err(FormulaError::Character(other)),
        };
        words.extend(word);
        rest = &rest[length..];
    }
    Ok(words)
}

/// Digits and points, then perhaps an exponent.
fn number_length(text: &str) -> usize {
    let digits = |from: &str| {
        from.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(from.len())
    };
    let mantissa = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let Some(exponent) = text[mantissa..].strip_prefix(['e', 'E']) else {
        return mantissa;
    };
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    match digits(unsigned) {
        0 => mantissa,
        length => mantissa + 1 + (exponent.len() - unsigned.len()) + length,
    }
}

fn check_brackets(words: &[Word<'_>]) -> Result<(), FormulaError> {
    let mut depth = 0_usize;
    for word in words {
        depth = match word {
            Word::Open => depth + 1,
            Word::Close => depth.checked_sub(1).ok_or(FormulaError::Brackets)?,
            _ => depth,
        };
        if depth > MAX_DEPTH {
            return Err(FormulaError::Brackets);
        }
    }
    if depth == 0 {
        Ok(())
    } else {
        Err(FormulaError::Brackets)
    }
}

/// One comma in each `min(` and `max(`, and none elsewhere: `exmex` reads `-(1, 2)` as `1 - 2`.
/// Brackets have been checked.
fn check_commas(words: &[Word<'_>]) -> Result<(), FormulaError> {
    // Commas that each open bracket still has to have.
    let mut wanted: Vec<usize> = Vec::new();
    let mut before = None;
    for word in words {
        match word {
            Word::Open => {
                let two = matches!(before, Some(Word::Name(name)) if takes_two(name));
                wanted.push(usize::from(two));
            }
            Word::Close if wanted.pop() != Some(0) => return Err(argument_count()),
            Word::Comma => match wanted.last_mut() {
                Some(left @ 1) => *left = 0,
                _ => return Err(argument_count()),
            },
            _ => {}
        }
        before = Some(*word);
    }
    Ok(())
}

fn argument_count() -> FormulaError {
    FormulaError::Syntax("min and max have two arguments, everything else has one".to_owned())
}

/// Between two values stands an operator: `exmex` takes `(2)(3)` and `1 max (2)`.
fn check_neighbours(words: &[Word<'_>]) -> Result<(), FormulaError> {
    for pair in words.windows(2) {
        let ends = match pair[0] {
            Word::Number(_) | Word::Close => true,
            Word::Name(name) => !is_function(name),
            _ => false,
        };
        if ends && matches!(pair[1], Word::Number(_) | Word::Name(_) | Word::Open) {
            let missing = "an operator is missing between two values";
            return Err(FormulaError::Syntax(missing.to_owned()));
        }
    }
    Ok(())
}

/// Whether the `+` or `-` at `index` belongs to what follows alone.
fn is_sign(words: &[Word<'_>], index: usize) -> bool {
    match index.checked_sub(1).map(|before| words[before]) {
        None | Some(Word::Operator(_) | Word::Open | Word::Comma) => true,
        Some(Word::Number(_) | Word::Name(_) | Word::Close) => false,
    }
}

/// Whether the operand to the right of `index` is raised to a power.
fn is_power(words: &[Word<'_>], index: usize) -> bool {
    let mut at = index + 1;
    while matches!(words.get(at), Some(Word::Operator('+' | '-'))) {
        at += 1;
    }
    if matches!(words.get(at), Some(Word::Name(_))) && words.get(at + 1) == Some(&Word::Open) {
        at += 1;
    }
    if words.get(at) == Some(&Word::Open) {
        at = closing(words, at);
    }
    words.get(at + 1) == Some(&Word::Operator('^'))
}

/// Where the bracket that opens at `open` closes. Brackets have been checked.
fn closing(words: &[Word<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, word) in words.iter().enumerate().skip(open) {
        match word {
            Word::Open => depth += 1,
            Word::Close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    words.len()
}
