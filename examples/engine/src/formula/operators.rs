//! What the formula language offers, told to `exmex`.

// The macro below writes a public type into this private module.
#![allow(unreachable_pub, reason = "written by exmex's macro")]

use exmex::{BinOp, FlatEx, MakeOperators, MatchLiteral, Operator, literal_matcher_from_pattern};

literal_matcher_from_pattern!(Numbers, r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?");

pub(super) type Expression = FlatEx<f64, Operators, Numbers>;

type OneArgument = fn(f64) -> f64;
type TwoArguments = fn(f64, f64) -> f64;

const CONSTANTS: [(&str, f64); 2] = [("PI", std::f64::consts::PI), ("E", std::f64::consts::E)];
const ONE_ARGUMENT: [(&str, OneArgument); 20] = [
    ("abs", f64::abs),
    ("sqrt", f64::sqrt),
    ("cbrt", f64::cbrt),
    ("exp", f64::exp),
    ("ln", f64::ln),
    ("log2", f64::log2),
    ("log10", f64::log10),
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
    ("asin", f64::asin),
    ("acos", f64::acos),
    ("atan", f64::atan),
    ("sinh", f64::sinh),
    ("cosh", f64::cosh),
    ("tanh", f64::tanh),
    ("floor", f64::floor),
    ("ceil", f64::ceil),
    ("round", f64::round),
    ("signum", f64::signum),
];
const TWO_ARGUMENTS: [(&str, TwoArguments); 2] = [
    // Unlike `f64::min`, these let a NaN through instead of hiding it.
    ("min", |a, b| if a < b || a.is_nan() { a } else { b }),
    ("max", |a, b| if a > b || a.is_nan() { a } else { b }),
];
/// Of equal standing are only operators for which the order does not matter or
/// which are read from the left.
const BINARY: [(&str, TwoArguments, i64); 3] = [
    ("^", f64::powf, 4),
    ("/", |a, b| a / b, 3),
    ("*", |a, b| a * b, 2),
];

#[derive(Clone, Debug)]
pub(super) struct Operators;

impl MakeOperators<f64> for Operators {
    fn make<'a>() -> Vec<Operator<'a, f64>> {
        let binary = |apply: TwoArguments, prio| BinOp {
            apply,
            prio,
            is_commutative: false,
        };
        let mut all = vec![
            Operator::make_bin_unary("-", binary(|a, b| a - b, 1), |a: f64| -a),
            Operator::make_bin_unary("+", binary(|a, b| a + b, 0), |a: f64| a),
        ];
        all.extend(BINARY.map(|(name, apply, prio)| Operator::make_bin(name, binary(apply, prio))));
        all.extend(TWO_ARGUMENTS.map(|(name, apply)| Operator::make_bin(name, binary(apply, 0))));
        all.extend(ONE_ARGUMENT.map(|(name, apply)| Operator::make_unary(name, apply)));
        all.extend(CONSTANTS.map(|(name, value)| Operator::make_constant(name, value)));
        all
    }
}

/// Functions, with one argument or two.
pub(super) fn is_function(name: &str) -> bool {
    ONE_ARGUMENT.iter().any(|(known, _)| *known == name) || takes_two(name)
}

/// Functions with two arguments.
pub(super) fn takes_two(name: &str) -> bool {
    TWO_ARGUMENTS.iter().any(|(known, _)| *known == name)
}

/// Names that an input may not have.
pub(super) fn is_taken(name: &str) -> bool {
    is_function(name) || CONSTANTS.iter().any(|(known, _)| *known == name)
}
