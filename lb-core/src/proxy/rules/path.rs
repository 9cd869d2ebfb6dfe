//! The form of a path that routing and authorisation may trust.

/// `true` when every reader of this path agrees on what it names: no `.` or
/// `..` segment, no empty segment but the last, no escape that hides a slash, a
/// backslash, a dot or a control byte, and no broken escape.
///
/// A path is forwarded exactly as it was sent. A gateway that decides by path
/// refuses a path that is not in this form, because an endpoint may resolve it
/// to one the gateway would have refused.
///
/// ```
/// use lb_core::proxy::is_normal_path;
///
/// assert!(is_normal_path("/simulations/42"));
/// assert!(is_normal_path("/search/caf%C3%A9/"));
/// assert!(!is_normal_path("/public/../admin"));
/// assert!(!is_normal_path("/public/%2e%2e/admin"));
/// assert!(!is_normal_path("/public%2fadmin"));
/// assert!(!is_normal_path("//admin"));
/// ```
#[must_use]
pub fn is_normal_path(path: &str) -> bool {
    if path == "*" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if !is_normal_segment(segment.as_bytes(), last) {
            return false;
        }
    }
    true
}

fn is_normal_segment(segment: &[u8], last: bool) -> bool {
    if segment.is_empty() {
        return last;
    }
    if matches!(segment, b"." | b"..") || segment.contains(&b'\\') {
        return false;
    }
    let mut bytes = segment.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            continue;
        }
        let high = bytes.next().and_then(|byte| hex(*byte));
        let low = bytes.next().and_then(|byte| hex(*byte));
        let (Some(high), Some(low)) = (high, low) else {
            return false;
        };
        let meant = high * 16 + low;
        if matches!(meant, b'/' | b'\\' | b'.' | b'%' | 0..=0x1f | 0x7f) {
            return false;
        }
    }
    true
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_dots_slashes_and_broken_escapes_are_not_normal() {
        let bad = [
            "/a/./b",
            "/a/..",
            "/%2E%2e/x",
            "/a%5cb",
            "/a\\b",
            "/%",
            "/%2",
            "/%zz",
            "/%00",
        ];
        for path in bad.into_iter().chain(["", "a", "/a//b", "/%252e%252e/x"]) {
            assert!(!is_normal_path(path), "{path}");
        }
    }

    proptest! {
        /// What is called normal keeps its depth under the usual resolution.
        #[test]
        fn a_normal_path_resolves_to_itself(path in "(/[a-c.%2eEfF]{0,6}){1,5}") {
            if is_normal_path(&path) {
                let resolved = resolve(&path);
                prop_assert_eq!(resolved, path);
            }
        }
    }

    /// Unescapes once, then resolves dot segments (RFC 3986, 5.2.4).
    fn resolve(path: &str) -> String {
        let text = path
            .replace("%2e", ".")
            .replace("%2E", ".")
            .replace("%2f", "/");
        let text = text.replace("%2F", "/");
        let mut out: Vec<&str> = Vec::new();
        for segment in text.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(out.pop()),
                other => out.push(other),
            }
        }
        out.iter().map(|segment| format!("/{segment}")).collect()
    }
}
