//! Consul's filter expressions, as far as discovery needs them.
//!
//! `Service.Tags contains "blue" and (Meta.zone == "a" or not Port == 80)`: comparisons `==`, `!=`, `in`, `not in`,
//! `contains`, `not contains`, `is empty`, `is not empty`, joined by `and`, `or`, `not` and parentheses. Regular
//! expressions (`matches`) are refused.

use serde_json::Value;

use super::Call;
use super::reply::Failure;

/// Deeper nesting is refused, so that no query exhausts the stack.
const DEPTH: usize = 32;
/// Objects whose keys are the user's own: a missing one is no mistake.
const FREE: [&str; 6] = [
    "Meta",
    "NodeMeta",
    "ServiceMeta",
    "TaggedAddresses",
    "ServiceTaggedAddresses",
    "Header",
];
/// Fields of Consul's that are left out of answers while they are empty, or are always empty here.
const LEFT_OUT: [&str; 5] = [
    "TaggedAddresses",
    "ServiceTaggedAddresses",
    "Kind",
    "Proxy",
    "Connect",
];

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    root: Node,
    is_1_8: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Test(Comparison),
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
    Equals(String),
    Contains(String),
    IsEmpty,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word, which is a selector, a keyword or a value.
    Word(String),
    Text(String),
    Sign(&'static str),
}

impl Call {
    /// The query's filter, if it has one.
    pub(super) fn filter(&self) -> Result<Option<Filter>, Failure> {
        let parse =
            |text| Filter::parse(text, self.is_1_8()).map_err(|why| refused(&why, self.is_1_8()));
        self.query.filled("filter").map(parse).transpose()
    }
}

fn refused(why: &str, is_1_8: bool) -> Failure {
    let text = format!("Failed to create boolean expression evaluator: {why}");
    if is_1_8 {
        Failure::internal(text)
    } else {
        Failure::bad(text)
    }
}

// === impl Filter ===

