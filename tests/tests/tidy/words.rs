//! Names and calls that have a better replacement.

use crate::source::{Finding, Source};

/// A path that must not be named in some places, and what to do instead.
struct Ban {
    path: &'static str,
    instead: &'static str,
    /// Whether the ban holds at `line` of `source`.
    at: fn(source: &Source, line: usize) -> bool,
}

const PURE: [&str; 2] = ["transport/proto", "cluster"];
const CLOCK: &str = "a pure crate owns no clock: take `now: crate::time::Instant` as an argument";
const ORDER: &str = "its order differs from run to run: rustc_hash for look-ups, BTreeMap or a \
                     sorted Vec where the order is read";
const PURITY: &str = "a pure crate decides and does not act: return an effect to the driver";

const BANS: [Ban; 24] = [
    Ban {
        path: "todo!",
        instead: "write it, or leave the feature out",
        at: anywhere,
    },
    Ban {
        path: "unimplemented!",
        instead: "write it, or return a typed error",
        at: anywhere,
    },
    Ban {
        path: "access_unchecked",
        instead: "archive::access: bytes from a peer are checked before they are read",
        at: anywhere,
    },
    Ban {
        path: "unbounded",
        instead: "give the queue a bound and a counter",
        at: anywhere,
    },
    Ban {
        path: "unbounded_channel",
        instead: "give the queue a bound",
        at: anywhere,
    },
    Ban {
        path: "glommio",
        instead: "engine/src/rt is the one room that names the executor",
        at: outside_rt,
    },
    Ban {
        path: "thread::sleep",
        instead: "await the event: read the line, poll the counter under a deadline, join",
        at: in_tests,
    },
    Ban {
        path: "std::time::Instant",
        instead: CLOCK,
        at: in_pure_crates,
    },
    Ban {
        path: "std::time::SystemTime",
        instead: CLOCK,
        at: in_pure_crates,
    },
    Ban {
        path: "std::time::*",
        instead: CLOCK,
        at: in_pure_crates,
    },
    Ban {
        path: "SystemTime::now",
        instead: CLOCK,
        at: in_pure_crates,
    },
    Ban {
        path: "Instant::now",
        instead: CLOCK,
        at: in_pure_crates,
    },
    Ban {
        path: "std::collections::HashMap",
        instead: ORDER,
        at: in_pure_code,
    },
    Ban {
        path: "std::collections::HashSet",
        instead: ORDER,
        at: in_pure_code,
    },
    Ban {
        path: "std::hash::RandomState",
        instead: ORDER,
        at: in_pure_code,
    },
    Ban {
        path: "std::env",
        instead: PURITY,
        at: in_pure_code,
    },
    Ban {
        path: "std::fs",
        instead: PURITY,
        at: in_pure_code,
    },
    Ban {
        path: "std::process",
        instead: PURITY,
        at: in_pure_code,
    },
    Ban {
        path: "std::thread",
        instead: PURITY,
        at: in_pure_code,
    },
    Ban {
        path: "std::net::TcpStream",
        instead: PURITY,
        at: in_pure_crates,
    },
    Ban {
        path: "std::net::TcpListener",
        instead: PURITY,
        at: in_pure_crates,
    },
    Ban {
        path: "std::net::UdpSocket",
        instead: PURITY,
        at: in_pure_crates,
    },
    Ban {
        path: "std::sync::Mutex",
        instead: "one owner per datum, no locks",
        at: in_pure_crates,
    },
    Ban {
        path: "std::sync::RwLock",
        instead: "one owner per datum, no locks",
        at: in_pure_crates,
    },
];

/// Names that say nothing about what a file or folder holds.
const EMPTY_NAMES: [&str; 10] = [
    "common", "helper", "helpers", "impls", "manager2", "misc", "stuff", "types", "util", "utils",
];

/// Marks of unfinished work, put together here so that this file does not hold them itself.
const MARKS: [[&str; 2]; 3] = [["FIX", "ME"], ["TO", "DO"], ["X", "XX"]];

pub(crate) fn banned_paths(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ban in &BANS {
        let wanted: Vec<&str> = ban.path.split("::").collect();
        for (names, line) in &source.names {
            let named = names.windows(wanted.len()).any(|run| run == wanted);
            if named && (ban.at)(source, *line) {
                let text = format!("`{}`: {}", ban.path, ban.instead);
                findings.push(source.finding(*line, text));
            }
        }
    }
    findings
}

pub(crate) fn marks(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split(|letter: char| !letter.is_alphanumeric());
        if words.any(|word| MARKS.iter().any(|mark| word == mark.concat())) {
            findings.push(Finding {
                path: path.to_owned(),
                line: number + 1,
                text: "a mark of unfinished work: do it, or write down why not".to_owned(),
            });
        }
    }
    findings
}

