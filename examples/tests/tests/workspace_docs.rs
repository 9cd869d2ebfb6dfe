//! The documentation leads somewhere: links and paths in Markdown files name files that exist, and each
//! crate's map has all of its modules.

use std::fs;
use std::path::{Path, PathBuf};

use tests::{CRATES, workspace_root};

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

/// Folders at the top: code in backticks that begins with one of them is a path.
fn top_folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = folders.map(|folder| folder.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| !NOT_OURS.contains(&name.as_str()))
        .collect()
}

/// Paths from the top in backticks. `docs/decisions/0101` stands for the page that begins so.
fn lost_paths(root: &Path, text: &str) -> Vec<String> {
    let folders = top_folders(root);
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(str::split_whitespace);
    let is_path = |word: &&str| {
        let folder = word.split_once('/').map(|(folder, _)| folder);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        folder.is_some_and(|folder| folders.iter().any(|known| known == folder))
            && word.chars().all(plain)
    };
    let exists = |path: &str| {
        let (folder, begin) = path.rsplit_once('/').unwrap_or(("", path));
        let page = |entry: fs::DirEntry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{begin}-"))
        };
        root.join(path).exists()
            || fs::read_dir(root.join(folder)).is_ok_and(|entries| entries.flatten().any(page))
    };
    let lost = words.filter(is_path).filter(|path| !exists(path));
    lost.map(str::to_owned).collect()
}

/// Public modules that the map in front of a `lib.rs` leaves out.
fn unmapped(source: &str) -> Vec<&str> {
    let map: String = source
        .lines()
        .filter(|line| line.starts_with("//!"))
        .collect();
    let modules = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    modules
        .filter(|name| {
            !map.contains(&format!("`{name}`")) && !map.contains(&format!("`mod@{name}`"))
        })
        .collect()
}

#[test]
fn every_path_in_the_documentation_is_there() {
    let root = workspace_root();
    let mut files = Vec::new();
    markdown_files(&root, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(
            lost_paths(&root, &text),
            Vec::<String>::new(),
            "{}",
            file.display()
        );
    }
}

#[test]
fn every_public_module_is_on_its_crates_map() {
    for name in CRATES {
        let path = workspace_root().join(name).join("src/lib.rs");
        let source = fs::read_to_string(path).expect("every crate has one");
        assert_eq!(unmapped(&source), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn a_lost_path_and_a_module_without_a_place_are_seen() {
    let root = workspace_root();
    let text = "see `docs/metrics.md`, `docs/decisions/0001`, `docs/9999` and `examples/gone/src`";
    assert_eq!(lost_paths(&root, text), ["docs/9999", "examples/gone/src"]);
    let source = "//! | a | [`here`] |\npub mod here;\npub mod away;\nmod within;";
    assert_eq!(unmapped(source), ["away"]);
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
