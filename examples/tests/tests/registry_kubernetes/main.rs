//! EndpointSlices over TLS, against a double of the API server that real clients have judged: whatever goes wrong on the
//! way, in the end the set is the one that is there.

mod double;
mod judges;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use double::{Api, Fault};
use futures_util::StreamExt;
use http::StatusCode;
use lb_registry::fail_static::Settings;
use lb_registry::{Discovery, Kubernetes, Origin, Snapshot, Status, Watch};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
const TOKEN: &str = "first";

/// A running double.
pub(crate) struct Served {
    pub(crate) api: Api,
    pub(crate) url: String,
    pub(crate) authority: PathBuf,
    folder: tempfile::TempDir,
}

pub(crate) async fn serve() -> Served {
    let api = Api::default();
    let folder = tempfile::tempdir().expect("a folder");
    let (listener, authority) = tls::TlsListener::bind(folder.path()).await;
    let address = axum::serve::Listener::local_addr(&listener).expect("it is bound");
    let router = api.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let served = Served {
        api,
        url: format!("https://{address}"),
        authority,
        folder,
    };
    served.rotate(TOKEN);
    served
}

impl Served {
    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Another token is in the file, and no other one is accepted any more.
    fn rotate(&self, token: &str) {
        std::fs::write(self.token_file(), format!("{token}\n")).expect("the folder is there");
        self.api.only_token(token);
    }

    fn client(&self, authority: &Path) -> Kubernetes {
        let client = Kubernetes::new(&self.url)
            .expect("a URL")
            .token_file(self.token_file());
        client.ca_file(authority).expect("a certificate")
    }

    fn watch(&self, settings: Settings) -> Watch {
        self.client(&self.authority)
            .fail_static(settings)
            .watch("web")
    }
}

/// Believes what the API says at once, and still loses nobody when it does not answer.
fn believing() -> Settings {
    Settings {
        stale_max: Duration::from_secs(3_600),
        ..Settings::off()
    }
}

pub(crate) fn slice(pods: &[(&str, Value)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, conditions)| {
            json!({
                "addresses": [format!("10.0.0.{}", pod.len())], "conditions": conditions, "zone": "z1",
                "targetRef": {"kind": "Pod", "name": pod, "uid": format!("uid-{pod}")},
            })
        })
        .collect();
    json!({"addressType": "IPv4", "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}], "endpoints": endpoints})
}

pub(crate) fn ready() -> Value {
    json!({"ready": true, "serving": true, "terminating": false})
}

async fn until(watch: &mut Watch, what: &str, condition: impl Fn(&Snapshot) -> bool) {
    let found = tokio::time::timeout(SOON, watch.until(|set| !set.is_pending() && condition(set)));
    assert!(found.await.is_ok(), "{what}: {:?}", watch.latest());
}

fn statuses(set: &Snapshot) -> BTreeMap<String, Status> {
    set.instances
        .iter()
        .map(|one| (one.id.clone(), one.status))
        .collect()
}

/// What should be seen of these slices, in other words than the crate's.
fn reference(slices: &[Value]) -> BTreeMap<String, Status> {
    let mut found: BTreeMap<String, Status> = BTreeMap::new();
    let own = |slice: &&Value| {
        slice["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
            && slice["addressType"] != "FQDN"
    };
    for slice in slices.iter().filter(own) {
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let condition = |name: &str| endpoint["conditions"][name].as_bool();
            let ready = condition("ready") != Some(false);
            let serving = condition("serving").unwrap_or(ready);
            let status = match condition("terminating") {
                Some(true) if serving => Status::Draining,
                Some(true) => Status::Critical,
                _ if ready => Status::Passing,
                _ => Status::Critical,
            };
            let pod = endpoint["targetRef"]["name"].as_str().expect("a name");
            let best = found.get(pod).map_or(status, |known| status.min(*known));
            found.insert(pod.into(), best);
        }
    }
    found
}

fn random_slice(random: &mut fastrand::Rng) -> Value {
    let mut pods: Vec<(&str, Value)> = Vec::new();
    for pod in ["a", "bb", "ccc", "dddd", "eeeee"] {
        if random.bool() {
            pods.push((pod, random_conditions(random)));
        }
    }
    let mut made = slice(&pods);
    match random.u8(..12) {
        0 => made["endpoints"] = Value::Null,
        1 => made["addressType"] = "FQDN".into(),
        _ => {}
    }
    made
}

fn random_conditions(random: &mut fastrand::Rng) -> Value {
    let all = [
        json!({}),
        ready(),
        json!({"ready": false}),
        json!({"ready": false, "serving": true, "terminating": true}),
        json!({"ready": false, "serving": false, "terminating": true}),
    ];
    all[random.usize(..all.len())].clone()
}

/// One of the things that happen, or that go wrong.
fn happen(served: &Served, random: &mut fastrand::Rng) {
    let name = ["s1", "s2", "s3"][random.usize(..3)];
    match random.u8(..15) {
        0..=6 => served.api.put(name, "web", random_slice(random)),
        7 => served.api.put("other", "other", random_slice(random)),
        8 => served.api.remove(name),
        9 => served.api.fault(Fault::Compact),
        10 => served.api.fault(Fault::Expire),
        11 => served.api.fault(Fault::Cut),
        12 => served.api.fault(Fault::End),
        13 => served.api.fault(Fault::Repeat),
        _ => served.rotate(&format!("token-{}", random.u16(..))),
    }
}

fn refuse(served: &Served, random: &mut fastrand::Rng) {
    let all = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::GONE,
    ];
    let status = all[random.usize(..all.len())];
    served.api.fault(Fault::Refuse(status));
}

