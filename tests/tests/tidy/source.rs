//! The text of the repository, read and parsed once.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, ItemUse, UseTree};

/// Something a rule objects to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// One Rust file.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) file: syn::File,
    /// Every path the file names, macro bodies included, with its line.
    pub(crate) names: Vec<(Vec<String>, usize)>,
    inline_tests: Vec<RangeInclusive<usize>>,
}

impl Source {
    /// Parses `text` as if it stood at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Finding> {
        let file = syn::parse_file(text).map_err(|error| Finding {
            path: path.to_owned(),
            line: error.span().start().line,
            text: format!("does not parse: {error}"),
        })?;
        let tokens = text
            .parse()
            .expect("what parses as a file is a stream of tokens");
        let mut names = Vec::new();
        collect_names(tokens, &mut names);
        let mut reader = Reader::default();
        reader.visit_file(&file);
        names.append(&mut reader.imports);
        let inline_tests = reader.inline_tests;
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            file,
            names,
            inline_tests,
        })
    }

    /// Parses a planted text; for the tests of the rules.
    pub(crate) fn planted(path: &str, text: &str) -> Self {
        Self::parse(path, text).expect("a planted source parses")
    }

    pub(crate) fn finding(&self, line: usize, text: impl Into<String>) -> Finding {
        Finding {
            path: self.path.clone(),
            line,
            text: text.into(),
        }
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        let mut parts = self.path.split('/');
        self.path.ends_with("/tests.rs") || parts.any(|part| part == "tests" || part == "ui")
    }

    /// Whether `line` is test code, in a test file or in a module under `#[cfg(test)]`.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.inline_tests.iter().any(|lines| lines.contains(&line))
    }

    /// Lines outside the modules under `#[cfg(test)]`.
    pub(crate) fn own_lines(&self) -> usize {
        self.text.lines().count() - self.inline_test_lines()
    }

    /// Lines of the modules under `#[cfg(test)]`.
    pub(crate) fn inline_test_lines(&self) -> usize {
        self.inline_tests
            .iter()
            .map(|lines| lines.end() - lines.start() + 1)
            .sum()
    }

    /// The package folder the file belongs to: the part of its path before `/src/`, `/tests/`,
    /// `/benches/` or `/examples/`.
    pub(crate) fn package(&self) -> &str {
        let ends = ["/src/", "/tests/", "/benches/", "/examples/"];
        let end = ends.iter().filter_map(|part| self.path.find(part)).min();
        &self.path[..end.unwrap_or(0)]
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the root")
        .to_owned()
}

/// Every Rust file of the repository, in the order of their paths.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let paths = files(&root)
        .into_iter()
        .filter(|path| path.ends_with(".rs"));
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).expect("a listed file can be read");
        Source::parse(&path, &text).unwrap_or_else(|finding| panic!("{finding:?}"))
    };
    paths.map(read).collect()
}

/// Every file of the repository, build output and hidden folders other than `.ci` left out.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry
                .expect("an entry of the repository can be read")
                .path();
            let name = path
                .file_name()
                .expect("an entry has a name")
                .to_string_lossy();
            let hidden = name.starts_with('.') && name != ".ci";
            if path.is_dir() && !hidden && !is_build_output(&path) {
                folders.push(path);
            } else if path.is_file() {
                let inside = path.strip_prefix(root).expect("walked from the root");
                found.push(inside.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Cargo tags its target folders, wherever they are. Findings of the fuzzer are output too.
pub(crate) fn is_build_output(folder: &Path) -> bool {
    folder.ends_with("target")
        || folder.ends_with("tests/fuzz/artifacts")
        || folder.join("CACHEDIR.TAG").exists()
}

/// Whether one of `attributes` is `#[cfg(test)]`, alone or as a part of a condition.
fn is_cfg_test(attributes: &[Attribute]) -> bool {
    let names_test = |attribute: &Attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let tokens = list.tokens.clone().into_iter();
        list.path.is_ident("cfg") && tokens.into_iter().any(|token| token.to_string() == "test")
    };
    attributes.iter().any(names_test)
}

#[derive(Default)]
struct Reader {
    imports: Vec<(Vec<String>, usize)>,
    inline_tests: Vec<RangeInclusive<usize>>,
}

impl Visit<'_> for Reader {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        if is_cfg_test(&module.attrs) && module.content.is_some() {
            let span = module.span();
            self.inline_tests.push(span.start().line..=span.end().line);
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        flatten(&item.tree, &mut Vec::new(), &mut self.imports);
    }
}

/// Writes out the paths of a `use`, so that `a::{b, c}` is `a::b` and `a::c`.
fn flatten(tree: &UseTree, above: &mut Vec<String>, into: &mut Vec<(Vec<String>, usize)>) {
    let line = tree.span().start().line;
    let name = match tree {
        UseTree::Path(path) => {
            above.push(path.ident.to_string());
            flatten(&path.tree, above, into);
            above.pop();
            return;
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, above, into);
            }
            return;
        }
        UseTree::Glob(_) => "*".to_owned(),
        UseTree::Name(name) => name.ident.to_string(),
        UseTree::Rename(rename) => rename.ident.to_string(),
    };
    let mut path = above.clone();
    path.push(name);
    into.push((path, line));
}

/// Collects the runs `a::b::c` of a stream; the name of a macro that is called ends in `!`.
fn collect_names(tokens: TokenStream, into: &mut Vec<(Vec<String>, usize)>) {
    let mut run: Vec<String> = Vec::new();
    let mut line = 0;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 && !run.is_empty() {
                    into.push((std::mem::take(&mut run), line));
                }
                line = ident.span().start().line;
                run.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                if let (TokenTree::Punct(punct), Some(last)) = (&other, run.last_mut())
                    && (punct.as_char(), punct.spacing()) == ('!', Spacing::Alone)
                    && colons == 0
                {
                    last.push('!');
                }
                if !run.is_empty() {
                    into.push((std::mem::take(&mut run), line));
                }
                colons = 0;
                if let TokenTree::Group(group) = other {
                    collect_names(group.stream(), into);
                }
            }
        }
    }
    if !run.is_empty() {
        into.push((run, line));
    }
}

#[test]
fn names_are_read_in_imports_paths_and_macro_bodies() {
    let text = "use a::{b, c::*, d as e};\nfn f() { g::h(); m! { n::o } \n p!() }";
    let source = Source::planted("x/src/a.rs", text);
    let has = |path: &str, line| {
        source
            .names
            .iter()
            .any(|(names, at)| names.join("::") == path && *at == line)
    };
    for (path, line) in [
        ("a::b", 1),
        ("a::c::*", 1),
        ("a::d", 1),
        ("g::h", 2),
        ("n::o", 2),
    ] {
        assert!(has(path, line), "{path}: {:?}", source.names);
    }
    assert!(has("p!", 3), "{:?}", source.names);
    // A comparison is no macro call.
    let compared = Source::planted("x/src/a.rs", "fn f() { p != 1; }");
    assert!(
        compared
            .names
            .iter()
            .all(|(names, _)| names != &["p!".to_owned()])
    );
}

#[test]
fn test_code_is_told_from_the_rest() {
    let text = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    let source = Source::planted("x/src/a.rs", text);
    assert!(!source.is_test_line(1) && source.is_test_line(5));
    assert_eq!((source.own_lines(), source.inline_test_lines()), (2, 4));
    assert!(Source::planted("x/src/a/tests.rs", "").is_test_line(1));
    assert_eq!(Source::planted("x/y/src/a/tests.rs", "").package(), "x/y");
}
