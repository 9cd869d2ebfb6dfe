//! From a text to an expression, by the grammar of Consul's go-bexpr.
//!
//! Words are letters, digits and underscores and begin with a letter; keywords are lower case and have white space
//! around them; texts stand in double quotes or backticks. A word may be a keyword, a selector or a value: whatever
//! fits first, in this order. Nothing is read twice but a single comparison, so the time is linear.

/// Deeper nesting is refused, so that no query exhausts the stack.
const DEPTH: usize = 32;
const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// An expression whose selectors nobody has looked at yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<T> {
    And(Box<Node<T>>, Box<Node<T>>),
    Or(Box<Node<T>>, Box<Node<T>>),
    Not(Box<Node<T>>),
    Test(T),
}

/// One comparison as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) selector: Vec<String>,
    pub(super) operator: Operator,
    /// `!=`, `not in` and the like.
    pub(super) negated: bool,
    /// Empty for [`Operator::IsEmpty`].
    pub(super) value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    /// `contains`, and `in` the other way round.
    Contains,
    IsEmpty,
    Matches,
}

/// Why a text is no expression: what was there instead, at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("1:{} ({at}): no match found", at + 1)]
pub(super) struct Unmatched {
    at: usize,
}

type Written = Node<Comparison>;
type Parsed = Option<Written>;

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Written, Unmatched> {
    let mut reader = Reader {
        text,
        at: 0,
        furthest: 0,
    };
    reader.blanks();
    let node = reader.either(0);
    reader.blanks();
    match node {
        Some(node) if reader.rest().is_empty() => Ok(node),
        _ => Err(Unmatched {
            at: reader.furthest,
        }),
    }
}

