//! The crate walls: what each package may depend on, read from `cargo metadata`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// One row of the stack, from the bottom up.
struct Wall {
    package: &'static str,
    folder: &'static str,
    /// Packages of this workspace that the package may name, in its code and in its tests.
    workspace: &'static [&'static str],
    /// Other packages that its code may name.
    external: &'static [&'static str],
    /// Other packages that only its tests and benches may name.
    tests: &'static [&'static str],
}

const WALLS: [Wall; 11] = [
    Wall {
        package: "ringmesh-proto",
        folder: "transport/proto",
        workspace: &[],
        external: &["bytes", "crc32fast", "rkyv", "rustc-hash", "thiserror"],
        tests: &["loom", "proptest"],
    },
    Wall {
        package: "ringmesh-transport",
        folder: "transport",
        workspace: &["ringmesh-proto"],
        external: &[
            "bytes",
            "io-uring",
            "libc",
            "rustc-hash",
            "socket2",
            "thiserror",
            "tracing",
        ],
        tests: &["proptest", "tempfile"],
    },
    Wall {
        package: "ringmesh-cluster",
        folder: "cluster",
        workspace: &["ringmesh-proto"],
        external: &["rkyv", "rustc-hash", "thiserror"],
        tests: &["proptest"],
    },
    Wall {
        package: "ringmesh-lease",
        folder: "lease",
        // Itself, with all features: its tests are of all stores.
        workspace: &["ringmesh-cluster", "ringmesh-lease", "ringmesh-proto"],
        external: &[
            "base64",
            "jiff",
            "rustix",
            "serde_json",
            "thiserror",
            "ureq",
        ],
        tests: &["rustls", "tempfile"],
    },
    Wall {
        package: "ringmesh-macros",
        folder: "engine/macros",
        workspace: &[],
        external: &["proc-macro2", "quote", "syn"],
        tests: &[],
    },
    Wall {
        package: "ringmesh",
        folder: "engine",
        workspace: &[
            "ringmesh-cluster",
            "ringmesh-lease",
            "ringmesh-macros",
            "ringmesh-proto",
            "ringmesh-transport",
        ],
        external: &[
            "futures-channel",
            "getrandom",
            "glommio",
            "libc",
            "rkyv",
            "rustc-hash",
            "rustix",
            "similar",
            "strsim",
            "thiserror",
            "toml",
            "tracing",
        ],
        tests: &[
            "bytes",
            "clap",
            "futures-util",
            "loom",
            "proptest",
            "serde_json",
            "socket2",
            "tempfile",
            "tracing-subscriber",
            "trybuild",
        ],
    },
    Wall {
        package: "ringmesh-fault-proxy",
        folder: "tests/proxy",
        workspace: &[],
        external: &["fastrand", "socket2"],
        tests: &[],
    },
    Wall {
        package: "ringmesh-sim",
        folder: "tests/sim",
        workspace: &["ringmesh-cluster", "ringmesh-proto"],
        external: &["thiserror"],
        tests: &[],
    },
    Wall {
        package: "ringmesh-loadgen",
        folder: "loadgen",
        workspace: &["ringmesh", "ringmesh-fault-proxy"],
        external: &[
            "bytes",
            "clap",
            "crc32fast",
            "fastrand",
            "futures-channel",
            "hdrhistogram",
            "indicatif",
            "rtrb",
            "rustix",
            "serde",
            "serde_json",
            "socket2",
            "stats_alloc",
            "thiserror",
            "tracing",
            "tracing-subscriber",
        ],
        tests: &["tempfile"],
    },
    Wall {
        package: "ringmesh-bench",
        folder: "bench",
        workspace: &[
            "ringmesh",
            "ringmesh-cluster",
            "ringmesh-proto",
            "ringmesh-transport",
        ],
        external: &[],
        tests: &["bytes", "crc32fast", "criterion", "rkyv", "rtrb"],
    },
    Wall {
        package: "ringmesh-tests",
        folder: "tests",
        workspace: &[
            "ringmesh",
            "ringmesh-cluster",
            "ringmesh-fault-proxy",
            "ringmesh-loadgen",
            "ringmesh-proto",
            "ringmesh-sim",
            "ringmesh-transport",
        ],
        // The live tests start, confine, trace and weigh whole nodes.
        external: &[
            "bytes",
            "clap",
            "crc32fast",
            "fastrand",
            "futures-channel",
            "libc",
            "rkyv",
            "rustix",
            "seccompiler",
            "serde_json",
            "socket2",
            "stats_alloc",
            "tempfile",
            "tracing",
            "tracing-subscriber",
        ],
        tests: &[
            "cargo_metadata",
            "proc-macro2",
            "proptest",
            "quote",
            "serde",
            "syn",
            "toml",
        ],
    },
];

/// The folders of the root that hold code; `deploy` comes with the first deployment.
const FOLDERS: [&str; 7] = [
    "bench",
    "cluster",
    "engine",
    "lease",
    "loadgen",
    "tests",
    "transport",
];
const OPTIONAL_FOLDERS: [&str; 1] = ["deploy"];

/// A dependency as a manifest declares it.
#[derive(Clone, Debug)]
struct Edge {
    from: String,
    to: String,
    in_tests: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the root")
}

