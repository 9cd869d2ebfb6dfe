//! The catalogues in `docs/metrics` and the code agree: on names, in both directions, and on kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};
use tests::workspace_root;

/// A folder of sources, what its metrics begin with, its catalogues, and who describes them.
struct Part {
    sources: &'static str,
    prefix: &'static str,
    catalogues: &'static [&'static str],
    describe: fn(),
}

const PARTS: [Part; 5] = [
    Part {
        sources: "lb-core/src",
        prefix: "lb_",
        catalogues: &["lb-core.md", "lb-core-proxy.md"],
        describe: lb_core::observe::describe,
    },
    Part {
        sources: "lb-cache/src",
        prefix: "lb_cache_",
        catalogues: &["lb-cache.md"],
        describe: lb_cache::observe::describe,
    },
    Part {
        sources: "lb-registry/src",
        prefix: "lb_registry_",
        catalogues: &["lb-registry.md"],
        describe: lb_registry::observe::describe,
    },
    Part {
        sources: "lb-autoscale/src",
        prefix: "lb_autoscale_",
        catalogues: &["lb-autoscale.md"],
        describe: lb_autoscale::observe::describe,
    },
    Part {
        sources: "lb-gpu/src",
        prefix: "lb_gpu_",
        catalogues: &["lb-gpu.md"],
        describe: lb_gpu::observe::describe,
    },
];

/// lb-gpu writes the metrics of devices by itself; only what follows this heading goes through the facade.
const FACADE: &str = "## Scheduler and probe";

/// Names in quotes, in shipped code.
fn names_in(source: &str, prefix: &str) -> BTreeSet<String> {
    let shipped = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = shipped
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let quoted = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    let named = quoted.filter(|text| text.starts_with(prefix));
    let whole = |text: &&str| {
        text.bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    };
    named.filter(whole).map(str::to_owned).collect()
}

fn names_below(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => names_below(&path, prefix),
            false => names_in(&fs::read_to_string(&path).unwrap_or_default(), prefix),
        })
        .collect()
}

/// The rows of a catalogue: names and kinds.
fn rows(catalogue: &str) -> BTreeMap<String, String> {
    let rows = catalogue.lines().filter(|line| line.starts_with("| `"));
    rows.flat_map(|row| {
        let mut cells = row.split('|').skip(1);
        let names = cells.next().unwrap_or_default();
        let kind = cells.next().unwrap_or_default().trim().to_owned();
        let names = names.split('`').skip(1).step_by(2);
        names.map(move |name| (name.to_owned(), kind.clone()))
    })
    .collect()
}

fn catalogue(part: &Part) -> String {
    let folder = workspace_root().join("docs/metrics");
    let read = |file: &&str| {
        fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    part.catalogues.iter().map(read).collect()
}

/// Writes down what is described.
#[derive(Default)]
struct Described(Mutex<BTreeMap<String, String>>);

impl Described {
    fn note(&self, name: &KeyName, kind: &str) {
        let mut described = self.0.lock().expect("nobody panics with it");
        described.insert(name.as_str().to_owned(), kind.to_owned());
    }
}

impl Recorder for Described {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.note(&name, "counter");
    }
    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.note(&name, "gauge");
    }
    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.note(&name, "histogram");
    }
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

fn described(by: fn()) -> BTreeMap<String, String> {
    let recorder = Described::default();
    with_local_recorder(&recorder, by);
    recorder.0.into_inner().expect("nobody panics with it")
}

#[test]
fn each_metric_of_the_code_is_in_its_catalogue_and_the_other_way_round() {
    for part in &PARTS {
        let coded = names_below(&workspace_root().join(part.sources), part.prefix);
        let listed: BTreeSet<String> = rows(&catalogue(part)).into_keys().collect();
        assert_eq!(coded, listed, "{}", part.sources);
    }
}

#[test]
fn the_example_service_lists_its_metrics_too() {
    let root = workspace_root();
    let coded = names_below(&root.join("examples/simulation/src"), "simulation_");
    let listed = fs::read_to_string(root.join("docs/metrics/simulation.md")).expect("it is there");
    assert_eq!(coded, rows(&listed).into_keys().collect());
}

#[test]
fn what_is_described_is_of_the_kind_that_the_catalogue_says() {
    for part in &PARTS {
        let text = catalogue(part);
        let facade = text.split(FACADE).last().unwrap_or_default();
        assert_eq!(described(part.describe), rows(facade), "{}", part.sources);
    }
}

#[test]
fn a_name_of_tests_or_comments_is_no_metric_and_a_missing_row_is_seen() {
    let source =
        "//! \"lb_told\"\nconst A: &str = \"lb_a_total\";\n#[cfg(test)]\nfn b() { \"lb_b\"; }";
    assert_eq!(
        names_in(source, "lb_"),
        BTreeSet::from(["lb_a_total".to_owned()])
    );
    let listed = rows("| name | kind |\n|---|---|\n| `lb_b`, `lb_c` | gauge | text `lb_d` |");
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed["lb_c"], "gauge");
}
