//! Where `unsafe` may stand.

use crate::source::{Finding, Source};

/// The files that may hold unsafe code: see ARCHITECTURE.md for what each of them argues from.
pub(crate) const UNSAFE_FILES: [&str; 11] = [
    "engine/src/mesh/ring.rs",
    "engine/src/message/lease.rs",
    "transport/proto/src/slab.rs",
    "transport/src/buffer/assembly.rs",
    "transport/src/buffer/bulk.rs",
    "transport/src/buffer/copies.rs",
    "transport/src/buffer/mod.rs",
    "transport/src/buffer/receive_pool.rs",
    "transport/src/descriptor.rs",
    "transport/src/ring/mod.rs",
    "transport/src/ring/operation.rs",
];

pub(crate) fn unsafe_code(source: &Source) -> Vec<Finding> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut uses = source
        .names
        .iter()
        .filter(|(names, _)| names.iter().any(|it| it == "unsafe"));
    let Some((_, line)) = uses.next() else {
        return Vec::new();
    };
    let text = "unsafe code outside the files named in tests/tests/tidy/safety.rs: use what those \
                files offer";
    vec![source.finding(*line, text)]
}

/// Every crate root refuses unsafe code as far as its files allow: `forbid` where no file of the
/// package is named above, `deny` where one is.
pub(crate) fn crate_root(source: &Source) -> Vec<Finding> {
    let package = source.package();
    let roots = ["lib.rs", "main.rs"].map(|file| format!("{package}/src/{file}"));
    if !roots.contains(&source.path) {
        return Vec::new();
    }
    let inside = format!("{package}/src/");
    let excepted = UNSAFE_FILES.iter().any(|file| file.starts_with(&inside));
    let wanted = if excepted { "deny" } else { "forbid" };
    let attribute = format!("#![{wanted}(unsafe_code)]");
    if source.text.lines().any(|line| line == attribute) {
        return Vec::new();
    }
    vec![source.finding(1, format!("the crate root lacks `{attribute}`"))]
}

#[test]
fn unsafe_code_is_found_in_every_form() {
    let forms = [
        "fn f() { unsafe { g() } }",
        "unsafe fn f() {}",
        "unsafe impl Send for A {}",
        "unsafe extern \"C\" { fn f(); }",
        "#[unsafe(no_mangle)] fn f() {}",
        "m! { unsafe { g() } }",
    ];
    for form in forms {
        assert!(
            !unsafe_code(&Source::planted("engine/src/a.rs", form)).is_empty(),
            "{form}"
        );
        assert_eq!(unsafe_code(&Source::planted(UNSAFE_FILES[0], form)), []);
    }
    let harmless = "#![deny(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";";
    assert_eq!(
        unsafe_code(&Source::planted("engine/src/a.rs", harmless)),
        []
    );
}

#[test]
fn a_crate_root_that_allows_unsafe_code_is_found() {
    let found = |path, text| crate_root(&Source::planted(path, text)).len();
    assert_eq!(found("cluster/src/lib.rs", ""), 1);
    assert_eq!(found("cluster/src/lib.rs", "#![deny(unsafe_code)]"), 1);
    assert_eq!(found("cluster/src/lib.rs", "#![forbid(unsafe_code)]"), 0);
    assert_eq!(found("engine/src/lib.rs", "#![deny(unsafe_code)]"), 0);
    assert_eq!(found("engine/src/a/lib.rs", ""), 0);
}