/// The rule that `edge` breaks, if any.
fn crossed(edge: &Edge) -> Option<String> {
    let Edge { from, to, in_tests } = edge;
    let Some(wall) = WALLS.iter().find(|wall| wall.package == from) else {
        return Some(format!(
            "{from} is not in the stack: give it a row in ARCHITECTURE.md and here"
        ));
    };
    if WALLS.iter().any(|wall| wall.package == to) {
        let allowed = wall.workspace.contains(&to.as_str());
        let below = format!(
            "{from} may name these packages of the workspace: {:?}",
            wall.workspace
        );
        return (!allowed).then(|| format!("{from} depends on {to}: {below}"));
    }
    let in_code = wall.external.contains(&to.as_str());
    let allowed = in_code || (*in_tests && wall.tests.contains(&to.as_str()));
    let reason = "what must not be imported is not in Cargo.toml; if it belongs there, add it to \
                  the table in ARCHITECTURE.md and to WALLS";
    (!allowed).then(|| format!("{from} depends on {to}: {reason}"))
}

fn edge(from: &str, to: &str, in_tests: bool) -> Edge {
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        in_tests,
    }
}

#[test]
fn no_crate_wall_is_crossed() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace");
    let mut folders = BTreeMap::new();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let folder = package
            .manifest_path
            .parent()
            .expect("a manifest stands in a folder");
        let folder = folder
            .strip_prefix(&metadata.workspace_root)
            .expect("inside the workspace");
        folders.insert(package.name.to_string(), folder.to_string());
        for dependency in &package.dependencies {
            let in_tests = dependency.kind == DependencyKind::Development;
            findings.extend(crossed(&edge(&package.name, &dependency.name, in_tests)));
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    let rows = WALLS
        .iter()
        .map(|wall| (wall.package.to_owned(), wall.folder.to_owned()));
    assert_eq!(
        folders,
        rows.collect(),
        "the workspace has other packages than the stack"
    );
}

#[test]
fn a_crossed_wall_is_found() {
    let crossings = [
        edge("ringmesh-cluster", "ringmesh-transport", false),
        edge("ringmesh-cluster", "ringmesh", true),
        edge("ringmesh-cluster", "socket2", false),
        edge("ringmesh-proto", "ringmesh-transport", false),
        edge("ringmesh-proto", "proptest", false),
        edge("ringmesh-transport", "glommio", false),
        edge("ringmesh", "ringmesh-loadgen", true),
        edge("ringmesh", "tokio", false),
        edge("ringmesh-loadgen", "ringmesh-proto", false),
        edge("ringmesh-newcomer", "bytes", false),
    ];
    for crossing in crossings {
        assert!(crossed(&crossing).is_some(), "{crossing:?}");
    }
    assert_eq!(crossed(&edge("ringmesh-proto", "proptest", true)), None);
    assert_eq!(crossed(&edge("ringmesh", "ringmesh-cluster", false)), None);
}

#[test]
fn siblings_never_meet_and_nothing_depends_on_the_leaves() {
    let wall = |package| {
        WALLS
            .iter()
            .find(|wall| wall.package == package)
            .expect("is a row")
    };
    assert!(
        !wall("ringmesh-cluster")
            .workspace
            .contains(&"ringmesh-transport")
    );
    assert!(
        !wall("ringmesh-transport")
            .workspace
            .contains(&"ringmesh-cluster")
    );
    for wall in WALLS.iter().filter(|wall| wall.package != "ringmesh-tests") {
        let leaves = ["ringmesh-loadgen", "ringmesh-bench", "ringmesh-tests"];
        assert!(
            !wall.workspace.iter().any(|name| leaves.contains(name)),
            "{}",
            wall.package
        );
    }
}

#[test]
fn the_product_does_not_know_of_the_fault_proxy() {
    let names_it = |wall: &&Wall| wall.workspace.contains(&"ringmesh-fault-proxy");
    let named_by: Vec<_> = WALLS.iter().filter(names_it).map(|it| it.package).collect();
    assert_eq!(named_by, ["ringmesh-loadgen", "ringmesh-tests"]);
}

/// What is wrong with the folders of the root.
fn strangers<'a>(found: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let known = |name: &str| FOLDERS.contains(&name) || OPTIONAL_FOLDERS.contains(&name);
    let unknown = found.clone().filter(|name| !known(name));
    let unknown = unknown.map(|name| format!("`{name}`: new code nests inside {FOLDERS:?}"));
    let missing = FOLDERS
        .iter()
        .filter(|name| !found.clone().any(|folder| folder == **name));
    unknown
        .chain(missing.map(|name| format!("`{name}` is missing")))
        .collect()
}

#[test]
fn the_root_holds_the_folders_of_the_stack() {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).expect("the root can be read") {
        let path = entry.expect("an entry of the root can be read").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        let build_output = name == "target" || path.join("CACHEDIR.TAG").exists();
        if path.is_dir() && !name.starts_with('.') && !build_output {
            found.push(name);
        }
    }
    let findings = strangers(found.iter().map(String::as_str));
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn a_stranger_in_the_root_is_found() {
    let with = FOLDERS.iter().copied().chain(["utils"]);
    assert_eq!(strangers(with).len(), 1);
    assert_eq!(strangers(FOLDERS[1..].iter().copied()).len(), 1);
    assert!(strangers(FOLDERS.iter().copied().chain(["deploy"])).is_empty());
}
