//! Every hard limit has a test that goes one over it.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemFn, Visibility};

use crate::source::{Finding, Source};

/// Constants of the limits' file that nothing can be one over, each with the reason.
const WITHOUT_TEST: [(&str, &str); 7] = [
    (
        "BACK_OFF_MIN",
        "where the pauses start, not a bound: the longest pause is one",
    ),
    (
        "EXTENSION_BYTES",
        "a size of the format, held by the golden bytes",
    ),
    (
        "GRANT_EVERY_BYTES",
        "a rhythm: a receiver may grant sooner, and the window bounds the sender",
    ),
    (
        "HEADER_BYTES",
        "a size of the format, held by the golden bytes",
    ),
    (
        "PREFACE_BYTES",
        "a size of the format: what follows belongs to the first frame",
    ),
    (
        "SLAB_BYTES",
        "a unit: what does not fit takes a larger slab, up to the cap of its lane",
    ),
    ("STEADY_LINK", "a threshold between two pauses, not a bound"),
];

/// Checks that each `pub const` of `limits` is named in a function `*one_over*` of `sources`.
pub(crate) fn tested<'a>(
    limits: &Source,
    sources: impl Iterator<Item = &'a Source>,
) -> Vec<Finding> {
    let mut reader = OneOver::default();
    sources.for_each(|source| reader.visit_file(&source.file));
    let mut findings = stale_exceptions(limits);
    for item in &limits.file.items {
        let Item::Const(constant) = item else {
            continue;
        };
        let name = constant.ident.to_string();
        let listed = WITHOUT_TEST.iter().any(|(limit, _)| *limit == name);
        let public = matches!(constant.vis, Visibility::Public(_));
        if public && !listed && !reader.named.contains(&name) {
            let line = constant.ident.span().start().line;
            let text = format!("no test `*one_over*` names `{name}`: write one that goes over it");
            findings.push(limits.finding(line, text));
        }
    }
    findings
}

/// The exceptions whose constant is gone.
fn stale_exceptions(limits: &Source) -> Vec<Finding> {
    let is_there = |name: &str| {
        let mut items = limits.file.items.iter();
        items.any(|item| matches!(item, Item::Const(constant) if constant.ident == name))
    };
    let gone = WITHOUT_TEST.iter().filter(|(name, _)| !is_there(name));
    gone.map(|(name, _)| limits.finding(1, format!("`{name}` is gone: remove its exception")))
        .collect()
}

/// The words that functions called `*one_over*` hold.
#[derive(Default)]
struct OneOver {
    named: BTreeSet<String>,
}

impl OneOver {
    fn read(&mut self, name: &syn::Ident, body: impl quote::ToTokens) {
        if name.to_string().contains("one_over") {
            self.collect(body.to_token_stream());
        }
    }

    fn collect(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => drop(self.named.insert(ident.to_string())),
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl Visit<'_> for OneOver {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.read(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        self.read(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

#[test]
fn a_limit_without_its_test_and_an_exception_without_its_limit_are_found() {
    let (last, others) = WITHOUT_TEST.split_last().expect("there are exceptions");
    let excepted: String = others
        .iter()
        .map(|(name, _)| format!("pub const {name}: u8 = 0;\n"))
        .collect();
    let text = format!("pub const FRAME: u32 = 1;\npub const TYPES: u16 = 2;\n{excepted}");
    let limits = Source::planted("transport/proto/src/limits.rs", &text);
    let test = "#[test] fn one_over_each_limit() { refuse(limits::FRAME + 1); }\n\
                #[test] fn another() { refuse(limits::TYPES + 1); }";
    let tests = [Source::planted("transport/proto/src/tests.rs", test)];
    let found = tested(&limits, tests.iter());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].text.contains(last.0) && found[1].text.contains("TYPES"),
        "{found:?}"
    );
}
