//! Consul's filter expressions, as far as discovery needs them.
//!
//! `Service.Tags contains "blue" and (Meta.zone == "a" or not Port == 80)`: comparisons `==`, `!=`, `in`, `not in`,
//! `contains`, `not contains`, `is empty`, `is not empty`, joined by `and`, `or`, `not` and parentheses. Regular
//! expressions (`matches`) are refused.

mod parse;
pub(super) mod shape;

use serde_json::Value;

use self::parse::{Node, Operator};
use self::shape::Shape;
use super::Call;
use super::query::Query;
use super::reply::Failure;

/// An expression that fits what it is asked of.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    root: Node<Comparison>,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    selector: Vec<String>,
    test: Test,
    /// `!=`, `not in` and the like, which is not the same as a `not` before it: see [`Comparison::at`].
    negated: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    EqualsText(String),
    EqualsNumber(i64),
    EqualsFlag(bool),
    Contains(String),
    IsEmpty,
}

impl Call {
    /// The query's filter of values of this shape, if it has one.
    pub(super) fn filter(&self, shape: Shape) -> Result<Option<Filter>, Failure> {
        let refused = |why: String| {
            let text = format!("Failed to create boolean expression evaluator: {why}");
            match self.is_1_8() {
                true => Failure::internal(text),
                false => Failure::bad(text),
            }
        };
        let parse = |text| Filter::parse(text, shape).map_err(refused);
        self.query.filled("filter").map(parse).transpose()
    }
}

// === impl Filter ===

impl Filter {
    fn parse(text: &str, shape: Shape) -> Result<Self, String> {
        let written = parse::parse(text).map_err(|why| why.to_string())?;
        let root = typed(written, shape)?;
        Ok(Self { root, shape })
    }

    pub(super) fn matches(&self, value: &Value) -> bool {
        self.root.matches(value, self.shape)
    }
}

fn typed(node: Node<parse::Comparison>, shape: Shape) -> Result<Node<Comparison>, String> {
    let boxed = |node: Box<Node<parse::Comparison>>| typed(*node, shape).map(Box::new);
    Ok(match node {
        Node::And(a, b) => Node::And(boxed(a)?, boxed(b)?),
        Node::Or(a, b) => Node::Or(boxed(a)?, boxed(b)?),
        Node::Not(inner) => Node::Not(boxed(inner)?),
        Node::Test(comparison) => Node::Test(Comparison::typed(comparison, shape)?),
    })
}

impl Node<Comparison> {
    fn matches(&self, value: &Value, shape: Shape) -> bool {
        match self {
            Self::And(a, b) => a.matches(value, shape) && b.matches(value, shape),
            Self::Or(a, b) => a.matches(value, shape) || b.matches(value, shape),
            Self::Not(inner) => !inner.matches(value, shape),
            Self::Test(comparison) => comparison.at(Some(value), shape, &comparison.selector),
        }
    }
}

impl Comparison {
    fn typed(written: parse::Comparison, shape: Shape) -> Result<Self, String> {
        let parse::Comparison {
            selector,
            operator,
            negated,
            value,
        } = written;
        let mut leaf = shape;
        for (depth, part) in selector.iter().enumerate() {
            leaf = leaf.part(part).ok_or_else(|| {
                let known = selector.iter().take(depth + 1);
                let known: Vec<&str> = known.map(String::as_str).collect();
                format!("Selector {:?} is not valid", known.join("."))
            })?;
        }
        let selected = selector.join(".");
        if !leaf.allows(operator) {
            let not = if negated { "Not " } else { "" };
            return Err(format!(
                "Invalid match operator \"{not}{operator:?}\" for selector {selected:?}"
            ));
        }
        let coerced = |found: Option<Test>| {
            let why = || format!("Failed to coerce value {value:?} for selector {selected:?}");
            found.ok_or_else(why)
        };
        let test = match (operator, leaf) {
            (Operator::IsEmpty, _) => Test::IsEmpty,
            (Operator::Contains, _) => Test::Contains(value),
            (Operator::Equal, Shape::Number) => coerced(number(&value).map(Test::EqualsNumber))?,
            (Operator::Equal, Shape::Flag) => {
                coerced(Query::boolean(&value).map(Test::EqualsFlag))?
            }
            (Operator::Equal, _) => Test::EqualsText(value),
            (Operator::Matches, _) => {
                return Err("regular expressions are not supported by this agent".into());
            }
        };
        Ok(Self {
            selector,
            test,
            negated,
        })
    }

    /// Compares what the selector leads to. In a list of objects one that holds is enough, also if it is one that is
    /// *not* equal: `Checks.Status != "passing"` asks for any check that fails (so does Consul's go-bexpr). A missing
    /// key of the user's own is equal to nothing; a field that an answer leaves out is empty.
    fn at(&self, value: Option<&Value>, shape: Shape, selector: &[String]) -> bool {
        let Some((first, rest)) = selector.split_first() else {
            return self.test.holds(value) != self.negated;
        };
        let next = value.and_then(|value| value.get(first));
        match (value, shape) {
            (Some(Value::Array(items)), Shape::Records(fields)) => {
                let holds = |item| self.at(Some(item), Shape::Record(fields), selector);
                items.iter().any(holds)
            }
            (_, Shape::Records(_)) => false,
            (_, Shape::Table(_)) if next.is_none() => self.negated,
            // The selector was followed through the same shapes before.
            _ => shape
                .part(first)
                .is_some_and(|shape| self.at(next, shape, rest)),
        }
    }
}

