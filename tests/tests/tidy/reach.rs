//! Every Rust file is part of what Cargo builds: the tests of one that no module declares never
//! fail, for they never run.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Expr, ExprLit, ItemMod, Lit, Meta};
use toml::{Table, Value};

use crate::source::{Finding, Source};

/// Finds what none of the targets of these packages is made of; each manifest with its path.
pub(crate) fn unreached(manifests: &[(String, String)], sources: &[Source]) -> Vec<Finding> {
    let known: BTreeMap<&str, &Source> = sources.iter().map(|it| (&*it.path, it)).collect();
    let mut waiting: Vec<Place> = Vec::new();
    for (manifest, text) in manifests {
        let targets = targets(manifest, text, sources).into_iter();
        waiting.extend(targets.map(Place::owner));
    }
    let mut reached = BTreeSet::new();
    while let Some(place) = waiting.pop() {
        let Some(source) = known.get(&*place.path) else {
            continue;
        };
        if reached.insert(place.clone()) {
            let mut modules = Modules {
                beside: folder_of(&place.path),
                folders: vec![place.folder],
                declared: &mut waiting,
            };
            modules.visit_file(&source.file);
        }
    }
    let reached: BTreeSet<&str> = reached.iter().map(|it| &*it.path).collect();
    let lost = sources.iter().filter(|it| !reached.contains(&*it.path));
    let why = "no module declares it and it is no target: declare it, or remove it";
    lost.map(|it| it.finding(1, why)).collect()
}

/// A file, and the folder in which its modules stand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: String,
    folder: String,
}

impl Place {
    /// One whose modules stand beside it: the root of a target, a `mod.rs`, and what is named by
    /// its path.
    fn owner(path: String) -> Self {
        let folder = folder_of(&path).to_owned();
        Self { path, folder }
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |it| it.0)
}

/// The roots of the targets of a package: those that Cargo finds by itself, those that the manifest
/// names, and those that a test has compiled as it runs.
fn targets(manifest: &str, text: &str, sources: &[Source]) -> Vec<String> {
    let package = folder_of(manifest);
    let inside = |path: &str| Some(path.strip_prefix(package)?.strip_prefix('/')?.to_owned());
    let mut targets = named(package, text);
    for source in sources {
        if inside(&source.path).is_some_and(|path| is_found(&path)) {
            targets.push(source.path.clone());
        }
        if source.package() == package && source.is_test_file() {
            targets.extend(compiled(source, sources));
        }
    }
    targets
}

fn is_found(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["build.rs"] | ["src", "lib.rs" | "main.rs"] => true,
        ["src", "bin", ref rest @ ..] | ["tests" | "benches" | "examples", ref rest @ ..] => {
            matches!(rest, [_] | [_, "main.rs"])
        }
        _ => false,
    }
}

fn named(package: &str, manifest: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().expect("Cargo reads it");
    let kinds = ["lib", "bin", "test", "bench", "example"];
    let kinds = kinds.iter().filter_map(|kind| manifest.get(*kind));
    let targets = kinds.flat_map(|kind| match kind {
        Value::Array(targets) => targets.as_slice(),
        target => std::slice::from_ref(target),
    });
    let paths = targets.filter_map(|target| target.get("path")?.as_str());
    paths.map(|path| join(package, path)).collect()
}

/// The files of a folder that a test names as `"folder/*.rs"`, from its package.
fn compiled(test: &Source, sources: &[Source]) -> Vec<String> {
    let texts = test.text.split('"').skip(1).step_by(2);
    let folders = texts.filter_map(|text| text.strip_suffix("/*.rs"));
    let folders: Vec<String> = folders.map(|it| join(test.package(), it)).collect();
    let paths = sources.iter().map(|it| &it.path);
    let inside = paths.filter(|path| folders.iter().any(|it| it == folder_of(path)));
    inside.cloned().collect()
}

/// The modules that a file declares without a body.
struct Modules<'a> {
    /// The folder that the file is in.
    beside: &'a str,
    /// Where the modules of the file stand, and those of each module with a body around this one.
    folders: Vec<String>,
    declared: &'a mut Vec<Place>,
}

