//! The lock files against the security floors, without a network.

use std::fs;
use std::path::Path;

use cargo_metadata::semver::Version;
use serde::Deserialize;

/// The oldest version of a package that is free of an advisory.
struct Floor {
    package: &'static str,
    version: &'static str,
    advisory: &'static str,
}

/// A package that is not to be used at all.
struct Avoided {
    package: &'static str,
    advisory: &'static str,
    instead: &'static str,
}

/// An avoided package that is here all the same.
struct Exception {
    package: &'static str,
    /// Who brings it, why that cannot be helped, and why it does no harm.
    reason: &'static str,
}

/// Packages that are not in use yet stand here too: the floor is there before they are.
const FLOORS: [Floor; 14] = [
    floor("bytes", "1.11.1", "RUSTSEC-2026-0007"),
    floor(
        "crossbeam-channel",
        "0.5.15",
        "RUSTSEC-2025-0024: double free when dropped",
    ),
    floor("crossbeam-epoch", "0.9.20", "RUSTSEC-2026-0204"),
    floor("hashbrown", "0.15.1", "RUSTSEC-2024-0402"),
    floor(
        "hickory-proto",
        "0.26.1",
        "RUSTSEC-2026-0118, RUSTSEC-2026-0119",
    ),
    floor("lru", "0.18.2", "RUSTSEC-2026-0253"),
    floor(
        "memoffset",
        "0.6.2",
        "RUSTSEC-2023-0045: reads uninitialised memory",
    ),
    floor(
        "nix",
        "0.23.0",
        "RUSTSEC-2021-0119: out-of-bounds write in getgrouplist",
    ),
    floor(
        "rkyv",
        "0.8.18",
        "RUSTSEC-2026-0233, -0234, -0235: checked access is unsound",
    ),
    floor(
        "rustls",
        "0.23.18",
        "RUSTSEC-2024-0399: a client can make a server panic",
    ),
    floor("slab", "0.4.11", "RUSTSEC-2025-0047: out-of-bounds access"),
    floor(
        "smallvec",
        "1.6.1",
        "RUSTSEC-2021-0003: buffer overflow in insert_many",
    ),
    floor(
        "spin",
        "0.9.8",
        "RUSTSEC-2023-0031: unsound initialiser in Once",
    ),
    floor(
        "tracing-subscriber",
        "0.3.20",
        "RUSTSEC-2025-0055: escape sequences reach the log",
    ),
];

const AVOIDED: [Avoided; 11] = [
    avoided("async-std", "RUSTSEC-2025-0052", "engine/src/rt"),
    avoided("atty", "RUSTSEC-2021-0145", "std::io::IsTerminal"),
    avoided(
        "backoff",
        "RUSTSEC-2025-0012",
        "the association's own back-off",
    ),
    avoided("bincode", "RUSTSEC-2025-0141", "rkyv"),
    avoided("derivative", "RUSTSEC-2024-0388", "an impl by hand"),
    avoided("fxhash", "RUSTSEC-2025-0057", "rustc-hash"),
    avoided(
        "instant",
        "RUSTSEC-2024-0384",
        "std::time, or the driver's clock",
    ),
    avoided("json5", "RUSTSEC-2025-0120", "toml"),
    avoided(
        "paste",
        "RUSTSEC-2024-0436",
        "a procedural macro, or names by hand",
    ),
    avoided("proc-macro-error", "RUSTSEC-2024-0370", "syn::Error"),
    avoided("rustls-pemfile", "RUSTSEC-2025-0134", "rustls-pki-types"),
];

const EXCEPTIONS: [Exception; 1] = [Exception {
    package: "instant",
    reason: "glommio 0.9 locks it by way of futures-lite 1 and fastrand 1, which build it for \
             WebAssembly only. It is unmaintained, not unsound, and goes with the next glommio.",
}];

/// The lock files: the workspace's, and that of the fuzz targets.
const LOCKS: [&str; 2] = ["Cargo.lock", "tests/fuzz/Cargo.lock"];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
    /// `None` for the packages of the workspace.
    source: Option<String>,
}

