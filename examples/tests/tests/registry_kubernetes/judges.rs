//! Real clients judge the double: it lists, pages, watches and refuses in a way that they understand.

use std::process::Command;

use serde_json::{Value, json};
use testkit::clients;
use testkit::kubectl::Kubectl;

use super::double::Fault;
use super::{TOKEN, ready, serve, slice};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    let name = |item: &Value| {
        item["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    items.map(name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_lists_and_watches_the_double() {
    let served = serve().await;
    served.api.pages_of(1);
    for (name, service) in [("s1", "web"), ("s2", "web"), ("s3", "other")] {
        served.api.put(name, service, slice(&[("a", ready())]));
    }
    let judged = tokio::task::spawn_blocking(move || {
        let kubectl = Kubectl::new(&served.url, TOKEN, &served.authority).expect("a kubectl");
        let get = |words: &[&str]| kubectl.run(&[&["get", "endpointslices"], words].concat());
        let list = get(&["-l", "kubernetes.io/service-name=web", "-o", "json"]).expect("it lists");
        let list: Value = serde_json::from_str(&list).expect("it prints JSON");
        assert_eq!(names(&list), ["s1", "s2"]);
        served
            .api
            .fault(Fault::Refuse(http::StatusCode::TOO_MANY_REQUESTS));
        assert!(
            get(&["-o", "name"])
                .expect("it tries again")
                .contains("endpointslice.discovery.k8s.io/s3")
        );
        // A watch from now on, which ends by itself after two seconds.
        let api = served.api.clone();
        let changes = std::thread::spawn(move || {
            let watching = || api.asked().iter().any(|query| query.contains("watch"));
            assert!(
                testkit::wait::until(super::SOON, watching),
                "kubectl watches"
            );
            api.put("s4", "web", slice(&[("bb", ready())]));
            api.remove("s1");
            api.fault(Fault::End);
        });
        let seen =
            get(&["--watch-only", "--output-watch-events", "-o", "json"]).expect("it watches");
        changes.join().expect("the changes are made");
        let events: Vec<String> = serde_json::Deserializer::from_str(&seen)
            .into_iter::<Value>()
            .map_while(Result::ok)
            .map(|event| format!("{} {}", event["type"], event["object"]["metadata"]["name"]))
            .collect();
        assert_eq!(events, [r#""ADDED" "s4""#, r#""DELETED" "s1""#], "{seen}");
        served.api.only_token("another");
        let refused = get(&["-o", "name"]).expect_err("the token is not accepted any more");
        assert!(
            refused.to_string().contains("must be logged in"),
            "{refused}"
        );
    });
    judged.await.expect("the judge is content");
}

const PYTHON: &str = r#"
import sys, json
from kubernetes import client, watch
url, token, ca = sys.argv[1:]
c = client.Configuration()
c.host, c.ssl_ca_cert = url, ca
c.api_key = {"authorization": "Bearer " + token}
api = client.DiscoveryV1Api(client.ApiClient(c))
page = api.list_namespaced_endpoint_slice("default", limit=1)
got = [s.metadata.name for s in page.items]
while page.metadata._continue:
    page = api.list_namespaced_endpoint_slice("default", limit=1, _continue=page.metadata._continue)
    got += [s.metadata.name for s in page.items]
first = api.list_namespaced_endpoint_slice("default").items[0].endpoints[0]
events = []
w = watch.Watch()
for event in w.stream(api.list_namespaced_endpoint_slice, "default", resource_version="1",
                      allow_watch_bookmarks=True, timeout_seconds=2):
    events.append([event["type"], event["raw_object"]["metadata"]["resourceVersion"]])
gone = None
try:
    for event in watch.Watch().stream(api.list_namespaced_endpoint_slice, "default", resource_version="999", timeout_seconds=2):
        pass
except client.ApiException as e:
    gone = e.status
print(json.dumps({"names": got, "ready": first.conditions.ready, "zone": first.zone, "events": events, "gone": gone}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_lists_and_watches_the_double() {
    let served = serve().await;
    served.api.put("s1", "web", slice(&[("a", ready())]));
    served.api.put("s2", "web", slice(&[("bb", ready())]));
    served.api.remove("s2");
    served.api.put("s3", "web", slice(&[]));
    let told = tokio::task::spawn_blocking(move || {
        let python = clients::python("kubernetes", &["kubernetes==37.0.2"])
            .expect("the client is installed");
        let mut script = Command::new(python);
        script
            .args(["-c", PYTHON, &served.url, TOKEN])
            .arg(&served.authority);
        clients::output(&mut script).expect("it succeeds")
    });
    let told: Value = serde_json::from_str(&told.await.expect("it ends")).expect("it prints JSON");
    assert_eq!(told["names"], json!(["s1", "s3"]));
    assert_eq!(
        (&told["ready"], &told["zone"], &told["gone"]),
        (&json!(true), &json!("z1"), &json!(410))
    );
    let events = told["events"].as_array().expect("a list");
    let kinds = [["ADDED", "2"], ["DELETED", "3"], ["ADDED", "4"]];
    for (event, expected) in events.iter().zip(kinds) {
        assert_eq!(*event, json!(expected));
    }
    assert!(events.len() >= 3, "{events:?}");
}
