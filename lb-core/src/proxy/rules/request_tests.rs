use http::Request;
use proptest::prelude::*;

use super::*;

const NO_BODY: BodyHint = BodyHint {
    ended: true,
    exact: Some(0),
};
const UNKNOWN: BodyHint = BodyHint {
    ended: false,
    exact: None,
};

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

fn decide(method: &str, target: &str, fields: &[(&str, &str)]) -> Result<Plan, ProxyError> {
    plan(
        &head(method, target, fields),
        UNKNOWN,
        false,
        &Limits::default(),
    )
}

#[test]
fn a_plain_get_has_no_body() {
    let plan = plan(&head("GET", "/", &[]), NO_BODY, false, &Limits::default()).unwrap();
    assert_eq!(plan.framing, Framing::Empty);
    assert!(!plan.tunnel);
}

#[test]
fn ambiguous_framing_is_refused() {
    let cases: [&[(&str, &str)]; 9] = [
        &[("content-length", "3"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked"), ("content-length", "3")],
        &[("content-length", "3"), ("content-length", "3")],
        &[("content-length", "3, 3")],
        &[("content-length", "+3")],
        &[("content-length", "")],
        &[("content-length", "99999999999999999999")],
        &[("transfer-encoding", "chunked, identity")],
        &[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
    ];
    for fields in cases {
        assert_eq!(
            decide("POST", "/", fields),
            Err(ProxyError::AmbiguousFraming),
            "{fields:?}"
        );
    }
}

#[test]
fn transfer_codings_other_than_chunked_are_not_implemented() {
    for coding in [
        "xchunked",
        "\"chunked\"",
        "gzip, chunked",
        "identity, chunked",
        "gzip",
    ] {
        let plan = decide("POST", "/", &[("transfer-encoding", coding)]);
        assert_eq!(plan, Err(ProxyError::UnsupportedTransferCoding), "{coding}");
    }
    let twice = decide("POST", "/", &[("transfer-encoding", "chunked, chunked")]);
    assert_eq!(twice, Err(ProxyError::AmbiguousFraming));
}

#[test]
fn a_chunked_body_needs_http_1_1() {
    let mut head = head("POST", "/", &[("transfer-encoding", "chunked")]);
    for version in [Version::HTTP_10, Version::HTTP_2] {
        head.version = version;
        let plan = plan(&head, UNKNOWN, false, &Limits::default());
        assert_eq!(plan, Err(ProxyError::AmbiguousFraming));
    }
}

#[test]
fn a_length_that_contradicts_the_body_is_refused() {
    let head = head("POST", "/", &[("content-length", "3")]);
    let four = BodyHint {
        ended: false,
        exact: Some(4),
    };
    let plan = plan(&head, four, false, &Limits::default());
    assert_eq!(plan, Err(ProxyError::AmbiguousFraming));
}

#[test]
fn connect_and_trace_are_not_proxied() {
    assert_eq!(decide("TRACE", "/", &[]), Err(ProxyError::MethodNotAllowed));
    assert_eq!(
        decide("CONNECT", "a:80", &[]),
        Err(ProxyError::MethodNotAllowed)
    );
    assert!(decide("OPTIONS", "*", &[]).is_ok());
    assert_eq!(decide("GET", "*", &[]), Err(ProxyError::InvalidTarget));
}

#[test]
fn limits_have_their_own_answers() {
    let long = format!("/{}", "a".repeat(8 << 10));
    assert_eq!(decide("GET", &long, &[]), Err(ProxyError::TargetTooLong));
    let large = "a".repeat(32 << 10);
    assert_eq!(
        decide("GET", "/", &[("x-a", &large)]),
        Err(ProxyError::HeadersTooLarge)
    );
    let many = vec![("x-a", "1"); 129];
    assert_eq!(decide("GET", "/", &many), Err(ProxyError::HeadersTooLarge));
    let limits = Limits::default().body_bytes(Some(10));
    let head = head("POST", "/", &[("content-length", "11")]);
    assert_eq!(
        plan(&head, UNKNOWN, false, &limits),
        Err(ProxyError::BodyTooLarge)
    );
}

#[test]
fn only_one_expectation_is_known() {
    assert!(
        decide("POST", "/", &[("expect", "100-Continue")])
            .unwrap()
            .expects_continue
    );
    assert_eq!(
        decide("POST", "/", &[("expect", "junk")]),
        Err(ProxyError::ExpectationFailed)
    );
}

#[test]
fn a_handshake_is_a_get_without_a_body() {
    let offer = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
    ];
    let get = plan(
        &head("GET", "/", &offer),
        NO_BODY,
        false,
        &Limits::default(),
    );
    assert!(get.unwrap().tunnel);
    assert_eq!(decide("POST", "/", &offer), Err(ProxyError::InvalidUpgrade));
    let with_body = [offer[0], offer[1], ("content-length", "5")];
    assert_eq!(
        decide("GET", "/", &with_body),
        Err(ProxyError::InvalidUpgrade)
    );
    let unannounced = plan(
        &head("GET", "/", &offer[1..]),
        NO_BODY,
        false,
        &Limits::default(),
    );
    assert!(!unannounced.unwrap().tunnel);
}

proptest! {
    /// Whatever the fields say: a plan never keeps both ways of framing, and a
    /// length is one run of digits.
    #[test]
    fn a_plan_is_never_ambiguous(
        lengths in prop::collection::vec("[0-9+,x -]{0,22}", 0..3),
        codings in prop::collection::vec("[a-z, ]{0,12}|chunked", 0..3),
    ) {
        let fields: Vec<_> = lengths.iter().map(|value| ("content-length", value.as_str()))
            .chain(codings.iter().map(|value| ("transfer-encoding", value.as_str()))).collect();
        match decide("POST", "/", &fields).map(|plan| plan.framing) {
            Ok(Framing::Length(length)) => {
                prop_assert!(codings.is_empty() && lengths.len() == 1);
                prop_assert_eq!(lengths[0].trim().parse::<u64>().unwrap(), length);
            }
            Ok(Framing::Chunked) => prop_assert!(lengths.is_empty()),
            Ok(other) => prop_assert!(false, "{other:?}"),
            Err(refusal) => prop_assert!(refusal.is_client_fault()),
        }
    }
}