impl Test {
    fn holds(&self, found: Option<&Value>) -> bool {
        match self {
            Self::EqualsText(wanted) => found.and_then(Value::as_str).unwrap_or_default() == wanted,
            Self::EqualsNumber(wanted) => {
                found.and_then(Value::as_i64).unwrap_or_default() == *wanted
            }
            Self::EqualsFlag(wanted) => {
                found.and_then(Value::as_bool).unwrap_or_default() == *wanted
            }
            Self::Contains(wanted) => match found {
                Some(Value::Array(items)) => items.iter().any(|item| item == wanted),
                Some(Value::Object(fields)) => fields.contains_key(wanted),
                other => other
                    .and_then(Value::as_str)
                    .is_some_and(|text| text.contains(wanted.as_str())),
            },
            Self::IsEmpty => match found {
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Object(fields)) => fields.is_empty(),
                _ => true,
            },
        }
    }
}

/// A whole number as Go reads it: decimal, or with its base before it.
fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let bases = [("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)];
    let based = bases
        .iter()
        .find_map(|(prefix, base)| Some((lower.strip_prefix(prefix)?, *base)))
        .filter(|(digits, _)| !digits.is_empty());
    let (digits, base) = based.unwrap_or((lower.as_str(), 10));
    let is_plain = digits.chars().all(|c| c.is_digit(base));
    is_plain.then(|| i64::from_str_radix(&format!("{sign}{digits}"), base).ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(filter: &str) -> Result<bool, String> {
        let value = json!({
            "Service": {"Service": "web", "Tags": ["blue", "v2"], "Meta": {"zone": "a"}, "Port": 80},
            "Checks": [
                {"CheckID": "serfHealth", "Status": "passing", "Output": "", "ServiceTags": []},
                {"CheckID": "http", "Status": "critical", "Output": "timeout", "ServiceTags": ["blue"]},
            ],
        });
        Filter::parse(filter, shape::INSTANCE).map(|filter| filter.matches(&value))
    }

    #[test]
    fn expressions_mean_what_consul_says() {
        for (filter, expected) in [
            ("Service.Service == web", true),
            ("Service.Service != \"web\"", false),
            ("blue in Service.Tags and Service.Port == 80", true),
            ("\"red\" not in Service.Tags", true),
            ("Service.Tags contains `v2`", true),
            ("Service.Service contains e", true),
            ("zone in Service.Meta and other not in Service.Meta", true),
            (
                "Service.Meta.zone == b or Service.Meta[\"zone\"] == a",
                true,
            ),
            ("not (Service.Meta.nothing == x)", true),
            ("Service.Meta.nothing != x", true),
            ("Service.Meta.nothing == \"\"", false),
            ("Service.TaggedAddresses.lan.Port == 0", false),
            ("Service.Proxy.LocalServicePort == 0", true),
            ("Service.Proxy.Upstreams.Datacenter != x", false),
            ("Service.Tags is not empty", true),
            ("Service.Port == \"0x50\"", true),
            ("Service.EnableTagOverride == F", true),
            (
                "Service.Port == 81 or Service.Port == 80 and Service.Service == other",
                false,
            ),
        ] {
            assert_eq!(matches(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn of_a_list_one_that_holds_is_enough_also_where_it_must_not_be_equal() {
        for (filter, expected) in [
            ("Checks.Status == passing", true),
            ("Checks.Status != passing", true),
            ("not Checks.Status == passing", false),
            ("not Checks.Status != passing", false),
            ("Checks.Status != warning", true),
            ("Checks.Output == \"\"", true),
            ("Checks.ServiceTags is empty", true),
            ("Checks.ServiceTags not contains blue", true),
            ("blue not in Checks.ServiceTags", true),
            ("not blue in Checks.ServiceTags", false),
            ("Checks is not empty", true),
        ] {
            assert_eq!(matches(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn what_is_left_out_of_an_answer_is_empty() {
        for (filter, expected) in [
            ("Service.TaggedAddresses.lan.Address == \"10.0.0.1\"", false),
            ("Service.TaggedAddresses.lan.Address != \"10.0.0.1\"", true),
            ("Service.TaggedAddresses is empty", true),
            ("Service.Kind == \"\"", true),
            ("Service.Kind != \"connect-proxy\"", true),
            ("Service.Connect.Native == false", true),
            ("Service.Proxy.Upstreams is empty", true),
        ] {
            assert_eq!(matches(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_also_where_it_would_not_be_looked_at() {
        for filter in [
            "Service.Nothing == 1",
            "Service.Service == web or Service.Nothing == 1",
            "Service.Service == other and Service.Nothing == 1",
            "Service.CreateIndex == 1",
            "Service.Tags == blue",
            "Service.Meta != blue",
            "Service.Meta.zone is empty",
            "Service.Service is empty",
            "Service.Weights is empty",
            "Service.Port == web",
            "Service.Port == \"080\"",
            "Service.Port == 99999999999999999999",
            "8 in Service.Port",
            "Service.EnableTagOverride == yes",
            "Checks.Definition.HTTP == a",
            "Service.Service matches `w.b`",
        ] {
            assert!(matches(filter).is_err(), "{filter}");
        }
    }
}
