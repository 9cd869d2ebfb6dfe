//! What a client asks for: inputs, formula, iterations, seed.
//!
//! A [`Spec`] is plain data as it travels. [`Plan::new`] checks everything once
//! and gives the form that an engine runs. Equal specs describe equal runs: an
//! engine's answer depends on nothing else.
//!
//! ```
//! use montecarlo::spec::{Plan, Spec};
//!
//! let spec: Spec = serde_json::from_str(
//!     r#"{"inputs": {"x": {"distribution": "uniform", "min": 0, "max": 1}},
//!         "formula": "x ^ 2", "iterations": 1000, "seed": 42}"#,
//! ).unwrap();
//! assert!(Plan::new(&spec).is_ok());
//!
//! let wrong = Spec { formula: "x / y".into(), ..spec };
//! assert_eq!(Plan::new(&wrong).unwrap_err().field, "formula");
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;
use crate::formula::{Formula, is_input_name};
use crate::rng::Stream;

/// Fewest and most iterations of one run.
pub const ITERATIONS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000;
/// Most inputs of one run.
pub const MAX_INPUTS: usize = 32;
/// Longest name of an input, in bytes.
pub const MAX_NAME: usize = 64;
/// Outputs beyond this magnitude count as not finite: their squares could not be summed.
pub const MAX_OUTPUT: f64 = 1e140;
/// Samples drawn before a run is accepted, to see that the formula has values.
const TRIAL: usize = 1_024;
/// Runs in which more than this share of the samples is not finite fail.
pub const MAX_NON_FINITE_SHARE: f64 = 0.01;

/// One run, as a client describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The uncertain inputs by name; 1 to 32.
    #[serde(deserialize_with = "unique_inputs")]
    pub inputs: BTreeMap<String, Distribution>,
    /// The output as a formula over the inputs.
    pub formula: String,
    /// Samples to draw; 1e3 to 1e9.
    pub iterations: u64,
    /// Equal seeds give equal results.
    pub seed: u64,
}

/// What is wrong with a specification, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// Where it is wrong, for example `inputs.price.std_dev`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

/// A checked specification, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    spec: Spec,
    formula: Formula,
    /// Those inputs that the formula uses, in the formula's order.
    used: Vec<Distribution>,
    /// Where the outputs of the trial lie: centre and scale of the percentiles.
    frame: (f64, f64),
}

// === impl Plan ===

impl Plan {
    /// Checks a specification. Costs a thousand evaluations of the formula.
    ///
    /// # Errors
    ///
    /// [`SpecError`] names the field and says what to write instead.
    pub fn new(spec: &Spec) -> Result<Self, SpecError> {
        check_inputs(&spec.inputs)?;
        if !ITERATIONS.contains(&spec.iterations) {
            let message = format!("{} iterations are not possible", spec.iterations);
            return Err(error("iterations", message, "use 1000 to 1000000000"));
        }
        let formula = Formula::parse(&spec.formula)
            .map_err(|wrong| error("formula", wrong.to_string(), wrong.hint()))?;
        let used = used_inputs(&formula, &spec.inputs)?;
        let mut plan = Self {
            spec: spec.clone(),
            formula,
            used,
            frame: (0.0, 1.0),
        };
        plan.frame = plan.trial()?;
        Ok(plan)
    }

    /// The specification this plan was made from.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Centre and scale of the outputs, estimated from a trial that depends on
    /// the specification alone.
    #[must_use]
    pub fn frame(&self) -> (f64, f64) {
        self.frame
    }

    /// Draws the inputs from `stream` into `values` and evaluates the formula.
    /// `None`: the output is not a usable number.
    pub fn sample(&self, stream: &mut Stream, values: &mut Vec<f64>) -> Option<f64> {
        values.clear();
        values.extend(self.used.iter().map(|input| input.quantile(stream.unit())));
        let output = self.formula.evaluate(values);
        (output.abs() <= MAX_OUTPUT).then_some(output)
    }