const fn floor(package: &'static str, version: &'static str, advisory: &'static str) -> Floor {
    Floor {
        package,
        version,
        advisory,
    }
}

const fn avoided(package: &'static str, advisory: &'static str, instead: &'static str) -> Avoided {
    Avoided {
        package,
        advisory,
        instead,
    }
}

fn parse(text: &str) -> Lock {
    toml::from_str(text).expect("a lock file is TOML of a known shape")
}

/// What is wrong with `lock`, one line each.
fn judge(lock: &Lock, exceptions: &[Exception]) -> Vec<String> {
    let excepted = |name: &str| exceptions.iter().any(|exception| exception.package == name);
    let mut findings = Vec::new();
    for Package {
        name,
        version,
        source,
    } in &lock.package
    {
        if source.as_ref().is_some_and(|source| source != CRATES_IO) {
            findings.push(format!(
                "{name}: comes from {source:?}: publishable crates only"
            ));
        }
        for floor in FLOORS.iter().filter(|floor| floor.package == name) {
            let least = Version::parse(floor.version).expect("a floor is a version");
            if *version < least {
                let Floor { advisory, .. } = floor;
                let command = format!("cargo update -p {name}@{version}");
                findings.push(format!(
                    "{name} {version} < {least}, {advisory}: run `{command}`"
                ));
            }
        }
        for avoided in AVOIDED.iter().filter(|avoided| avoided.package == name) {
            if !excepted(name) {
                let Avoided {
                    advisory, instead, ..
                } = avoided;
                findings.push(format!("{name} {version}: {advisory}: use {instead}"));
            }
        }
    }
    findings
}

fn read(path: &str) -> Lock {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ stands in the root");
    let text = fs::read_to_string(root.join(path));
    parse(&text.unwrap_or_else(|error| panic!("{path}: {error}")))
}

#[test]
fn every_locked_package_is_at_or_above_its_floor() {
    for path in LOCKS {
        let findings = judge(&read(path), &EXCEPTIONS);
        assert!(findings.is_empty(), "{path}:\n{}\n", findings.join("\n"));
    }
}

#[test]
fn the_packages_that_read_bytes_of_peers_are_under_watch() {
    let lock = read("Cargo.lock");
    for name in ["bytes", "rkyv"] {
        assert!(
            lock.package.iter().any(|package| package.name == name),
            "{name} left the lock"
        );
        assert!(
            FLOORS.iter().any(|floor| floor.package == name),
            "{name} has no floor"
        );
    }
}

#[test]
fn every_exception_is_still_needed() {
    let lock = read("Cargo.lock");
    for Exception { package, reason } in &EXCEPTIONS {
        let used = lock.package.iter().any(|locked| locked.name == *package);
        assert!(used, "{package} is gone, and with it: {reason}");
    }
}

#[test]
fn a_planted_package_is_found() {
    let lock = |name: &str, version: &str, source: &str| {
        parse(&format!(
            "version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\
             source = \"{source}\"\n"
        ))
    };
    for floor in &FLOORS {
        let old = lock(floor.package, "0.0.1", CRATES_IO);
        assert_eq!(judge(&old, &EXCEPTIONS).len(), 1, "{}", floor.package);
        let new = lock(floor.package, floor.version, CRATES_IO);
        assert!(judge(&new, &EXCEPTIONS).is_empty(), "{}", floor.package);
    }
    for avoided in &AVOIDED {
        let used = lock(avoided.package, "99.0.0", CRATES_IO);
        assert_eq!(judge(&used, &[]).len(), 1, "{}", avoided.package);
    }
    assert!(judge(&lock("instant", "0.1.13", CRATES_IO), &EXCEPTIONS).is_empty());
    assert_eq!(
        judge(&lock("a", "1.0.0", "git+https://example.org/a"), &[]).len(),
        1
    );
    // A pre-release of a fixed version is older than it.
    assert_eq!(judge(&lock("rkyv", "0.8.18-rc.1", CRATES_IO), &[]).len(), 1);
}
