//! The five crates stay islands, and small: judged by what cargo itself reports.

use std::collections::HashSet;

use serde_json::Value;
use tests::{CRATES, cargo, workspace_root};

fn packages() -> Vec<Value> {
    let text = cargo(
        &workspace_root(),
        &["metadata", "--format-version", "1", "--no-deps"],
    )
    .expect("cargo metadata works here");
    let metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    metadata["packages"]
        .as_array()
        .expect("packages is a list")
        .clone()
}

/// The names of all dependencies, dev and build included, that a manifest declares.
fn declared_dependencies(package: &Value) -> HashSet<&str> {
    let dependencies = package["dependencies"]
        .as_array()
        .expect("dependencies is a list");
    dependencies
        .iter()
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

/// What a user compiles who takes this crate with these features.
fn compiled_packages(name: &str, features: &[&str]) -> HashSet<String> {
    let mut args = vec![
        "tree",
        "-p",
        name,
        "-e",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    args.extend_from_slice(features);
    let tree = cargo(&workspace_root(), &args).expect("cargo tree works here");
    tree.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn no_crate_names_another_not_even_for_its_tests() {
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        if CRATES.contains(&name) {
            let dependencies = declared_dependencies(&package);
            let siblings: Vec<_> = CRATES
                .iter()
                .filter(|other| dependencies.contains(*other))
                .collect();
            assert!(siblings.is_empty(), "{name} depends on {siblings:?}");
        }
    }
}

#[test]
fn the_check_above_sees_an_edge_where_there_is_one() {
    let packages = packages();
    let gateway = packages
        .iter()
        .find(|package| package["name"] == "gateway")
        .expect("gateway exists");
    assert!(declared_dependencies(gateway).contains("lb-core"));
}

#[test]
fn who_takes_only_the_local_cache_compiles_no_redis_and_no_axum_and_at_most_fifty_packages() {
    let packages = compiled_packages("lb-cache", &[]);
    for unwanted in ["redis", "axum", "tokio-postgres", "redb", "hyper"] {
        assert!(!packages.contains(unwanted), "lb-cache pulls in {unwanted}");
    }
    assert!(
        packages.len() <= 50,
        "{} packages: {packages:?}",
        packages.len()
    );
}

#[test]
fn who_asks_for_redis_gets_it() {
    assert!(compiled_packages("lb-cache", &["--features", "redis"]).contains("redis"));
}

#[test]
fn the_gateway_builds_without_heavy_or_foreign_toolchains() {
    let packages = compiled_packages("gateway", &[]);
    for unwanted in [
        "kube",
        "tokio-postgres",
        "redis",
        "cmake",
        "aws-lc-sys",
        "openssl-sys",
    ] {
        assert!(
            !packages.contains(unwanted),
            "the gateway pulls in {unwanted}"
        );
    }
}

#[test]
fn every_published_crate_carries_what_a_reader_looks_for() {
    for name in CRATES {
        for file in [
            "README.md",
            "CHANGELOG.md",
            "LICENSE-MIT",
            "LICENSE-APACHE",
            "src/lib.rs",
        ] {
            let path = workspace_root().join(name).join(file);
            assert!(path.is_file(), "{name} has no {file}");
        }
    }
}
