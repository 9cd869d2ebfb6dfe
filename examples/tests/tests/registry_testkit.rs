//! The testkit's etcd keeps what it is told.

use std::process::Command;

use testkit::clients::output;
use testkit::etcd::Etcd;

#[test]
fn etcd_answers_with_what_was_put() {
    let etcd = Etcd::start().expect("an etcd");
    let call = |path: &str, body: &str| {
        let url = format!("{}/v3/kv/{path}", etcd.url());
        output(Command::new("curl").args(["-sS", "--max-time", "5", "-d", body, &url]))
            .expect("it answers")
    };
    // Keys and values travel in base64: "a" and "b".
    call("put", r#"{"key": "YQ==", "value": "Yg=="}"#);
    assert!(call("range", r#"{"key": "YQ=="}"#).contains(r#""value":"Yg==""#));
}