/// A place in the text. What does not fit leaves it where it was.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    furthest: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.furthest = self.furthest.max(self.at);
    }

    /// Goes back if what was tried did not fit.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.at;
        let found = read(self);
        if found.is_none() {
            self.at = before;
        }
        found
    }

    fn literal(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.skip(if found { text.len() } else { 0 });
        found
    }

    /// White space, of which there may be none; `true` if there was some.
    fn blanks(&mut self) -> bool {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches(BLANK).len();
        self.skip(blanks);
        blanks > 0
    }

    /// Keywords with white space before, between and behind them; what stands behind the last may be anything.
    fn keywords(&mut self, words: &[&str]) -> bool {
        self.attempt(|reader| {
            let all = words
                .iter()
                .all(|word| reader.blanks() && reader.literal(word));
            all.then_some(())
        })
        .is_some()
    }

    /// The same, with white space at the end as well.
    fn infix(&mut self, words: &[&str]) -> bool {
        self.attempt(|reader| (reader.keywords(words) && reader.blanks()).then_some(()))
            .is_some()
    }

    fn either(&mut self, depth: usize) -> Parsed {
        self.joined(["or"], Node::Or, |reader| {
            reader.joined(["and"], Node::And, |reader| reader.negated(depth))
        })
    }

    fn joined(
        &mut self,
        word: [&str; 1],
        join: fn(Box<Written>, Box<Written>) -> Written,
        operand: impl Fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut node = operand(self)?;
        let next = |reader: &mut Self| {
            reader.attempt(|reader| reader.infix(&word).then(|| operand(reader)).flatten())
        };
        while let Some(other) = next(self) {
            node = join(Box::new(node), Box::new(other));
        }
        Some(node)
    }

    fn negated(&mut self, depth: usize) -> Parsed {
        if depth > DEPTH {
            return None;
        }
        let not = self.attempt(|reader| {
            let inner = reader.literal("not") && reader.blanks();
            inner.then(|| reader.negated(depth + 1)).flatten()
        });
        match not {
            Some(inner) => Some(Node::Not(Box::new(inner))),
            None if self.rest().starts_with('(') => self.attempt(|reader| reader.grouped(depth)),
            None => self.comparison().map(Node::Test),
        }
    }

    fn grouped(&mut self, depth: usize) -> Parsed {
        self.skip(1);
        self.blanks();
        let inner = self.either(depth + 1)?;
        self.blanks();
        self.literal(")").then_some(inner)
    }

    fn comparison(&mut self) -> Option<Comparison> {
        self.attempt(Self::selector_first)
            .or_else(|| self.attempt(Self::value_first))
    }

    fn selector_first(&mut self) -> Option<Comparison> {
        let selector = self.selector()?;
        let (operator, negated) = self.operator()?;
        let value = match operator {
            Operator::IsEmpty => String::new(),
            _ => self.value()?,
        };
        Some(Comparison {
            selector,
            operator,
            negated,
            value,
        })
    }

    fn value_first(&mut self) -> Option<Comparison> {
        let value = self.value()?;
        let negated = !self.infix(&["in"]);
        if negated && !self.infix(&["not", "in"]) {
            return None;
        }
        Some(Comparison {
            selector: self.selector()?,
            operator: Operator::Contains,
            negated,
            value,
        })
    }

    fn operator(&mut self) -> Option<(Operator, bool)> {
        for (sign, negated) in [("==", false), ("!=", true)] {
            let found = self.attempt(|reader| {
                reader.blanks();
                let found = reader.literal(sign);
                reader.blanks();
                found.then_some((Operator::Equal, negated))
            });
            if found.is_some() {
                return found;
            }
        }
        if self.keywords(&["is", "empty"]) {
            return Some((Operator::IsEmpty, false));
        }
        if self.keywords(&["is", "not", "empty"]) {
            return Some((Operator::IsEmpty, true));
        }
        for (word, operator) in [
            ("contains", Operator::Contains),
            ("matches", Operator::Matches),
        ] {
            if self.infix(&[word]) {
                return Some((operator, false));
            }
            if self.infix(&["not", word]) {
                return Some((operator, true));
            }
        }
        None
    }

    /// `Service.Meta.zone` or `Service.Meta["zone"]`.
    fn selector(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.word()?];
        loop {
            let next = self.attempt(|reader| match reader.literal(".") {
                true => reader.word(),
                false => reader.index(),
            });
            match next {
                Some(part) => parts.push(part),
                None => return Some(parts),
            }
        }
    }

    fn index(&mut self) -> Option<String> {
        let opened = self.literal("[");
        self.blanks();
        let key = opened.then(|| self.quoted()).flatten()?;
        self.blanks();
        self.literal("]").then_some(key)
    }

    fn word(&mut self) -> Option<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = rest.get(..end)?;
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        self.skip(end);
        Some(word.to_owned())
    }

    fn value(&mut self) -> Option<String> {
        self.selector()
            .map(|parts| parts.join("."))
            .or_else(|| self.attempt(Self::number))
            .or_else(|| self.quoted())
    }

    /// No zeros before the number, and nothing behind it but white space, the end or a parenthesis.
    fn number(&mut self) -> Option<String> {
        let start = self.at;
        self.literal("-");
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        self.attempt(|reader| reader.literal(".").then(|| reader.digits()).flatten());
        let rest = self.rest();
        let ends = rest.is_empty() || rest.starts_with(BLANK) || rest.starts_with(')');
        ends.then(|| self.text.get(start..self.at).map(Into::into))?
    }

    fn digits(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        self.skip(end);
        rest.get(..end).filter(|digits| !digits.is_empty())
    }

    /// A text; in double quotes a backslash means what it means in JSON, but for a quote.
    fn quoted(&mut self) -> Option<String> {
        self.attempt(|reader| {
            let rest = reader.rest();
            let quote = rest.chars().next().filter(|c| ['"', '`'].contains(c))?;
            let end = rest.get(1..)?.find(quote)?;
            let inner = rest.get(1..=end)?;
            let text = match quote {
                '"' => serde_json::from_str(&format!("\"{inner}\"")).ok()?,
                _ => inner.replace('\r', ""),
            };
            reader.skip(end + 2);
            Some(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_consul_reads_is_read() {
        for text in [
            "not in Service",
            "not not Service==web",
            " Service == web ",
            "Service == \"a\\nb\"",
            "Service == `a\"b`",
            "Port == -0",
            "Service == 1.50",
            "Meta[ \"a\" ] == x",
            "Service == web[`a`]",
            "a_b in Tags",
            "is is empty",
            "not == web",
            "( Service == web )",
            "not ( Service == web)",
            "a not  in Tags",
            "Tags is not  empty or Port != 1 and not (Tags not contains a)",
        ] {
            assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn what_consul_does_not_read_is_refused() {
        for text in [
            "",
            " ",
            "a",
            "a ==",
            "a == b c",
            "not(Service==web)",
            "(Service == web)and (Service==web)",
            "Service == web and(Port == 80)",
            "Service==web and",
            "Service==web or ",
            "Service == \"a\\\"b\"",
            "Port == 0x50",
            "Port == 080",
            "Port == 10.0.0.1",
            "Port == -",
            "Meta.0 == x",
            "_b in Tags",
            "(((",
            "a == b)",
            "Service == (web)",
            "Service == 'web'",
            "\"web\" in \"x\"",
            "Service not == web",
            "Service == web#",
            "Service == web-1",
            "Tags IS EMPTY",
            "a NOT IN Tags",
            "a == b AND c == d",
            "Tags isnot empty",
            "\"x",
            "a == é",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
        assert!(parse(&"not ".repeat(10_000)).is_err());
    }

    proptest! {
        /// No text panics.
        #[test]
        fn no_text_panics(text in "[a-zA-Z .()\\[\\]\"`=!\\\\é]{0,60}") {
            let _ = parse(&text);
        }
    }
}
