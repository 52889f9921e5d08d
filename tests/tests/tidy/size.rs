//! How long lines, functions and files may be.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::source::{Finding, Source};

const LINE_COLUMNS_MAX: usize = 100;
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;
const FILE_LINES_CEILING: usize = 800;
const INLINE_TEST_LINES_MAX: usize = 150;

/// Longer than the limit for now, at most this long. An entry only shrinks, or goes.
pub(crate) struct Ratchet {
    /// The path of a file, or `path::function`.
    pub(crate) subject: &'static str,
    pub(crate) lines: usize,
}

pub(crate) fn lines(source: &Source) -> Vec<Finding> {
    let too_long = |(number, line): (usize, &str)| {
        let columns = line.chars().count();
        let text = format!("{columns} columns: break the line at {LINE_COLUMNS_MAX}");
        (columns > LINE_COLUMNS_MAX).then(|| source.finding(number + 1, text))
    };
    source
        .text
        .lines()
        .enumerate()
        .filter_map(too_long)
        .collect()
}

/// Checks the length of a file; `ratchets` says which may be longer for now. Files of tests alone
/// keep to the ceiling.
pub(crate) fn file(source: &Source, ratchets: &[Ratchet]) -> Vec<Finding> {
    let lines = source.own_lines();
    let mut findings = Vec::new();
    if lines > FILE_LINES_CEILING {
        let text = format!("{lines} lines, the ceiling is {FILE_LINES_CEILING}: split the file");
        findings.push(source.finding(1, text));
    } else if !source.is_test_file()
        && let Some(text) = judge(&source.path, lines, FILE_LINES_MAX, ratchets)
    {
        findings.push(source.finding(1, format!("{text}: split it by responsibility")));
    }
    let tests = source.inline_test_lines();
    if tests > INLINE_TEST_LINES_MAX {
        let text = format!("{tests} lines of inline tests: move them into a sibling tests.rs");
        findings.push(source.finding(1, text));
    }
    findings
}

/// Checks the length of each function, from `fn` to its closing brace.
pub(crate) fn functions(source: &Source, ratchets: &[Ratchet]) -> Vec<Finding> {
    let mut reader = Functions {
        source,
        ratchets,
        findings: Vec::new(),
    };
    reader.visit_file(&source.file);
    reader.findings
}

fn judge(subject: &str, lines: usize, limit: usize, ratchets: &[Ratchet]) -> Option<String> {
    match ratchets.iter().find(|ratchet| ratchet.subject == subject) {
        None if lines > limit => Some(format!("{lines} lines, the limit is {limit}")),
        Some(ratchet) if lines > ratchet.lines => Some(format!(
            "grew to {lines} lines, its ratchet stands at {}",
            ratchet.lines
        )),
        Some(_) if lines <= limit => Some(format!("{lines} lines: remove its ratchet")),
        Some(ratchet) if lines < ratchet.lines => Some(format!("lower its ratchet to {lines}")),
        _ => None,
    }
}

struct Functions<'a> {
    source: &'a Source,
    ratchets: &'a [Ratchet],
    findings: Vec<Finding>,
}

impl Functions<'_> {
    fn judge(&mut self, signature: &Signature, block: &Block) {
        let start = signature.span().start().line;
        let lines = block.span().end().line - start + 1;
        let subject = format!("{}::{}", self.source.path, signature.ident);
        if let Some(text) = judge(&subject, lines, FUNCTION_LINES_MAX, self.ratchets) {
            let text = format!(
                "`{}`: {text}: keep the branches, move out leaves",
                signature.ident
            );
            self.findings.push(self.source.finding(start, text));
        }
    }
}

impl Visit<'_> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.judge(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        self.judge(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &TraitItemFn) {
        if let Some(block) = &function.default {
            self.judge(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn a_line_over_the_limit_is_found() {
    let long = format!("// {}", "x".repeat(LINE_COLUMNS_MAX - 2));
    let found = lines(&Source::planted("x/src/a.rs", &format!("//\n{long}")));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 2);
    let fits = &long[..LINE_COLUMNS_MAX];
    assert!(lines(&Source::planted("x/src/a.rs", fits)).is_empty());
}

#[test]
fn a_function_over_the_limit_is_found_wherever_it_stands() {
    let body = "\n".repeat(FUNCTION_LINES_MAX);
    let shapes = [
        format!("fn f() {{{body}}}"),
        format!("impl A {{ fn f() {{{body}}} }}"),
        format!("trait A {{ fn f() {{{body}}} }}"),
        format!("fn g() {{ if true {{ fn f() {{{body}}} }} }}"),
        format!("#[cfg(test)] mod tests {{ fn f() {{{body}}} }}"),
    ];
    for shape in shapes {
        let found = functions(&Source::planted("x/src/a.rs", &shape), &[]);
        assert!(
            found.iter().any(|finding| finding.text.contains("`f`")),
            "{shape} {found:?}"
        );
    }
    let fits = format!("fn f() {{{}}}", &body[1..]);
    assert!(functions(&Source::planted("x/src/a.rs", &fits), &[]).is_empty());
}

#[test]
fn a_file_over_the_limit_is_found_and_its_ratchet_only_shrinks() {
    let source = Source::planted("x/src/a.rs", &"//\n".repeat(FILE_LINES_MAX + 2));
    let ratchet = |lines| {
        [Ratchet {
            subject: "x/src/a.rs",
            lines,
        }]
    };
    assert_eq!(file(&source, &[]).len(), 1);
    assert_eq!(
        file(&source, &ratchet(FILE_LINES_MAX + 1)).len(),
        1,
        "it grew"
    );
    assert_eq!(file(&source, &ratchet(FILE_LINES_MAX + 2)), []);
    assert_eq!(
        file(&source, &ratchet(FILE_LINES_MAX + 3)).len(),
        1,
        "it shrank"
    );
    let short = Source::planted("x/src/a.rs", "//\n");
    assert_eq!(
        file(&short, &ratchet(FILE_LINES_MAX + 3)).len(),
        1,
        "needs no ratchet any more"
    );
    let huge = Source::planted("x/src/a.rs", &"//\n".repeat(FILE_LINES_CEILING + 1));
    assert_eq!(
        file(&huge, &ratchet(FILE_LINES_CEILING + 1)).len(),
        1,
        "no ratchet lifts it"
    );
    let tests = |lines| Source::planted("x/src/a/tests.rs", &"//\n".repeat(lines));
    assert_eq!(file(&tests(FILE_LINES_CEILING), &[]), []);
    assert_eq!(file(&tests(FILE_LINES_CEILING + 1), &[]).len(), 1);
}

#[test]
fn long_inline_tests_are_found_and_do_not_count_as_the_file() {
    let body = "\n".repeat(FILE_LINES_MAX);
    let source = Source::planted(
        "x/src/a.rs",
        &format!("#[cfg(test)]\nmod tests {{{body}}}\n"),
    );
    let found = file(&source, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].text.contains("inline tests"));
}