async fn random_history(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let served = serve().await;
    served.api.pages_of(random.usize(1..4));
    // Always there, so that an empty set is always wrong.
    served
        .api
        .put("always", "web", slice(&[("always", ready())]));
    let mut watch = served.watch(believing());
    let sizes = watch.clone().map(|set| set.instances.len());
    let smallest = tokio::spawn(sizes.fold(usize::MAX, async |least, size| least.min(size)));
    until(&mut watch, "it is listed", |set| !set.instances.is_empty()).await;
    for step in 0..60 {
        // Four in all: the pauses after ten refusals in a row are longer than this test waits.
        if step % 15 == 0 {
            refuse(&served, &mut random);
        }
        happen(&served, &mut random);
        if random.bool() {
            // Let some of it arrive in between, and some not.
            tokio::time::sleep(Duration::from_millis(random.u64(..40))).await;
        }
    }
    let expected = reference(&served.api.slices());
    until(&mut watch, &format!("seed {seed}: {expected:?}"), |set| {
        statuses(set) == expected
    })
    .await;
    drop(watch);
    smallest.abort();
    if let Ok(least) = smallest.await {
        assert!(least > 0, "seed {seed}: an empty set was published");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_any_history_the_set_is_the_one_that_is_there() {
    let first = fastrand::u64(..u64::MAX - 16);
    let histories: Vec<_> = (0..12)
        .map(|n| tokio::spawn(random_history(first + n)))
        .collect();
    for history in histories {
        history.await.expect("no history fails");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_not_believed() {
    let (served, other) = (serve().await, serve().await);
    served.api.put("s1", "web", slice(&[("a", ready())]));
    let watch = served.client(&other.authority).watch("web");
    let found = tokio::time::timeout(Duration::from_secs(3), watch.clone().next()).await;
    assert!(found.is_err(), "{found:?}");
    assert!(
        served.api.asked().is_empty(),
        "the token must not be sent there"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_loses_nobody_and_the_next_one_is_read_by_itself() {
    let served = serve().await;
    served.api.put("s1", "web", slice(&[("a", ready())]));
    let mut watch = served.watch(Settings::default());
    until(&mut watch, "it is listed", |set| set.instances.len() == 1).await;
    served.api.only_token("second");
    served.api.fault(Fault::End);
    until(&mut watch, "the doubt is seen", |set| {
        set.origin != Origin::Live
    })
    .await;
    assert_eq!(watch.latest().instances.len(), 1);
    served.rotate("second");
    served.api.put("s2", "web", slice(&[("bb", ready())]));
    until(&mut watch, "it goes on", |set| {
        set.origin == Origin::Live && set.instances.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_watch_goes_on_from_a_bookmark_without_a_new_list() {
    let served = serve().await;
    served.api.put("s1", "web", slice(&[("a", ready())]));
    let mut watch = served.watch(Settings::default());
    until(&mut watch, "it is listed", |set| set.instances.len() == 1).await;
    // Another service's changes are not seen, so only a bookmark can tell that the version has moved.
    served.api.put("other", "other", slice(&[("x", ready())]));
    let lists = || {
        served
            .api
            .asked()
            .iter()
            .filter(|query| !query.contains("watch"))
            .count()
    };
    let from_bookmark =
        |query: &String| query.contains("watch") && query.contains("\"resourceVersion\": \"2\"");
    let asked = || served.api.asked().iter().any(from_bookmark);
    let watched = tokio::time::timeout(SOON, async {
        while !asked() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            served.api.fault(Fault::End);
        }
    });
    assert!(watched.await.is_ok(), "{:?}", served.api.asked());
    assert_eq!(lists(), 1, "{:?}", served.api.asked());
    served.api.put("s2", "web", slice(&[("bb", ready())]));
    until(&mut watch, "it goes on", |set| set.instances.len() == 2).await;
}
