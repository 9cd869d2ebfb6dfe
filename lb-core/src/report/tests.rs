use http::HeaderMap;
use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<LoadReport, ReportError> {
    LoadReport::parse(text.as_bytes())
}

#[test]
fn all_forms_that_envoy_reads_say_the_same() {
    let expected = LoadReport {
        cpu_utilization: Some(0.5),
        rps_fractional: Some(100.0),
        ..LoadReport::default()
    }
    .utilization("gpu", 0.25)
    .named_metric("active_work", 3.0);
    let forms = [
        "TEXT cpu_utilization=0.5,rps_fractional=100,utilization.gpu=0.25,named_metrics.active_work=3",
        "TEXT cpu_utilization:0.5, rps_fractional:1e2, utilization.gpu:0.25, named_metrics.active_work:3",
        r#"JSON {"cpu_utilization": 0.5, "rps_fractional": 100, "utilization": {"gpu": 0.25}, "named_metrics": {"active_work": 3}}"#,
        r#"JSON {"cpuUtilization":0.5,"rpsFractional":100.0,"utilization":{"gpu":0.25},"namedMetrics":{"active_work":3}}"#,
    ];
    for form in forms {
        assert_eq!(parse(form).as_ref(), Ok(&expected), "{form}");
    }
    assert_eq!(expected.header_value().unwrap(), forms[0]);
}

#[test]
fn what_protobuf_and_http_allow_is_read() {
    let plain = LoadReport {
        eps: Some(1.5),
        ..LoadReport::default()
    };
    let same = [
        "TEXT eps=1.5,",
        "TEXT ,eps=1.5, ,",
        r#"JSON {"eps":"1.5"}"#,
        r#"JSON {"eps" : "15e-1" , "utilization" : null }"#,
        r#"JSON {"cpuUtilization":null,"eps":1.5,"mem_utilization":null}"#,
        r#"JSON {"\u0065p\u0073":1.5}"#,
    ];
    for form in same {
        assert_eq!(parse(form).as_ref(), Ok(&plain), "{form}");
    }
    let form = r#"JSON {"namedMetrics":{"\ud83d\ude80 \"a\/b\\":2},"utilization":{}}"#;
    let named = LoadReport::default().named_metric("\u{1F680} \"a/b\\", 2.0);
    assert_eq!(parse(form), Ok(named));
}