impl Visit<'_> for Modules<'_> {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        let name = module.ident.to_string();
        let name = name.trim_start_matches("r#");
        let path = path_attribute(module);
        let folder = self.folders.last().map_or("", String::as_str);
        if module.content.is_some() {
            let inner = join(folder, path.as_deref().unwrap_or(name));
            self.folders.push(inner);
            visit::visit_item_mod(self, module);
            self.folders.pop();
        } else if let Some(path) = path {
            // Inside the body of a module it stands where that module's files do.
            let is_inside = self.folders.len() > 1;
            let from = if is_inside { folder } else { self.beside };
            self.declared.push(Place::owner(join(from, &path)));
        } else {
            let folder = join(folder, name);
            let path = format!("{folder}/mod.rs");
            self.declared.push(Place::owner(path));
            let path = format!("{folder}.rs");
            self.declared.push(Place { path, folder });
        }
    }
}

fn path_attribute(module: &ItemMod) -> Option<String> {
    let mut attributes = module.attrs.iter();
    attributes.find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// A path from a folder, without `..` in it.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A package in which every file is reached, by each of the ways there are.
const REACHED: [(&str, &str); 17] = [
    (
        "x/src/lib.rs",
        "mod leaf; #[cfg(test)] mod tests; mod folder;",
    ),
    ("x/src/leaf.rs", "mod below; mod r#fn;"),
    (
        "x/src/leaf/below.rs",
        "mod body { mod inside; #[path = \"../near.rs\"] mod named; }",
    ),
    ("x/src/leaf/below/body/inside.rs", ""),
    ("x/src/leaf/below/near.rs", "mod beside;"),
    ("x/src/leaf/below/beside.rs", ""),
    ("x/src/leaf/fn.rs", ""),
    ("x/src/folder/mod.rs", "mod below;"),
    ("x/src/folder/below.rs", ""),
    ("x/src/tests.rs", "#[path = \"../../y/far.rs\"] mod named;"),
    ("y/far.rs", ""),
    ("x/src/bin/one.rs", ""),
    ("x/src/bin/two/main.rs", "mod part;"),
    ("x/src/bin/two/part.rs", ""),
    ("x/tests/a/odd.rs", ""),
    ("x/tests/b.rs", "fn f() { compile(\"tests/c/*.rs\"); }"),
    ("x/tests/c/compiled.rs", ""),
];

fn found(texts: &[(&str, String)]) -> Vec<String> {
    let manifest = "[[test]]\nname = \"odd\"\npath = \"tests/a/odd.rs\"";
    let manifests = [("x/Cargo.toml".to_owned(), manifest.to_owned())];
    let sources = texts.iter().map(|(path, text)| Source::planted(path, text));
    let findings = unreached(&manifests, &sources.collect::<Vec<_>>());
    findings.into_iter().map(|it| it.path).collect()
}

#[test]
fn a_file_that_nothing_is_made_of_is_found() {
    let reached = REACHED.map(|(path, text)| (path, text.to_owned()));
    assert_eq!(found(&reached), [""; 0]);
    for lost in [
        "x/src/lost.rs",
        "x/src/body/inside.rs",
        "x/src/leaf/beside.rs",
        "x/tests/a/lost.rs",
        "x/tests/c/d/lost.rs",
        "z/src/lib.rs",
    ] {
        let mut more = reached.to_vec();
        more.push((lost, String::new()));
        assert_eq!(found(&more), [lost]);
    }
}

#[test]
fn what_a_file_declares_is_lost_with_it() {
    for (gone, lost) in [
        ("mod leaf;", 6),
        ("mod folder;", 2),
        ("mod part;", 1),
        ("mod r#fn;", 1),
        ("mod inside;", 1),
        ("mod beside;", 1),
        ("#[path = \"../../y/far.rs\"] mod named;", 1),
        ("tests/c", 1),
    ] {
        let less = REACHED.map(|(path, text)| (path, text.replace(gone, "")));
        let found = found(&less);
        assert_eq!(found.len(), lost, "without {gone}: {found:?}");
    }
}
