//! Reading one cookie out of the `Cookie` fields of a request, and writing it.

use http::{HeaderMap, header};
use memchr::memchr;

/// Cookies of our name that are tried, at most.
const MAX_CANDIDATES: usize = 4;
/// A longer value is not ours.
const MAX_VALUE_BYTES: usize = 512;

/// What `read` makes of the first plausible value of the cookie called `name` that it
/// accepts, in the order sent.
#[inline]
pub(super) fn find<T>(
    headers: &HeaderMap,
    name: &str,
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let mut left = MAX_CANDIDATES;
    for field in headers.get_all(header::COOKIE) {
        let mut rest = Some(field.as_bytes());
        while let Some(pairs) = rest {
            let pair;
            (pair, rest) = first_pair(pairs);
            let Some(value) = value_of(pair, name) else {
                continue;
            };
            let found = read(value);
            left -= 1;
            if found.is_some() || left == 0 {
                return found;
            }
        }
    }
    None
}

/// What stands before the first semicolon of a field, and what follows.
#[inline]
fn first_pair(field: &[u8]) -> (&[u8], Option<&[u8]>) {
    let split = memchr(b';', field).and_then(|end| field.split_at_checked(end));
    split.map_or((field, None), |(pair, rest)| (pair, rest.get(1..)))
}

/// The value of a pair of that name, if it may be ours.
#[inline]
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let pair = pair.trim_ascii();
    let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    let unquoted = value.strip_prefix(b"\"");
    let value = unquoted
        .and_then(|value| value.strip_suffix(b"\""))
        .unwrap_or(value);
    (value.len() <= MAX_VALUE_BYTES).then_some(value)
}

/// A token (RFC 6265, 4.1.1) of 1 to 64 characters.
pub(crate) fn is_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(token)
}

/// The `Set-Cookie` value for one session.
pub(crate) fn set(name: &str, value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
}
