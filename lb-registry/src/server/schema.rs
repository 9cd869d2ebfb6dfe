//! Field names as clients may write them: any letter case, with or without underscores.
//!
//! Python clients send `id`, others `ID` or `Id`, some `enable_tag_override`. The decoder is strict all the
//! same: a field that does not exist is an error, because a misspelt check must not be ignored.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::reply::Failure;

/// A JSON object with a fixed set of fields.
pub(super) trait Schema: DeserializeOwned + Default {
    /// Every field, as the struct spells it.
    const FIELDS: &'static [&'static str];
    /// Whether a field that does not exist is an error.
    const STRICT: bool = true;
}

pub(super) fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::bad(format!("Request decode failed: {why}"))
}

/// Reads a body. What follows the first JSON value is ignored and `null` is the empty object, as in Go.
pub(super) fn read<T: Schema>(body: &[u8]) -> Result<T, Failure> {
    use serde::Deserialize;
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = Value::deserialize(&mut json).map_err(failed)?;
    decode(value).map_err(failed)
}

pub(super) fn decode<T: Schema>(value: Value) -> Result<T, String> {
    let fields = match value {
        Value::Null => return Ok(T::default()),
        Value::Object(fields) => fields,
        other => {
            return Err(format!(
                "json: cannot unmarshal {} into an object",
                kind(&other)
            ));
        }
    };
    let mut renamed = Map::new();
    for (name, value) in fields {
        let plain = name.replace('_', "");
        let known = T::FIELDS
            .iter()
            .find(|field| field.eq_ignore_ascii_case(&plain));
        let Some(field) = known else {
            if T::STRICT {
                return Err(format!("json: unknown field {name:?}"));
            }
            continue;
        };
        // Go leaves a field alone that is null.
        if !value.is_null() {
            renamed.insert((*field).to_owned(), value);
        }
    }
    serde_json::from_value(Value::Object(renamed)).map_err(|error| {
        let text = error.to_string();
        // A bad duration is not a fault of the JSON, and Go says so.
        if text.starts_with("time: ") {
            text
        } else {
            format!("json: {text}")
        }
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