#[test]
fn what_cannot_be_believed_spoils_the_report() {
    let cases = [
        ("cpu_utilization=0.5", ReportError::Form),
        ("", ReportError::Form),
        ("BIN AAAA", ReportError::Form),
        ("TEXT ", ReportError::Malformed),
        ("TEXT cpu_utilization", ReportError::Malformed),
        ("TEXT =1", ReportError::Malformed),
        ("TEXT named_metrics.=1", ReportError::Malformed),
        ("TEXT utilization.=1", ReportError::Malformed),
        ("TEXT ,,", ReportError::Malformed),
        ("TEXT cpu_utilization=0x10", ReportError::Malformed),
        ("TEXT cpu_utilization=NaN", ReportError::Range),
        ("TEXT cpu_utilization=inf", ReportError::Range),
        ("TEXT cpu_utilization=1e999", ReportError::Range),
        ("TEXT cpu_utilization=-0.1", ReportError::Range),
        ("TEXT cpu_utilization=5000", ReportError::Range),
        ("TEXT mem_utilization=1.5", ReportError::Range),
        ("TEXT utilization.gpu=2", ReportError::Range),
        ("TEXT rps_fractional=-1", ReportError::Range),
        ("TEXT named_metrics.active_work=-1", ReportError::Range),
        ("TEXT eps=1,eps=1", ReportError::Twice),
        ("TEXT utilization.a=1,utilization.a=1", ReportError::Twice),
        ("JSON [1]", ReportError::Malformed),
        (r#"JSON {"eps":1"#, ReportError::Malformed),
        (r#"JSON {"eps":1,}"#, ReportError::Malformed),
        (r#"JSON {"eps":1} x"#, ReportError::Malformed),
        (r#"JSON {"utilization":{"a":null}}"#, ReportError::Malformed),
        (r#"JSON {"eps":nil}"#, ReportError::Malformed),
        (r#"JSON {"eps":"many"}"#, ReportError::Malformed),
        (r#"JSON {"eps":""}"#, ReportError::Malformed),
        (r#"JSON {"eps":"NaN"}"#, ReportError::Range),
        (r#"JSON {"eps":"Infinity"}"#, ReportError::Range),
        (r#"JSON {"eps\":1}"#, ReportError::Malformed),
        (r#"JSON {"\eps":1}"#, ReportError::Malformed),
        (r#"JSON {"\u00":1}"#, ReportError::Malformed),
        (r#"JSON {"\u+0e1":1}"#, ReportError::Malformed),
        (r#"JSON {"\ud83d":1}"#, ReportError::Malformed),
        (r#"JSON {"\ude80\ud83d":1}"#, ReportError::Malformed),
        (r#"JSON {"a\nb":1}"#, ReportError::Malformed),
        (
            r#"JSON {"utilization":{"a":{"b":1}}}"#,
            ReportError::Malformed,
        ),
        (r#"JSON {"eps":1,"eps":2}"#, ReportError::Twice),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text), Err(expected), "{text}");
    }
    let long = format!("TEXT eps=1,{}", "a=1,".repeat(2_000));
    assert_eq!(parse(&long), Err(ReportError::TooLarge));
    let many = format!("TEXT eps=1{}", ",a=1".repeat(64));
    assert_eq!(parse(&many), Err(ReportError::TooLarge));
}

#[test]
fn two_reports_in_one_answer_are_none() {
    let mut headers = HeaderMap::new();
    assert_eq!(LoadReport::from_headers(&headers), Ok(None));
    headers.append(HEADER, "TEXT eps=1".parse().unwrap());
    assert_eq!(
        LoadReport::from_headers(&headers).unwrap().unwrap().eps,
        Some(1.0)
    );
    headers.append(HEADER, "TEXT eps=1".parse().unwrap());
    assert_eq!(LoadReport::from_headers(&headers), Err(ReportError::Form));
}

#[test]
fn an_empty_report_is_not_written() {
    assert_eq!(LoadReport::default().header_value(), None);
    let nonsense = LoadReport {
        cpu_utilization: Some(f64::NAN),
        ..LoadReport::default()
    };
    let nonsense = nonsense.named_metric("a,b=1", 1.0).named_metric("", 1.0);
    assert_eq!(nonsense.header_value(), None);
}

prop_compose! {
    fn any_report()(
        cpu in prop::option::of(0.0..1000.0),
        mem in prop::option::of(0.0..=1.0),
        rps in prop::option::of(0.0..1e9),
        shares in prop::collection::btree_map("[a-z_]{1,20}", 0.0..=1.0, 0..5),
        figures in prop::collection::btree_map("[a-zA-Z0-9_.-]{1,20}", 0.0..1e12, 0..5),
    ) -> LoadReport {
        LoadReport {
            cpu_utilization: cpu,
            mem_utilization: mem,
            application_utilization: cpu,
            rps_fractional: rps,
            eps: rps,
            utilization: shares,
            named_metrics: figures,
        }
    }
}

proptest! {
    /// What is written is read back, bit by bit.
    #[test]
    fn a_report_survives_the_trip(report in any_report()) {
        match report.header_value() {
            Some(value) => prop_assert_eq!(LoadReport::parse(value.as_bytes()), Ok(report)),
            None => prop_assert_eq!(report, LoadReport::default()),
        }
    }

    /// Names that JSON writes with escapes are read as they are meant.
    #[test]
    fn every_name_survives_json(name in "[^\\p{Cc}]{1,12}", value in 0.0..1e6) {
        let json = serde_json::json!({ "named_metrics": { name.as_str(): value } });
        let report = LoadReport::default().named_metric(name, value);
        prop_assert_eq!(parse(&format!("JSON {json}")), Ok(report));
    }

    /// Whatever comes: no panic, and nothing incredible gets in.
    #[test]
    fn noise_is_an_error_or_a_credible_report(
        form in prop::sample::select(vec!["TEXT ", "JSON ", "JSON {", ""]),
        noise in r#"[ -~]{0,300}|([a-z_.]{1,12}[=:][-+0-9.eE]{1,8},?){0,20}|("[a-z]{1,5}":[0-9{}.,]{1,5}){0,10}"#,
    ) {
        if let Ok(report) = parse(&format!("{form}{noise}")) {
            let loads = [report.cpu_utilization, report.application_utilization];
            prop_assert!(loads.iter().flatten().all(|load| (0.0..=1000.0).contains(load)));
            prop_assert!(report.utilization.values().all(|share| (0.0..=1.0).contains(share)));
            prop_assert!(report.named_metrics.values().all(|figure| figure.is_finite()));
        }
    }

    /// Arbitrary bytes are refused, never a panic.
    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
        let _ = LoadReport::parse(&bytes);
        let text = [b"TEXT ".as_slice(), &bytes].concat();
        let _ = LoadReport::parse(&text);
    }
}
