//! Replays recorded facts about Consul's HTTP interface against any server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{Answer, send};

/// Time that a case's limits may be missed by.
const SLACK_MS: u128 = 5;

/// A server to judge, and the token for cases that need one.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) port: u16,
    pub(crate) token: Option<String>,
}

impl Replay {
    /// What is wrong with the server's answers, case by case; empty if nothing is.
    pub(crate) fn failures(&self, cases: &Value) -> (usize, Vec<String>) {
        let cases = cases["cases"].as_array().expect("a list of cases");
        let fitting = cases
            .iter()
            .filter(|case| case["requires"].is_null() == self.token.is_none());
        let mut failures = Vec::new();
        let mut count = 0;
        for case in fitting {
            count += 1;
            let wrong = self.run(case);
            if !wrong.is_empty() {
                failures.push(format!("{}: {}", case["name"], wrong.join("; ")));
            }
        }
        (count, failures)
    }

    fn run(&self, case: &Value) -> Vec<String> {
        self.clean();
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        if let Some(token) = &self.token {
            variables.insert("master".into(), token.clone());
        }
        for step in list(&case["setup"]) {
            if let Some(pause) = step["sleep_ms"].as_u64() {
                // The recorded pause is part of the case: the server's own time passes.
                std::thread::sleep(Duration::from_millis(pause));
                continue;
            }
            let answer = self.send(step, &variables);
            if answer.status >= 300 {
                return vec![format!(
                    "setup {} -> {} {}",
                    step["path"], answer.status, answer.body
                )];
            }
            for (variable, header) in fields(&step["capture"]) {
                let value = answer.headers.get(&text(header).to_lowercase()).cloned();
                variables.insert(variable.clone(), value.unwrap_or_default());
            }
            for (variable, field) in fields(&step["capture_json"]) {
                variables.insert(
                    variable.clone(),
                    text(&answer.json()[text(field)]).to_owned(),
                );
            }
        }
        let (answer, took) = self.main_request(case, &variables);
        let wrong = judge(&case["expect"], &answer, took, &variables);
        for step in list(&case["teardown"]) {
            self.send(step, &variables);
        }
        wrong
    }

    /// The request in question, with the others that are sent while it waits.
    fn main_request(
        &self,
        case: &Value,
        variables: &BTreeMap<String, String>,
    ) -> (Answer, Duration) {
        std::thread::scope(|scope| {
            for during in list(&case["during"]) {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(
                        during["after_ms"].as_u64().unwrap_or(0),
                    ));
                    self.send(&during["request"], variables);
                });
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a real server answers in real time"
            )]
            let begun = Instant::now();
            let answer = self.send(&case["request"], variables);
            #[expect(clippy::disallowed_methods, reason = "as above")]
            let took = begun.elapsed();
            (answer, took)
        })
    }

    fn send(&self, step: &Value, variables: &BTreeMap<String, String>) -> Answer {
        let mut path = text(&step["path"]).to_owned();
        if let Some(query) = step["query"].as_str() {
            path += &format!("?{}", filled(query, variables));
        }
        let headers: Vec<_> = fields(&step["headers"])
            .map(|(name, value)| (name.clone(), filled(text(value), variables)))
            .collect();
        let body = match &step["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        send(self.port, text(&step["method"]), &path, &headers, &body)
    }

    /// Removes every service and check.
    fn clean(&self) {
        let headers: Vec<_> = self
            .token
            .iter()
            .map(|token| ("X-Consul-Token".to_owned(), token.clone()))
            .collect();
        for (list, path) in [
            ("/v1/agent/services", "/v1/agent/service/deregister/"),
            ("/v1/agent/checks", "/v1/agent/check/deregister/"),
        ] {
            let found = send(self.port, "GET", list, &headers, "").json();
            for (id, _) in fields(&found) {
                let id = id
                    .replace('%', "%25")
                    .replace(' ', "%20")
                    .replace('/', "%2F");
                send(self.port, "PUT", &format!("{path}{id}"), &headers, "");
            }
        }
    }
}

