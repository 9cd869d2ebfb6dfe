//! No cookie but a signed one binds, wherever it stands among others.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use lb_core::{Affinity, Pool};

/// An affinity, the name of an endpoint, and a cookie that binds to it.
static BOUND: LazyLock<(Affinity, String, HeaderValue)> = LazyLock::new(|| {
    let affinity = Affinity::cookie("lb", "a secret of sixteen bytes");
    let pool = Pool::builder("fuzz").endpoints(["http://127.0.0.1:1"]);
    let pool = pool.build().expect("one endpoint");
    let endpoint = &pool.endpoints()[0];
    let (_, set) = affinity.bind(endpoint, 0, false).expect("a name that fits");
    let pair = set
        .to_str()
        .expect("text")
        .split(';')
        .next()
        .expect("a pair");
    let pair = HeaderValue::from_str(pair).expect("a value");
    (affinity, endpoint.id().to_string(), pair)
});

pub fn run(data: &[u8]) {
    let (affinity, id, signed) = &*BOUND;
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let mut fields = HeaderMap::new();
    fields.append("cookie", value.clone());
    // Nobody guesses a signature of 128 bits.
    assert_eq!(affinity.binding(&fields, 0), None);
    let mut fields = HeaderMap::new();
    fields.append("cookie", signed.clone());
    fields.append("cookie", value);
    let bound = affinity.binding(&fields, 0).expect("the first is valid");
    assert_eq!(bound.endpoint_id().as_str(), id);
}
