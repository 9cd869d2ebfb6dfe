//! What a user gets from a published archive: it builds, and ten lines on top of it compile.

use std::fs;
use std::path::Path;

use tests::{CRATES, cargo, workspace_root};

/// Ten lines of a user of `name`.
fn consumer_of(name: &str) -> String {
    let file = workspace_root()
        .join("examples/tests/consumers")
        .join(format!("{name}.rs"));
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A package that has nothing but the unpacked archive and the ten lines.
fn write_consumer(folder: &Path, name: &str, archive: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/main.rs"), consumer_of(name))?;
    fs::copy(
        workspace_root().join("Cargo.lock"),
        folder.join("Cargo.lock"),
    )?;
    let manifest = format!(
        "[package]\nname = \"consumer\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{name} = {{ path = {archive:?} }}\n\
         tokio = {{ version = \"1\", features = [\"macros\", \"rt-multi-thread\", \"net\"] }}\n\
         axum = {{ version = \"0.8\", default-features = false, features = [\"http1\", \"tokio\"] }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest)
}

#[test]
fn every_crate_packages_and_a_ten_line_consumer_compiles_from_its_archive() {
    let root = workspace_root();
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let target = root.join("target/packages");
    let target = target.to_str().expect("the path is UTF-8");
    for name in CRATES {
        cargo(
            &root,
            &[
                "package",
                "-q",
                "-p",
                name,
                "--allow-dirty",
                "--target-dir",
                target,
            ],
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let archive = Path::new(target)
            .join("package")
            .join(format!("{name}-{}", env!("CARGO_PKG_VERSION")));
        let folder = scratch.path().join(name);
        write_consumer(&folder, name, &archive).expect("the consumer can be written");
        let consumer = consumer_of(name);
        assert!(
            consumer.lines().count() <= 10,
            "{name}: {} lines",
            consumer.lines().count()
        );
        cargo(&folder, &["check", "-q", "--target-dir", target])
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
