//! The map and the land: MAP.md names every folder of code, and no page names what is not there.

use std::collections::BTreeSet;

use crate::source::Finding;

pub(crate) const MAP: &str = "MAP.md";

/// Checks the map's `text` against `files`, the paths of the repository.
pub(crate) fn agrees(text: &str, files: &[String]) -> Vec<Finding> {
    let named = named_paths(text);
    let mut findings = exist(MAP, text, files);
    let named: BTreeSet<&str> = named
        .iter()
        .map(|(path, _)| path.trim_end_matches('/'))
        .collect();
    for folder in code_folders(files) {
        if !named.contains(folder) {
            findings.push(Finding {
                path: MAP.to_owned(),
                line: 1,
                text: format!("`{folder}` is not on the map: say what it is for"),
            });
        }
    }
    findings
}

/// Checks that what the `text` of a `page` names is among `files`.
pub(crate) fn exist(page: &str, text: &str, files: &[String]) -> Vec<Finding> {
    let is_there = |path: &str| {
        let folder = format!("{}/", path.trim_end_matches('/'));
        files
            .iter()
            .any(|file| file == path || file.starts_with(&folder))
    };
    let named = named_paths(text).into_iter();
    let invented = named.filter(|(path, _)| !is_there(path));
    let finding = |(path, line): (String, usize)| Finding {
        path: page.to_owned(),
        line,
        text: format!("`{path}` does not exist"),
    };
    invented.map(finding).collect()
}

/// The paths that stand between backticks: words with a `/` that begin with a folder of the root.
fn named_paths(text: &str) -> Vec<(String, usize)> {
    let mut paths = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            let inside = crate::FOLDERS.iter().any(|folder| {
                quoted
                    .strip_prefix(folder)
                    .is_some_and(|rest| rest.starts_with('/'))
            });
            let plain = !quoted.contains(|letter: char| letter.is_whitespace() || letter == '*');
            if inside && plain {
                paths.push((quoted.to_owned(), number + 1));
            }
        }
    }
    paths
}

/// The folders that hold Rust files, folders of tests inside `src` left out.
fn code_folders(files: &[String]) -> BTreeSet<&str> {
    let rust = files.iter().filter(|file| file.ends_with(".rs"));
    let folders = rust.filter_map(|file| file.rsplit_once('/').map(|(folder, _)| folder));
    folders
        .filter(|folder| folder.split('/').any(|part| part == "src"))
        .collect()
}

#[test]
fn a_folder_off_the_map_and_a_name_off_the_land_are_found() {
    let files = ["engine/src/lib.rs", "engine/src/core/mod.rs"].map(str::to_owned);
    let right = "`engine/src` and `engine/src/core/`, `a/b`, `cargo run`, `engine/src/*`";
    assert_eq!(agrees(right, &files), []);
    let missing = agrees("`engine/src`", &files);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].text.contains("engine/src/core"));
    let invented = agrees(&format!("{right}\n`engine/src/mesh`"), &files);
    assert_eq!(invented.len(), 1, "{invented:?}");
    assert_eq!(invented[0].line, 2);
}
