//! An answer's head is read the same whatever follows it, never half, and never
//! with two lengths.

use bytes::Bytes;
use http::Method;
use lb_core::proxy::fuzzing::answer;

pub fn run(data: &[u8]) {
    let Some((options, head)) = data.split_first() else {
        return;
    };
    let method = if options & 1 == 0 {
        Method::GET
    } else {
        Method::HEAD
    };
    let bytes = Bytes::copy_from_slice(head);
    let Ok(Some((length, status, fields))) = answer(&bytes, &method) else {
        return;
    };
    assert!(length <= bytes.len());
    let exact = answer(&bytes.slice(..length), &method);
    assert_eq!(exact, Ok(Some((length, status, fields.clone()))));
    let short = answer(&bytes.slice(..length - 1), &method);
    assert!(matches!(short, Ok(None) | Err(())), "half a head is whole");
    assert!(fields.get_all("content-length").iter().count() <= 1);
    assert!(!fields.contains_key("transfer-encoding"));
    for value in fields.values() {
        assert!(
            value
                .as_bytes()
                .iter()
                .all(|byte| *byte >= b' ' || *byte == b'\t')
        );
    }
}
