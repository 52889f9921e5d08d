//! Every hard limit has a test that goes one over it.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemFn, Visibility};

use crate::source::{Finding, Source};

/// Limits that nothing can be one over, each with the reason.
const WITHOUT_TEST: [(&str, &str); 0] = [];

/// Checks that each `pub const` of `limits` is named in a function `one_over_*` of `sources`.
pub(crate) fn tested<'a>(
    limits: &Source,
    sources: impl Iterator<Item = &'a Source>,
) -> Vec<Finding> {
    let mut reader = OneOver::default();
    sources.for_each(|source| reader.visit_file(&source.file));
    let mut findings = Vec::new();
    for item in &limits.file.items {
        let Item::Const(constant) = item else {
            continue;
        };
        let name = constant.ident.to_string();
        let listed = WITHOUT_TEST.iter().any(|(limit, _)| *limit == name);
        let public = matches!(constant.vis, Visibility::Public(_));
        if public && !listed && !reader.named.contains(&name) {
            let line = constant.ident.span().start().line;
            let text = format!("no test `one_over_*` names `{name}`: write one that goes over it");
            findings.push(limits.finding(line, text));
        }
    }
    findings
}

/// The words that functions called `one_over_*` hold.
#[derive(Default)]
struct OneOver {
    named: BTreeSet<String>,
}

impl OneOver {
    fn read(&mut self, name: &syn::Ident, body: impl quote::ToTokens) {
        if name.to_string().starts_with("one_over_") {
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
fn a_limit_without_its_test_is_found() {
    let limits = Source::planted(
        "transport/proto/src/limits.rs",
        "pub const FRAME_BYTES: u32 = 1;\npub const TYPES: u16 = 2;\nconst OWN: u8 = 3;",
    );
    let test = "#[test] fn one_over_each_limit() { refuse(limits::FRAME_BYTES + 1); }\n\
                #[test] fn another() { refuse(limits::TYPES + 1); }";
    let tests = [Source::planted("transport/proto/src/tests.rs", test)];
    let found = tested(&limits, tests.iter());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, 2);
}
