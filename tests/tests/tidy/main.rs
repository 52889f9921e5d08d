//! The style of the repository as tests: each finding names its place and the replacement.
//!
//! Every rule is a function from a source to findings, and each is shown to find a planted
//! violation in the file that holds it.

mod guarantees;
mod limits;
mod map;
mod reach;
mod safety;
mod size;
mod source;
mod words;

use std::fs;

use size::Ratchet;
use source::{Finding, files, root, sources};

/// The folders of the root that hold code.
const FOLDERS: [&str; 7] = [
    "bench",
    "cluster",
    "engine",
    "lease",
    "loadgen",
    "tests",
    "transport",
];

/// Files that are longer than the limit for now.
const LONG_FILES: [Ratchet; 0] = [];

/// Functions that are longer than the limit for now, as `path::function`.
const LONG_FUNCTIONS: [Ratchet; 0] = [];

fn read(path: &str) -> String {
    let text = fs::read_to_string(root().join(path));
    text.unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts that people write, each with its path.
fn texts() -> Vec<(String, String)> {
    let endings = [".rs", ".md", ".toml", ".ci/run", "tests/fuzz/run"];
    let written = |path: &String| endings.iter().any(|ending| path.ends_with(ending));
    let paths = files(&root()).into_iter().filter(written);
    paths.map(|path| (path.clone(), read(&path))).collect()
}

fn judge(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<String> = findings
        .into_iter()
        .map(|Finding { path, line, text }| format!("{path}:{line}: {text}"))
        .collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn lines_fit() {
    judge(sources().iter().flat_map(size::lines));
}

#[test]
fn functions_fit_a_screen() {
    judge(
        sources()
            .iter()
            .flat_map(|source| size::functions(source, &LONG_FUNCTIONS)),
    );
}

#[test]
fn files_are_split_by_responsibility() {
    judge(
        sources()
            .iter()
            .flat_map(|source| size::file(source, &LONG_FILES)),
    );
}

#[test]
fn every_ratchet_has_its_subject() {
    let sources = sources();
    for Ratchet { subject, .. } in LONG_FILES.iter().chain(&LONG_FUNCTIONS) {
        let path = subject.split("::").next().unwrap_or(subject);
        assert!(
            sources.iter().any(|source| source.path == path),
            "{path} is gone: remove it"
        );
    }
}

#[test]
fn files_and_folders_say_what_they_hold() {
    judge(
        files(&root())
            .iter()
            .flat_map(|path| words::file_name(path)),
    );
}

#[test]
fn replaced_calls_are_not_used() {
    judge(sources().iter().flat_map(words::banned_paths));
}

#[test]
fn nothing_is_left_unfinished() {
    judge(
        texts()
            .iter()
            .flat_map(|(path, text)| words::marks(path, text)),
    );
}

#[test]
fn no_path_of_one_machine_is_named() {
    judge(
        texts()
            .iter()
            .flat_map(|(path, text)| words::machine_paths(path, text)),
    );
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let sources = sources();
    judge(sources.iter().flat_map(safety::unsafe_code));
    judge(sources.iter().flat_map(safety::crate_root));
    for file in safety::UNSAFE_FILES {
        let source = sources.iter().find(|source| source.path == file);
        let holds = source.is_some_and(|source| source.text.contains("unsafe "));
        assert!(
            holds,
            "{file} holds no unsafe code: remove it from UNSAFE_FILES"
        );
    }
}

#[test]
fn every_limit_has_a_test_one_over_it() {
    let sources = sources();
    let limits = sources
        .iter()
        .find(|source| source.path == "transport/proto/src/limits.rs");
    judge(limits::tested(
        limits.expect("the limits stand in one file"),
        sources.iter(),
    ));
}

#[test]
fn each_guarantee_names_its_test() {
    let page = read(guarantees::PAGE);
    judge(guarantees::shown(&page, sources().iter()));
}

#[test]
fn the_map_agrees_with_the_land() {
    let (page, files) = ("ARCHITECTURE.md", files(&root()));
    let architecture = read(page);
    judge(map::agrees(&read(map::MAP), &files));
    judge(map::exist(page, &architecture, &files));
    assert!(
        architecture.lines().count() <= 250,
        "{page}: at most 250 lines"
    );
}

#[test]
fn every_file_is_part_of_what_is_built() {
    let paths = files(&root()).into_iter();
    let manifests = paths.filter(|path| path.ends_with("/Cargo.toml"));
    let manifests: Vec<_> = manifests.map(|path| (path.clone(), read(&path))).collect();
    judge(reach::unreached(&manifests, &sources()));
}

#[test]
fn the_readme_names_the_commands_that_the_gate_runs() {
    for command in ["cargo run --release", "cargo test --workspace"] {
        assert!(
            read("README.md").contains(command),
            "README.md lacks `{command}`"
        );
    }
    assert!(
        read(".ci/run").contains("cargo test --workspace"),
        ".ci/run skips the tests"
    );
}
