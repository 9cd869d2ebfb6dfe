//! Rules about this package itself.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn only_the_gateway_knows_the_crate_under_judgement() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &mut all);
    let names = |path: &&PathBuf| {
        let text = fs::read_to_string(path).expect("a source is text");
        text.contains(concat!("lb_", "core"))
    };
    let (inside, outside): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(names)
        .partition(|path| path.starts_with(root.join("gateway")));
    assert!(!inside.is_empty());
    assert!(outside.is_empty(), "{outside:?}");
}
