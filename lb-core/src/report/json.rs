//! Just the JSON of load reports, as protobuf writes it: an object of figures, with
//! objects of figures one level down, and nothing else. A figure is a number, or the
//! text of one; a field that is `null` is a field that is not there.

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
        if group.is_empty() {
            field(rest, &name, take)?;
        } else {
            // The values of a map are never null.
            let value = figure(rest)?.ok_or(ReportError::Malformed)?;
            take(&format!("{}.{name}", snake(group)), value)?;
        }
        if skip(rest, '}') {
            return Ok(());
        }
        expect(rest, ',')?;
    }
}

/// What stands after the name of a field.
fn field(rest: &mut &str, name: &str, take: &mut Take<'_>) -> Result<(), ReportError> {
    if rest.trim_start().starts_with('{') {
        return members(rest, name, take);
    }
    match figure(rest)? {
        Some(value) => take(snake(name), value),
        None => Ok(()),
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

/// A string. Control characters are part of no name, however they are written.
fn string(rest: &mut &str) -> Result<String, ReportError> {
    expect(rest, '"')?;
    let mut text = String::new();
    loop {
        let at = rest.find(['"', '\\']).ok_or(ReportError::Malformed)?;
        let (plain, after) = rest.split_at(at);
        text.push_str(plain);
        if let Some(after) = after.strip_prefix('"') {
            *rest = after;
            break;
        }
        *rest = &after[1..];
        text.push(escaped(rest).ok_or(ReportError::Malformed)?);
    }
    if text.contains(char::is_control) {
        return Err(ReportError::Malformed);
    }
    Ok(text)
}

/// What an escape stands for, after its backslash.
fn escaped(rest: &mut &str) -> Option<char> {
    let mut chars = rest.chars();
    let plain = match chars.next()? {
        plain @ ('"' | '\\' | '/') => plain,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            *rest = chars.as_str();
            return unicode(rest);
        }
        _ => return None,
    };
    *rest = chars.as_str();
    Some(plain)
}

/// A character in UTF-16: four hexadecimal digits, or twice that many.
fn unicode(rest: &mut &str) -> Option<char> {
    let first = unit(rest)?;
    let mut second = None;
    if (0xD800..0xDC00).contains(&first) {
        *rest = rest.strip_prefix("\\u")?;
        second = Some(unit(rest)?);
    }
    let units = std::iter::once(first).chain(second);
    char::decode_utf16(units).next()?.ok()
}

fn unit(rest: &mut &str) -> Option<u16> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
}

/// A number, bare or in quotes; nothing for `null`.
fn figure(rest: &mut &str) -> Result<Option<f64>, ReportError> {
    let text = rest.trim_start();
    if text.starts_with('"') {
        return number(&string(rest)?).map(Some);
    }
    let end = text
        .find(|c: char| c == ',' || c == '}' || c.is_whitespace())
        .ok_or(ReportError::Malformed)?;
    *rest = &text[end..];
    match &text[..end] {
        "null" => Ok(None),
        text => number(text).map(Some),
    }
}
