//! Heads made of lines: what a fuzzer changes stays readable.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request};

/// `name: value` lines. What the typed maps refuse never reaches our rules.
pub fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.take(200) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..at]);
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// `METHOD target` and fields.
pub fn request(bytes: &[u8]) -> Option<request::Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let at = first.iter().position(|byte| *byte == b' ')?;
    let mut head = Request::new(()).into_parts().0;
    head.method = Method::from_bytes(&first[..at]).ok()?;
    head.uri = Uri::try_from(first[at + 1..].trim_ascii()).ok()?;
    head.headers = fields(lines);
    Some(head)
}
