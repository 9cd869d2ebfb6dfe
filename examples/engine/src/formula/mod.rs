//! The output formula over the named inputs.
//!
//! Operators `+ - * / ^`, the functions `abs sqrt cbrt exp ln log2 log10 sin cos
//! tan asin acos atan sinh cosh tanh floor ceil round signum min(a, b)
//! max(a, b)`, the constants `PI` and `E`, numbers such as `2`, `0.5` and
//! `1.5e6`, and the inputs by their names.
//!
//! Parsing and evaluation are the `exmex` crate's. It binds a sign tighter than
//! a power (`-x^2` would be `(-x)^2`) and reads `a^b^c` from the left, against
//! the convention of mathematics. A wrong number nobody notices is worse than a
//! refusal, so such formulas are refused with a request for parentheses.
//!
//! ```
//! use montecarlo::formula::Formula;
//!
//! let profit = Formula::parse("price * volume - 2e3").unwrap();
//! assert_eq!(profit.inputs(), ["price", "volume"]);
//! assert_eq!(profit.evaluate(&[10.0, 300.0]), 1000.0);
//! assert!(Formula::parse("price *").is_err());
//! assert!(Formula::parse("-price^2").is_err());
//! ```

mod operators;
mod shape;

use std::sync::Arc;

use exmex::Express as _;

use operators::{Expression, is_taken};

/// Longest formula, in bytes.
pub const MAX_LENGTH: usize = 1_000;

/// A formula ready for evaluation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Formula {
    expression: Arc<Expression>,
}

/// Why a text is not a formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormulaError {
    /// Nothing there.
    #[error("the formula is empty")]
    Empty,
    /// More than [`MAX_LENGTH`] bytes.
    #[error("the formula has {0} bytes, more than {MAX_LENGTH}")]
    TooLong(usize),
    /// A character the language does not know.
    #[error("the formula contains {0:?}, which means nothing here")]
    Character(char),
    /// Brackets that do not match.
    #[error("the brackets of the formula do not match")]
    Brackets,
    /// `-x^2`.
    #[error("a sign before a power can be read in two ways")]
    SignBeforePower,
    /// `a^b^c`.
    #[error("a power of a power can be read in two ways")]
    ChainedPower,
    /// `sin x`.
    #[error("{0:?} is a function: call it with brackets")]
    FunctionWithoutBrackets(String),
    /// Two-argument functions may nest in their first argument only.
    #[error("the formula does not parse: {0}")]
    Syntax(String),
}

impl FormulaError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => "write a formula over the inputs, for example price * volume - cost",
            Self::TooLong(_) => "shorten the formula",
            Self::Character(_) => "use + - * / ^ ( ) , numbers, input names and functions",
            Self::Brackets => "close every bracket that opens",
            Self::SignBeforePower => "write -(x^2) or (-x)^2",
            Self::ChainedPower => "write a^(b^c) or (a^b)^c",
            Self::FunctionWithoutBrackets(_) => "write for example sin(x)",
            Self::Syntax(_) => {
                "use + - * / ^ ( ), functions such as exp(x) and max(a, b); \
                 nest min and max in the first argument only"
            }
        }
    }
}

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    ///
    /// [`FormulaError`], with a hint what to write instead.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        if text.len() > MAX_LENGTH {
            return Err(FormulaError::TooLong(text.len()));
        }
        let unambiguous = shape::check(text)?;
        let expression = Expression::parse(&unambiguous)
            .map_err(|error| FormulaError::Syntax(readable(error.msg())))?;
        Ok(Self {
            expression: Arc::new(expression),
        })
    }

    /// Names of the inputs that occur, in alphabetical order.
    #[must_use]
    pub fn inputs(&self) -> &[String] {
        self.expression.var_names()
    }

    /// The value for `values`, one per name of [`inputs`](Self::inputs) and in
    /// that order. NaN if their number is wrong or the formula has no value there.
    #[must_use]
    pub fn evaluate(&self, values: &[f64]) -> f64 {
        self.expression.eval(values).unwrap_or(f64::NAN)
    }
}

/// `exmex` prints its own data structures, addresses included, into some messages.
fn readable(message: &str) -> String {
    if message.contains("Operator {") {
        "an operator stands where a number, an input or a bracket should be".to_owned()
    } else {
        message.to_owned()
    }
}

/// Whether an input may have this name: a letter, then letters, digits and
/// underscores, and not a function or constant of the language.
#[must_use]
pub fn is_input_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_taken(name)
}

#[cfg(test)]
mod tests;
