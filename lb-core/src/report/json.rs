//! Just the JSON of load reports: an object of numbers, with objects of numbers
//! one level down, and nothing else.

use super::text::{ReportError, number};

/// Told each figure: its name (`utilization.gpu` for the level below) and value.
type Take<'a> = dyn FnMut(&str, f64) -> Result<(), ReportError> + 'a;

/// Reads one object and nothing after it.
pub(super) fn read(text: &str, take: &mut Take<'_>) -> Result<(), ReportError> {
    let mut rest = text.trim_start();
    members(&mut rest, "", take)?;
    rest.trim_start()
        .is_empty()
        .then_some(())
        .ok_or(ReportError::Malformed)
}

/// The members of one object. It cannot recurse deeper than one level.
fn members(rest: &mut &str, group: &str, take: &mut Take<'_>) -> Result<(), ReportError> {
    expect(rest, '{')?;
    if skip(rest, '}') {
        return Ok(());
    }
    loop {
        let name = string(rest)?;
        expect(rest, ':')?;
        if rest.trim_start().starts_with('{') {
            if !group.is_empty() {
                return Err(ReportError::Malformed);
            }
            members(rest, name, take)?;
        } else if group.is_empty() {
            take(snake(name), figure(rest)?)?;
        } else {
            take(&format!("{}.{name}", snake(group)), figure(rest)?)?;
        }
        if skip(rest, '}') {
            return Ok(());
        }
        expect(rest, ',')?;
    }
}

/// The names of protobuf's JSON form are the same figures.
fn snake(name: &str) -> &str {
    match name {
        "cpuUtilization" => "cpu_utilization",
        "memUtilization" => "mem_utilization",
        "applicationUtilization" => "application_utilization",
        "rpsFractional" => "rps_fractional",
        "namedMetrics" => "named_metrics",
        other => other,
    }
}

fn skip(rest: &mut &str, wanted: char) -> bool {
    let after = rest.trim_start().strip_prefix(wanted);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn expect(rest: &mut &str, wanted: char) -> Result<(), ReportError> {
    skip(rest, wanted)
        .then_some(())
        .ok_or(ReportError::Malformed)
}

/// A string without escapes: names of figures have none.
fn string<'a>(rest: &mut &'a str) -> Result<&'a str, ReportError> {
    expect(rest, '"')?;
    let (name, after) = rest.split_once('"').ok_or(ReportError::Malformed)?;
    if name.contains('\\') || name.contains(char::is_control) {
        return Err(ReportError::Malformed);
    }
    *rest = after;
    Ok(name)
}

fn figure(rest: &mut &str) -> Result<f64, ReportError> {
    let text = rest.trim_start();
    let end = text
        .find(|c: char| c == ',' || c == '}' || c.is_whitespace())
        .ok_or(ReportError::Malformed)?;
    *rest = &text[end..];
    number(&text[..end])
}
