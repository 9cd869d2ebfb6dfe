//! Manifests of the shapes that public charts use: in, decided, out again.
#![cfg(feature = "manifest")]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use lb_autoscale::manifest::{Manifest, ManifestError};
use lb_autoscale::spec::{MetricKind, SelectPolicy};
use lb_autoscale::{Inputs, Quantity, Spec, State, UnixMillis, decide};
use serde_json::{Value, json};

fn all() -> Vec<(String, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/manifests");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn named(name: &str) -> String {
    all()
        .into_iter()
        .find(|(found, _)| found == name)
        .unwrap()
        .1
}

/// A document with its quantities in thousandths, so that 1000, "1k" and 1e3 are one.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| {
                    let quantity = ["averageValue", "value", "tolerance"].contains(&key.as_str());
                    let text = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    match text.parse::<Quantity>() {
                        Ok(parsed) if quantity => (key, json!(parsed.milli())),
                        _ => (key, normal(value)),
                    }
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        other => other,
    }
}

#[test]
fn every_manifest_is_imported_decided_and_exported_without_loss() {
    let manifests = all();
    assert!(manifests.len() >= 20);
    for (name, text) in manifests {
        let manifest = Manifest::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(manifest.unknown_fields, [""; 0], "{name}");
        let again = Manifest::parse(&manifest.to_yaml().unwrap()).unwrap();
        assert_eq!(again, manifest, "{name}");

        let mut original: Value = serde_saphyr::from_str(&text).unwrap();
        if name == "defaults" {
            // What the API server would have filled in.
            original["spec"]["minReplicas"] = json!(1);
            original["spec"]["metrics"] = json!([{ "type": "Resource", "resource": {
                "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }]);
        }
        assert_eq!(normal(manifest.to_json()), normal(original), "{name}");

        let spec = manifest.spec;
        let current = spec.max_replicas() + 1;
        let now = UnixMillis::from_secs(0);
        let decision = decide(&spec, &mut State::default(), &Inputs::new(current), now);
        assert_eq!(
            decision.desired,
            spec.max_replicas(),
            "{name}: {}",
            decision.why()
        );
    }
}

#[test]
fn a_tolerance_finer_than_a_thousandth_is_kept() {
    let fine = |text: &str| {
        let mut document = Manifest::parse(&named("queue-worker")).unwrap().to_json();
        document["spec"]["behavior"] = json!({"scaleUp": {"tolerance": text}});
        Manifest::parse(&document.to_string()).unwrap()
    };
    for (text, share, written) in [
        ("0.0125", 0.0125, "0.0125"),
        ("400u", 0.0004, "0.0004"),
        ("0.050", 0.05, "50m"),
        ("0", 0.0, "0"),
    ] {
        let manifest = fine(text);
        let up = &manifest.spec.behavior().unwrap().scale_up;
        assert_eq!(up.tolerance, Some(share), "{text}");
        let exported = manifest.to_json();
        assert_eq!(
            exported["spec"]["behavior"]["scaleUp"]["tolerance"],
            written
        );
        assert_eq!(Manifest::parse(&exported.to_string()).unwrap(), manifest);
    }
}

#[test]
fn json_is_read_as_well() {
    let manifest = Manifest::parse(&named("queue-worker")).unwrap();
    assert_eq!(
        Manifest::parse(&manifest.to_json().to_string()).unwrap(),
        manifest
    );
}

#[test]
fn the_platforms_own_manifest_keeps_its_rules() {
    let spec = Spec::from_manifest(&named("simulation")).unwrap();
    let up = &spec.behavior().unwrap().scale_up;
    assert_eq!((spec.min_replicas(), spec.max_replicas()), (3, 20));
    assert_eq!(up.select, Some(SelectPolicy::Min));
    assert_eq!(
        spec.behavior()
            .unwrap()
            .scale_down
            .stabilization_window_seconds,
        Some(900)
    );
}

#[test]
fn an_id_that_is_made_up_is_never_one_that_is_taken() {
    let metric = |name: &str| {
        format!(
            "  - type: External\n    external: {{metric: {{name: \"{name}\"}}, \
             target: {{type: AverageValue, averageValue: 10}}}}\n"
        )
    };
    let cpu = named("cpu-only");
    let (head, _) = cpu.split_once("  metrics:\n").unwrap();
    let metrics = ["jobs", "jobs#2", "jobs", "a#b", "a#b"]
        .map(metric)
        .concat();
    let spec = Spec::from_manifest(&format!("{head}  metrics:\n{metrics}")).unwrap();
    let ids = spec.metrics().iter().map(|metric| metric.id.as_str());
    let ids: Vec<&str> = ids.collect();
    assert_eq!(ids, ["jobs", "jobs#2", "jobs#3", "a#b", "a#b#2"]);
}

#[test]
fn two_metrics_of_one_name_get_ids_of_their_own() {
    let spec = Spec::from_manifest(&named("two-cpus")).unwrap();
    let ids: Vec<&str> = spec
        .metrics()
        .iter()
        .map(|metric| metric.id.as_str())
        .collect();
    assert_eq!(ids, ["cpu", "cpu#2"]);
    assert!(
        spec.metrics()
            .iter()
            .all(|metric| matches!(&metric.kind, MetricKind::Resource { name } if name == "cpu"))
    );
}

/// Manifest, what is replaced, by what, and the field that is then to blame.
#[rustfmt::skip]
const BROKEN: [(&str, &str, &str, &str); 30] = [
    ("cpu-only", "autoscaling/v2\n", "autoscaling/v1\n", "apiVersion"),
    ("cpu-only", "kind: HorizontalPodAutoscaler", "kind: Deployment", "kind"),
    ("cpu-only", "  name: cpu-only\n  namespace", "  namespace", "metadata.name"),
    ("cpu-only", "    kind: Deployment\n", "", "spec.scaleTargetRef"),
    ("cpu-only", "    name: cpu-only\n", "    name: \"\"\n", "spec.scaleTargetRef.name"),
    ("cpu-only", "maxReplicas: 100", "maxReplicas: 0", "spec.maxReplicas"),
    ("cpu-only", "  maxReplicas: 100\n", "", "spec.maxReplicas"),
    ("cpu-only", "minReplicas: 1", "minReplicas: 101", "spec.maxReplicas"),
    ("cpu-only", "minReplicas: 1", "minReplicas: 0", "spec.minReplicas"),
    ("cpu-only", "minReplicas: 1", "minReplicas: -1", "spec.minReplicas"),
    ("cpu-only", "minReplicas: 1", "minReplicas: one", "spec.minReplicas"),
    ("cpu-only", "type: Resource", "type: Thing", "spec.metrics[0].type"),
    ("cpu-only", "type: Resource", "type: Pods", "spec.metrics[0].pods"),
    ("cpu-only", "averageUtilization: 80", "averageUtilization: 0", "spec.metrics[0].resource.target.averageUtilization"),
    ("cpu-only", "        averageUtilization: 80\n", "", "spec.metrics[0].resource.target.averageUtilization"),
    ("cpu-only", "type: Utilization", "type: Half", "spec.metrics[0].resource.target.type"),
    ("memory-average", "averageValue: 2Gi", "averageValue: 2GiB", "spec.metrics[0].resource.target.averageValue"),
    ("memory-average", "averageValue: 2Gi", "averageValue: -1", "spec.metrics[0].resource.target.averageValue"),
    ("memory-average", "type: AverageValue\n        averageValue", "type: Value\n        value", "spec.metrics[0].resource.target.type"),
    ("requests-per-pod", "type: AverageValue\n        averageValue: 500m", "type: Utilization\n        averageUtilization: 5", "spec.metrics[0].pods.target.type"),
    ("requests-per-pod", "name: http_requests_per_second", "name: \"\"", "spec.metrics[0].pods.metric.name"),
    ("sidecar", "container: proxy", "container: \"\"", "spec.metrics[1].containerResource.container"),
    ("ingress-object", "        kind: Ingress\n", "", "spec.metrics[0].object.describedObject"),
    ("inference", "periodSeconds: 120", "periodSeconds: 1801", "spec.behavior.scaleDown.policies[0].periodSeconds"),
    ("inference", "value: 10\n", "value: 0\n", "spec.behavior.scaleDown.policies[0].value"),
    ("inference", "type: Percent\n        value: 10\n", "type: Share\n        value: 10\n", "spec.behavior.scaleDown.policies[0].type"),
    ("inference", "stabilizationWindowSeconds: 600", "stabilizationWindowSeconds: 3601", "spec.behavior.scaleDown.stabilizationWindowSeconds"),
    ("inference", "selectPolicy: Min", "selectPolicy: Median", "spec.behavior.scaleDown.selectPolicy"),
    ("tolerances", "tolerance: \"0.05\"", "tolerance: \"-1\"", "spec.behavior.scaleUp.tolerance"),
    ("never-down", "selectPolicy: Disabled", "policies: []", "spec.behavior.scaleDown.policies"),
];

#[test]
fn every_invalid_manifest_names_its_field() {
    for (name, sound, unsound, field) in BROKEN {
        let text = named(name);
        assert!(text.contains(sound), "{name} has no {sound:?}");
        let refused = Manifest::parse(&text.replacen(sound, unsound, 1));
        let refused = refused
            .err()
            .unwrap_or_else(|| panic!("{name}: {unsound:?} was accepted"));
        assert_eq!(
            refused.field(),
            Some(field),
            "{name}, {unsound:?}: {refused}"
        );
    }
}

#[test]
fn unknown_fields_are_reported_and_strict_import_refuses_them() {
    let text = named("cpu-only").replace("  minReplicas", "  minReplcas: 3\n  minReplicas");
    assert_eq!(
        Manifest::parse(&text).unwrap().unknown_fields,
        ["spec.minReplcas"]
    );
    assert_eq!(
        Spec::from_manifest(&text),
        Err(ManifestError::Unknown("spec.minReplcas".into()))
    );
}

#[test]
fn what_is_no_document_is_refused_without_a_panic() {
    for text in ["", "---", "a: [", "7", "- x", "{\"spec\": 1}", "\u{0}"] {
        assert!(Manifest::parse(text).is_err(), "{text:?}");
    }
    assert_eq!(
        Manifest::parse(&" ".repeat(2 << 20)),
        Err(ManifestError::TooLong)
    );
}
