//! The documentation leads somewhere: every relative link in a Markdown file names a file that exists.

use std::fs;
use std::path::{Path, PathBuf};

use tests::workspace_root;

/// Folders that hold what was built or fetched.
const NOT_OURS: [&str; 3] = ["target", ".git", "node_modules"];

fn markdown_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && !NOT_OURS.iter().any(|other| name == *other) {
            markdown_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The targets of `[text](target)` that are paths, without their anchors.
fn relative_links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let paths = targets.filter_map(|target| target.split('#').next());
    paths.filter(|path| {
        !path.is_empty() && !path.contains(':') && !path.contains(char::is_whitespace)
    })
}

fn broken_links(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    markdown_files(root, &mut files);
    let mut broken = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let folder = file.parent().unwrap_or(root);
        let missing = relative_links(&text).filter(|link| !folder.join(link).exists());
        broken.extend(missing.map(|link| format!("{} -> {link}", file.display())));
    }
    broken
}

#[test]
fn every_relative_link_names_a_file() {
    let broken = broken_links(&workspace_root());
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_link_that_leads_nowhere_is_seen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(
        folder.path().join("page.md"),
        "see [this](missing.md) and [that](page.md#top)",
    )
    .expect("written");
    assert_eq!(broken_links(folder.path()).len(), 1);
}
