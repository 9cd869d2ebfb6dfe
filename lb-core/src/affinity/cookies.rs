//! Reading one cookie out of the `Cookie` fields of a request, and writing it.

use http::{HeaderMap, header};
use memchr::memchr;

/// Cookies of our name that are tried, at most.
const MAX_CANDIDATES: usize = 4;
/// A longer value is not ours.
const MAX_VALUE_BYTES: usize = 512;

/// The plausible values of the cookie called `name`, in the order sent.
pub(crate) fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|field| pairs(field.as_bytes()))
        .filter_map(move |pair| {
            let value = pair
                .trim_ascii()
                .strip_prefix(name.as_bytes())?
                .strip_prefix(b"=")?;
            Some(
                value
                    .strip_prefix(b"\"")
                    .and_then(|v| v.strip_suffix(b"\""))
                    .unwrap_or(value),
            )
        })
        .filter(|value| value.len() <= MAX_VALUE_BYTES)
        .take(MAX_CANDIDATES)
}

/// What stands between the semicolons of a field.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let field = rest.take()?;
        let Some(end) = memchr(b';', field) else {
            return Some(field);
        };
        rest = field.get(end + 1..);
        field.get(..end)
    })
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