impl Filter {
    fn parse(text: &str, is_1_8: bool) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser {
            tokens: &tokens,
            at: 0,
        };
        let root = parser.either(0)?;
        match parser.peek() {
            None => Ok(Self { root, is_1_8 }),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    pub(super) fn matches(&self, value: &Value) -> Result<bool, Failure> {
        self.root
            .matches(value)
            .map_err(|why| refused(&why, self.is_1_8))
    }
}

impl Node {
    fn matches(&self, value: &Value) -> Result<bool, String> {
        Ok(match self {
            // Both sides are looked at: a selector that is not valid is one wherever it stands.
            Self::And(a, b) => a.matches(value)? & b.matches(value)?,
            Self::Or(a, b) => a.matches(value)? | b.matches(value)?,
            Self::Not(inner) => !inner.matches(value)?,
            Self::Test(comparison) => comparison.at(value, "", &comparison.selector)?,
        })
    }
}

impl Comparison {
    /// Compares what the selector leads to. In a list of objects one that holds is enough, also if it is one that is
    /// *not* equal: `Checks.Status != "passing"` asks for any check that fails (so does Consul's go-bexpr). A missing
    /// key of the user's own is empty.
    fn at(&self, value: &Value, parent: &str, selector: &[String]) -> Result<bool, String> {
        let Some((first, rest)) = selector.split_first() else {
            return Ok(self.test.holds(value)? != self.negated);
        };
        match value {
            Value::Array(items) => {
                let mut holds = false;
                for item in items {
                    holds |= self.at(item, parent, selector)?;
                }
                Ok(holds)
            }
            _ => match value.get(first) {
                Some(next) => self.at(next, first, rest),
                None if FREE.contains(&parent) || LEFT_OUT.contains(&first.as_str()) => {
                    Ok((self.test == Test::IsEmpty) != self.negated)
                }
                None => Err(format!("Selector {first:?} is not valid")),
            },
        }
    }
}

impl Test {
    fn holds(&self, found: &Value) -> Result<bool, String> {
        Ok(match self {
            Self::Equals(_) if found.is_array() || found.is_object() => {
                return Err("Invalid match operator \"Equal\" for a list or an object".into());
            }
            Self::Equals(wanted) => text(found).is_some_and(|text| text == *wanted),
            Self::Contains(wanted) => match found {
                Value::Array(items) => items
                    .iter()
                    .any(|item| text(item).is_some_and(|text| text == *wanted)),
                Value::Object(fields) => fields.contains_key(wanted),
                other => text(other).is_some_and(|text| text.contains(wanted.as_str())),
            },
            Self::IsEmpty => match found {
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                Value::Null => true,
                other => text(other).is_some_and(|text| text.is_empty()),
            },
        })
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

// === reading ===

fn tokens(input: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = input.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' | '`' => {
                let inner = rest.get(1..).unwrap_or_default();
                let end = inner.find(first).ok_or("a text does not end")?;
                tokens.push(Token::Text(inner.get(..end).unwrap_or_default().into()));
                end + 2
            }
            _ => match ["==", "!=", "(", ")", "[", "]"]
                .into_iter()
                .find(|sign| rest.starts_with(sign))
            {
                Some(sign) => {
                    tokens.push(Token::Sign(sign));
                    sign.len()
                }
                None => {
                    let is_part = |c: char| c.is_alphanumeric() || "_.-/:".contains(c);
                    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                    if end == 0 {
                        return Err(format!("unexpected {first:?}"));
                    }
                    tokens.push(Token::Word(rest.get(..end).unwrap_or_default().into()));
                    end
                }
            },
        };
        rest = rest.get(taken..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Takes the next token if it is this word.
    fn word(&mut self, wanted: &str) -> bool {
        let found =
            matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, depth: usize) -> Result<Node, String> {
        let mut node = self.both(depth)?;
        while self.word("or") {
            node = Node::Or(Box::new(node), Box::new(self.both(depth)?));
        }
        Ok(node)
    }

    fn both(&mut self, depth: usize) -> Result<Node, String> {
        let mut node = self.single(depth)?;
        while self.word("and") {
            node = Node::And(Box::new(node), Box::new(self.single(depth)?));
        }
        Ok(node)
    }

    fn single(&mut self, depth: usize) -> Result<Node, String> {
        if depth > DEPTH {
            return Err("too deeply nested".into());
        }
        if self.word("not") {
            return Ok(Node::Not(Box::new(self.single(depth + 1)?)));
        }
        if self.sign("(") {
            let inner = self.either(depth + 1)?;
            return if self.sign(")") {
                Ok(inner)
            } else {
                Err("a parenthesis is not closed".into())
            };
        }
        self.test()
    }

    fn test(&mut self) -> Result<Node, String> {
        let start = self.at;
        let value = self.value()?;
        let negated = self.word("not");
        if self.word("in") {
            return Ok(Node::Test(Comparison {
                selector: self.selector()?,
                test: Test::Contains(value),
                negated,
            }));
        }
        self.at = start;
        let selector = self.selector()?;
        let (negated, test) = self.operator()?;
        Ok(Node::Test(Comparison {
            selector,
            test,
            negated,
        }))
    }

    fn operator(&mut self) -> Result<(bool, Test), String> {
        if self.sign("==") {
            return Ok((false, Test::Equals(self.value()?)));
        }
        if self.sign("!=") {
            return Ok((true, Test::Equals(self.value()?)));
        }
        if self.word("is") {
            let negated = self.word("not");
            return if self.word("empty") {
                Ok((negated, Test::IsEmpty))
            } else {
                Err(unmatched())
            };
        }
        let negated = self.word("not");
        match self.word("contains") {
            true => Ok((negated, Test::Contains(self.value()?))),
            false => Err(unmatched()),
        }
    }

    fn value(&mut self) -> Result<String, String> {
        match self.next() {
            Some(Token::Text(text) | Token::Word(text)) => Ok(text.clone()),
            _ => Err(unmatched()),
        }
    }

    /// `Service.Meta.zone` or `Service.Meta["zone"]`.
    fn selector(&mut self) -> Result<Vec<String>, String> {
        let Some(Token::Word(word)) = self.next() else {
            return Err(unmatched());
        };
        let mut parts: Vec<String> = word.split('.').map(Into::into).collect();
        while self.sign("[") {
            match (self.next(), self.sign("]")) {
                (Some(Token::Text(key)), true) => parts.push(key.clone()),
                _ => return Err(unmatched()),
            }
        }
        Ok(parts)
    }
}

fn unmatched() -> String {
    "no match found, expected: \"!=\", \"==\", \"in\", \"contains\", \"is\" or a selector".into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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
        Filter::parse(filter, true)?.root.matches(&value)
    }

    #[test]
    fn expressions_mean_what_consul_says() {
        for (filter, expected) in [
            ("Service.Service == web", true),
            ("Service.Service != \"web\"", false),
            ("blue in Service.Tags and Service.Port == 80", true),
            ("\"red\" not in Service.Tags", true),
            ("Service.Tags contains `v2`", true),
            (
                "Service.Meta.zone == b or Service.Meta[\"zone\"] == a",
                true,
            ),
            ("not (Service.Meta.nothing == x)", true),
            ("Service.Meta.nothing is empty", true),
            ("Service.Tags is not empty", true),
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
            ("Checks.Output is empty", true),
            ("Checks.Output is not empty", true),
            ("Checks.ServiceTags not contains blue", true),
            ("blue not in Checks.ServiceTags", true),
            ("not blue in Checks.ServiceTags", false),
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
            ("Service.Kind == \"connect-proxy\"", false),
            ("Service.Kind != \"connect-proxy\"", true),
        ] {
            assert_eq!(matches(filter), Ok(expected), "{filter}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for filter in [
            "zz",
            "(a == b",
            "a ==",
            "a == b c",
            "Service.Nothing == 1",
            "Service.Service == web or Service.Nothing == 1",
            "Service.Service == other and Service.Nothing == 1",
            "Service.Tags == blue",
            "Service.Meta != blue",
            "a matches b",
            "\"x",
        ] {
            assert!(matches(filter).is_err(), "{filter}");
        }
        assert!(matches(&"(".repeat(10_000)).is_err());
    }

    proptest! {
        /// No text panics.
        #[test]
        fn no_text_panics(text in "[a-zA-Z .()\\[\\]\"`=!é]{0,60}") {
            let _ = matches(&text);
        }
    }
}