    /// Names of the inputs that [`sample`](Self::sample) draws, in its order.
    #[must_use]
    pub fn sampled_inputs(&self) -> &[String] {
        self.formula.inputs()
    }

    fn trial(&self) -> Result<(f64, f64), SpecError> {
        let mut stream = Stream::new(self.spec.seed, u64::MAX);
        let mut values = Vec::new();
        let mut outputs: Vec<f64> = Vec::with_capacity(TRIAL);
        let mut failed = None;
        for _ in 0..TRIAL {
            match self.sample(&mut stream, &mut values) {
                Some(output) => outputs.push(output),
                None => failed = failed.or_else(|| Some(self.describe(&values))),
            }
        }
        let share = (TRIAL - outputs.len()) as f64 / TRIAL as f64;
        if let Some(example) = failed.filter(|_| share > MAX_NON_FINITE_SHARE) {
            let message = format!(
                "the formula has no finite value for {:.0} % of the inputs, for example {example}",
                share * 100.0
            );
            return Err(error("formula", message, NON_FINITE_HINT));
        }
        outputs.sort_by(f64::total_cmp);
        Ok(frame(&outputs))
    }

    /// The drawn inputs as text, `x = 1, y = 0`.
    pub(crate) fn describe(&self, values: &[f64]) -> String {
        let pairs = self.sampled_inputs().iter().zip(values);
        let text: Vec<String> = pairs
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        if text.is_empty() {
            "any input".into()
        } else {
            text.join(", ")
        }
    }
}

/// Centre and scale of sorted outputs. Where most are one and the same value, as of
/// an option that is hardly ever exercised, the others decide the scale.
fn frame(outputs: &[f64]) -> (f64, f64) {
    let at = |share: f64| outputs[(share * (outputs.len() - 1) as f64) as usize];
    let half = |low: f64, high: f64| (at(high) - at(low)) / 2.0;
    let scales = [half(0.16, 0.84), half(0.0, 1.0)];
    let scale = scales.into_iter().find(|scale| *scale > 0.0);
    (at(0.5), scale.unwrap_or_default())
}

/// What to do about outputs that are not finite.
pub const NON_FINITE_HINT: &str = "keep divisors away from zero and arguments of ln, sqrt and powers in their range, \
     for example x / max(y, 0.001); outputs beyond 1e140 count as infinite";

fn error(field: &str, message: impl Into<String>, hint: &str) -> SpecError {
    SpecError {
        field: field.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
    }
}

fn check_inputs(inputs: &BTreeMap<String, Distribution>) -> Result<(), SpecError> {
    if inputs.is_empty() || inputs.len() > MAX_INPUTS {
        let message = format!("{} inputs are not possible", inputs.len());
        return Err(error("inputs", message, "name 1 to 32 inputs"));
    }
    for (name, distribution) in inputs {
        if name.len() > MAX_NAME || !is_input_name(name) {
            let shown: String = name.chars().take(MAX_NAME).collect();
            let message = format!("an input cannot be named {shown:?}");
            let hint = "use a letter, then letters, digits and underscores, at most 64, \
                        and no name of a function or constant";
            return Err(error("inputs", message, hint));
        }
        distribution.check().map_err(|(parameter, hint)| {
            let message = format!("{parameter} of input {name} is out of range");
            error(&format!("inputs.{name}.{parameter}"), message, hint)
        })?;
    }
    Ok(())
}

fn used_inputs(
    formula: &Formula,
    inputs: &BTreeMap<String, Distribution>,
) -> Result<Vec<Distribution>, SpecError> {
    let find = |name: &String| {
        inputs.get(name).copied().ok_or_else(|| {
            let message = format!("the formula uses {name:?}, which is not an input");
            let known: Vec<&str> = inputs.keys().map(String::as_str).collect();
            error(
                "formula",
                message,
                &format!("add the input or use one of: {}", known.join(", ")),
            )
        })
    };
    formula.inputs().iter().map(find).collect()
}

