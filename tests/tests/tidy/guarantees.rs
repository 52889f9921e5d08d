//! What is guaranteed is shown: each sentence of the page names tests that exist.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{Attribute, ImplItemFn, ItemFn, Macro};

use crate::source::{Finding, Source};

pub(crate) const PAGE: &str = "engine/guarantees.md";

/// Checks the page's `text` against the tests of `sources`.
pub(crate) fn shown<'a>(text: &str, sources: impl IntoIterator<Item = &'a Source>) -> Vec<Finding> {
    let mut tests = Tests::default();
    for source in sources {
        tests.visit_file(&source.file);
    }
    let mut findings = Vec::new();
    for (line, sentence) in sentences(text) {
        let named: Vec<&str> = sentence.split('`').skip(1).step_by(2).collect();
        let named = named.into_iter().filter(|name| is_long_name(name));
        let named: Vec<&str> = named.collect();
        if named.is_empty() {
            findings.push(finding(line, "the sentence names no test".to_owned()));
        }
        for name in named.iter().filter(|name| !tests.0.contains(**name)) {
            findings.push(finding(line, format!("there is no test `{name}`")));
        }
    }
    findings
}

/// Names of tests are sentences; those of other things have fewer words.
fn is_long_name(quoted: &str) -> bool {
    quoted.matches('_').count() >= 3
}

/// The items of the lists, each with its line.
fn sentences(text: &str) -> Vec<(usize, String)> {
    let mut sentences: Vec<(usize, String)> = Vec::new();
    let mut is_within = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("- ") {
            sentences.push((number + 1, line.to_owned()));
            is_within = true;
        } else if line.starts_with("  ") && is_within {
            let last = sentences.last_mut().expect("a sentence has begun");
            last.1.push_str(line);
        } else {
            is_within = false;
        }
    }
    sentences
}

fn finding(line: usize, text: String) -> Finding {
    Finding {
        path: PAGE.to_owned(),
        line,
        text,
    }
}

/// The names of the functions that are tests.
#[derive(Default)]
struct Tests(BTreeSet<String>);

impl Tests {
    fn note(&mut self, attributes: &[Attribute], name: &syn::Ident) {
        let is_test = |attribute: &Attribute| attribute.path().is_ident("test");
        if attributes.iter().any(is_test) {
            self.0.insert(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.attrs, &function.sig.ident);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.attrs, &function.sig.ident);
        visit::visit_impl_item_fn(self, function);
    }

    /// Those of property tests stand within a macro.
    fn visit_macro(&mut self, inside: &'ast Macro) {
        if inside.path.is_ident("proptest") {
            let text = inside.tokens.to_string();
            let names = text.split("fn ").skip(1);
            let names = names.filter_map(|rest| rest.split_once(['(', ' ', '\n']));
            self.0.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn a_sentence_without_its_test_is_found() {
    let tests = "#[test] fn it_is_so_with_this() {}\nfn it_is_so_with_that() {}\n\
                 proptest! { #[test] fn it_is_always_so(x in 0..1) {} }";
    let source = Source::planted("a.rs", tests);
    let page = "# Page\nNothing.\n- It is so.\n  (`it_is_so_with_this`, `it_is_always_so`)\n";
    assert_eq!(shown(page, [&source]), []);
    let page = format!("{page}- `One`.\n- Two. (`it_is_so_with_that`)\n");
    let findings = shown(&page, [&source]);
    let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [5, 6], "{findings:?}");
}
