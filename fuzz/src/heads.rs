//! Whatever head a client sends, what leaves can be read in one way only, and means
//! the same in HTTP/2.

use http::Method;
use lb_core::proxy::fuzzing::{forward, is_normal_path, translate};

const OF_THE_HOP: [&str; 6] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "trailer",
    "http2-settings",
];

pub fn run(data: &[u8]) {
    let Some((options, text)) = data.split_first() else {
        return;
    };
    let Some(head) = crate::text::request(text) else {
        return;
    };
    let body = (options & 1 == 0).then_some(u64::from(options >> 2));
    let Some(out) = forward(&head, body, options & 2 != 0) else {
        return;
    };
    let mut slots = [httparse::EMPTY_HEADER; 512];
    let mut read = httparse::Request::new(&mut slots);
    let length = read.parse(&out).expect("what leaves is HTTP");
    assert_eq!(
        length,
        httparse::Status::Complete(out.len()),
        "one head and no more"
    );
    let count = |name: &str| {
        let named = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        read.headers.iter().filter(named).count()
    };
    assert_eq!(count("host"), 1);
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    assert!(OF_THE_HOP.iter().all(|name| count(name) == 0));
    if head.method == Method::OPTIONS && head.headers.contains_key("max-forwards") {
        let mut fields = read.headers.iter();
        let left = fields.find(|field| field.name == "max-forwards");
        // `Connection` may not take it away.
        let left = std::str::from_utf8(left.expect("it was counted").value);
        let left = left.ok().and_then(|left| left.parse::<u32>().ok());
        assert!(left.is_some() && count("max-forwards") == 1);
    }
    let clean = |byte: &u8| *byte >= b' ' || matches!(byte, b'\r' | b'\n' | b'\t');
    assert!(out.iter().all(clean), "a control byte leaves");
    let again = translate(&out).expect("HTTP/2 says the same");
    assert_eq!(
        again.uri().path_and_query().map(|t| t.as_str()),
        read.path.map(|path| {
            // HTTP/2 knows no empty path.
            if path.is_empty() { "/" } else { path }
        })
    );
    assert!(!again.headers().contains_key("connection"));
    let path = head.uri.path();
    assert!(!(is_normal_path(path) && path.split('/').any(|part| part == "..")));
}