/// Reads the inputs, refusing a name that occurs twice.
fn unique_inputs<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Distribution>, D::Error> {
    struct Inputs;
    impl<'de> Visitor<'de> for Inputs {
        type Value = BTreeMap<String, Distribution>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of input names to distributions")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut inputs = BTreeMap::new();
            while let Some((name, distribution)) = access.next_entry::<String, _>()? {
                if inputs.len() >= MAX_INPUTS {
                    return Err(A::Error::custom("more than 32 inputs"));
                }
                if inputs.contains_key(&name) {
                    return Err(A::Error::custom(format!("input {name:?} occurs twice")));
                }
                inputs.insert(name, distribution);
            }
            Ok(inputs)
        }
    }
    deserializer.deserialize_map(Inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Plan, String> {
        let spec: Spec = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Plan::new(&spec).map_err(|e| format!("{}: {e}", e.field))
    }

    #[test]
    fn each_wrong_field_is_named() {
        let cases = [
            (
                r#"{"inputs":{},"formula":"1","iterations":1000,"seed":1}"#,
                "inputs",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"normal","mean":0,"std_dev":-1}},"formula":"x","iterations":1000,"seed":1}"#,
                "inputs.x.std_dev",
            ),
            (
                r#"{"inputs":{"sin":{"distribution":"uniform","min":0,"max":1}},"formula":"1","iterations":1000,"seed":1}"#,
                "inputs",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1}},"formula":"x/y","iterations":1000,"seed":1}"#,
                "formula",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1}},"formula":"x/0","iterations":1000,"seed":1}"#,
                "formula",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":-1,"max":1}},"formula":"ln(x)","iterations":1000,"seed":1}"#,
                "formula",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1}},"formula":"1e200*x","iterations":1000,"seed":1}"#,
                "formula",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1}},"formula":"x","iterations":999,"seed":1}"#,
                "iterations",
            ),
            (
                r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1}},"formula":"x","iterations":1000000001,"seed":1}"#,
                "iterations",
            ),
        ];
        for (json, field) in cases {
            let wrong = read(json).unwrap_err();
            assert!(wrong.starts_with(&format!("{field}: ")), "{json}: {wrong}");
        }
    }

    #[test]
    fn json_that_is_not_a_spec_does_not_read() {
        let uniform = r#"{"distribution":"uniform","min":0,"max":1}"#;
        for json in [
            "",
            "{",
            "[]",
            "null",
            "NaN",
            &format!(
                r#"{{"inputs":{{"x":{uniform},"x":{uniform}}},"formula":"x","iterations":1000,"seed":1}}"#
            ),
            &format!(r#"{{"inputs":{{"x":{uniform}}},"formula":"x","iterations":1e3,"seed":1}}"#),
            &format!(r#"{{"inputs":{{"x":{uniform}}},"formula":"x","iterations":1000,"seed":-1}}"#),
            &format!(
                r#"{{"inputs":{{"x":{uniform}}},"formula":"x","iterations":1000,"seed":1,"more":2}}"#
            ),
            r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1e999}},"formula":"x","iterations":1000,"seed":1}"#,
            r#"{"inputs":{"x":{"distribution":"uniform","min":NaN,"max":1}},"formula":"x","iterations":1000,"seed":1}"#,
            r#"{"inputs":{"x":{"distribution":"cauchy","min":0,"max":1}},"formula":"x","iterations":1000,"seed":1}"#,
            r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1,"mode":0}},"formula":"x","iterations":1000,"seed":1}"#,
        ] {
            assert!(serde_json::from_str::<Spec>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_input_the_formula_does_not_use_is_not_drawn() {
        let plan = read(r#"{"inputs":{"x":{"distribution":"uniform","min":0,"max":1},"y":{"distribution":"uniform","min":0,"max":1}},"formula":"y","iterations":1000,"seed":1}"#).unwrap();
        assert_eq!(plan.sampled_inputs(), ["y"]);
    }
}