fn judge(
    expect: &Value,
    answer: &Answer,
    took: Duration,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut wrong = Wrong::default();
    wrong.unless(
        expect["status"] == answer.status,
        format!("status {}", answer.status),
    );
    judge_body(expect, answer, variables, &mut wrong);
    judge_headers(expect, answer, variables, &mut wrong);
    let limit = |name: &str| expect["elapsed_ms"][name].as_u64().map(u128::from);
    let took = took.as_millis();
    wrong.unless(
        took + SLACK_MS >= limit("min").unwrap_or(0),
        format!("only {took} ms"),
    );
    wrong.unless(
        took <= limit("max").unwrap_or(u128::MAX),
        format!("{took} ms"),
    );
    wrong.0
}

/// What did not hold, in words.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, what: String) {
        if !holds {
            self.0.push(what);
        }
    }
}

fn judge_body(
    expect: &Value,
    answer: &Answer,
    variables: &BTreeMap<String, String>,
    wrong: &mut Wrong,
) {
    let json = answer.json();
    let body = answer.body.trim();
    if let Some(text) = expect["body_text"].as_str() {
        wrong.unless(body == text, format!("body {body}"));
    }
    if let Some(part) = expect["body_contains"].as_str() {
        wrong.unless(body.contains(part), format!("body {body}"));
    }
    if !expect["json_equals"].is_null() {
        wrong.unless(json == expect["json_equals"], format!("json {json}"));
    }
    wrong.unless(
        expect["json_subset"].is_null() || matches(&expect["json_subset"], &json, variables),
        format!("subset {json}"),
    );
    if let Some(length) = expect["json_len"].as_u64() {
        let found =
            json.as_array().map_or(0, Vec::len) + json.as_object().map_or(0, serde_json::Map::len);
        wrong.unless(found as u64 == length, format!("length {found}"));
    }
    if let Some(keys) = expect["json_keys"].as_array() {
        let found: Vec<Value> = fields(&json).map(|(key, _)| key.as_str().into()).collect();
        wrong.unless(found == *keys, format!("keys {found:?}"));
    }
    for key in list(&expect["json_absent_keys"]) {
        wrong.unless(json.get(text(key)).is_none(), format!("present {key}"));
    }
}

fn judge_headers(
    expect: &Value,
    answer: &Answer,
    variables: &BTreeMap<String, String>,
    wrong: &mut Wrong,
) {
    for (name, value) in fields(&expect["headers"]) {
        let found = answer
            .headers
            .get(&name.to_lowercase())
            .map(|found| Value::from(found.as_str()));
        let holds = found
            .as_ref()
            .is_some_and(|found| matches(value, found, variables));
        wrong.unless(holds, format!("header {name} is {found:?}"));
    }
    for name in list(&expect["headers_absent"]) {
        wrong.unless(
            !answer.headers.contains_key(&text(name).to_lowercase()),
            format!("header {name}"),
        );
    }
}

/// Objects match as subsets, lists if every expected element is found, `~` begins a pattern.
fn matches(expected: &Value, found: &Value, variables: &BTreeMap<String, String>) -> bool {
    match (expected, found) {
        (Value::String(pattern), found) => {
            let pattern = filled(pattern, variables);
            let plain = found.as_str().map_or_else(|| found.to_string(), Into::into);
            match pattern.strip_prefix('~') {
                Some(pattern) => fits(pattern, &plain),
                None => found.as_str() == Some(&pattern),
            }
        }
        (Value::Object(expected), Value::Object(found)) => expected.iter().all(|(key, value)| {
            found
                .get(key)
                .is_some_and(|found| matches(value, found, variables))
        }),
        (Value::Array(expected), Value::Array(found)) => {
            let scalar = expected
                .iter()
                .all(|one| !one.is_object() && !one.is_array());
            (!scalar || expected.len() == found.len())
                && expected
                    .iter()
                    .all(|one| found.iter().any(|found| matches(one, found, variables)))
        }
        (expected, found) => expected == found,
    }
}

/// The few patterns that the recorded facts use: `.+`, alternatives, and comparisons of numbers.
fn fits(pattern: &str, text: &str) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    if let Some(limit) = pattern.strip_prefix("greater:") {
        return number(text) > number(limit);
    }
    if let Some(limit) = pattern.strip_prefix("less:") {
        return number(text).is_some() && number(text) < number(limit);
    }
    pattern.split('|').any(|pattern| {
        if pattern == ".+" {
            !text.is_empty()
        } else {
            pattern == text
        }
    })
}

fn filled(text: &str, variables: &BTreeMap<String, String>) -> String {
    variables
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