/// Checks the name of a file and of the folders above it.
pub(crate) fn file_name(path: &str) -> Vec<Finding> {
    let is_empty_name = |part: &&str| {
        let stem = part.split('.').next().unwrap_or(part);
        EMPTY_NAMES.contains(&stem)
    };
    let finding = |part: &str| Finding {
        path: path.to_owned(),
        line: 1,
        text: format!("`{part}` says nothing: name the noun it holds"),
    };
    path.split('/').filter(is_empty_name).map(finding).collect()
}

/// Folders of one machine have no place in the repository.
pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let prefixes = ["/home", "/root", "/Users", "/work"].map(|folder| format!("{folder}/"));
    let names_one = |line: &str| prefixes.iter().any(|prefix| line.contains(prefix.as_str()));
    let lines = text.lines().enumerate().filter(|(_, line)| names_one(line));
    let finding = |(number, _)| Finding {
        path: path.to_owned(),
        line: number + 1,
        text: "a path of one machine: make it relative to the repository".to_owned(),
    };
    lines.map(finding).collect()
}

fn anywhere(_: &Source, _: usize) -> bool {
    true
}

fn outside_rt(source: &Source, _: usize) -> bool {
    !source.path.starts_with("engine/src/rt/")
}

fn in_tests(source: &Source, line: usize) -> bool {
    source.is_test_line(line)
}

fn in_pure_crates(source: &Source, _: usize) -> bool {
    PURE.contains(&source.package())
}

fn in_pure_code(source: &Source, line: usize) -> bool {
    in_pure_crates(source, line) && !source.is_test_line(line)
}

#[test]
fn each_ban_finds_a_planted_violation_and_keeps_to_its_places() {
    for ban in &BANS {
        let text = match ban.path.strip_suffix('!') {
            Some(name) => format!("fn f() {{ {name}!() }}"),
            None if ban.path.ends_with('*') => format!("use {};", ban.path),
            None => format!("fn f() {{ {}(); }}", ban.path),
        };
        let found_at = |path| banned_paths(&Source::planted(path, &text));
        let places = [
            "cluster/src/a.rs",
            "engine/tests/a.rs",
            "transport/proto/src/a.rs",
        ];
        let found = places.map(|place| found_at(place).len());
        assert_ne!(found, [0, 0, 0], "{}", ban.path);
        assert!(
            found.iter().all(|count| *count <= 2),
            "{}: {found:?}",
            ban.path
        );
    }
    let clean = |path, text| assert_eq!(banned_paths(&Source::planted(path, text)), []);
    clean(
        "engine/src/core/clock.rs",
        "use std::time::{Duration, Instant};",
    );
    clean(
        "transport/proto/src/a.rs",
        "use std::time::Duration; use crate::time::Instant;",
    );
    clean("engine/src/rt/mod.rs", "use glommio::Placement;");
    let remark = format!(
        "// {}() and access_unchecked in a comment\nfn f() {{}}",
        BANS[0].path
    );
    let remark = Source::planted("engine/src/a.rs", &remark);
    assert_eq!(banned_paths(&remark), []);
    clean("loadgen/src/a.rs", "fn f() { std::thread::sleep(a); }");
}

#[test]
fn imports_cannot_hide_a_ban() {
    let hidden = [
        "use std::time::{self, Duration, Instant as Clock};",
        "use std::{collections::{BTreeMap, HashMap}, fmt};",
        "macro_rules! m { () => { std::time::SystemTime::now() } }",
    ];
    for text in hidden {
        let found = banned_paths(&Source::planted("cluster/src/a.rs", text));
        assert!(!found.is_empty(), "{text}");
    }
}

#[test]
fn marks_of_unfinished_work_are_found_as_whole_words() {
    let planted = format!("// {}: later", MARKS[0].concat());
    assert_eq!(marks("a.rs", &planted).len(), 1);
    assert_eq!(marks("a.rs", "// a prefixme is no mark"), []);
}

#[test]
fn empty_names_and_machine_paths_are_found() {
    assert_eq!(file_name("engine/src/utils.rs").len(), 1);
    assert_eq!(file_name("engine/common/src/lib.rs").len(), 1);
    assert_eq!(file_name("engine/src/commonplace.rs"), []);
    assert_eq!(
        machine_paths("a.md", &format!("see {}/me/notes", "/home")).len(),
        1
    );
    assert_eq!(machine_paths("a.md", "see /proc/self/limits"), []);
}
