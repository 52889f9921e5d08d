//! Replays every kept input through the fuzz targets, and keeps the generated ones up to date.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use ringmesh_tests::fuzz::{TARGETS, Target};

/// Set it to write the generated inputs instead of comparing them.
const WRITE: &str = "RINGMESH_WRITE_CORPUS";

/// Generated inputs carry this prefix; findings of the fuzzer any other name.
const SEED: &str = "seed-";

fn folder(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name)
}

fn generated(target: &Target) -> BTreeMap<String, Vec<u8>> {
    let seeds = (target.seeds)().into_iter();
    seeds
        .map(|(name, bytes)| (SEED.to_owned() + &name, bytes))
        .collect()
}

/// Writes the generated inputs when that is asked for, before any test reads them.
static WRITTEN: LazyLock<()> = LazyLock::new(|| {
    if std::env::var_os(WRITE).is_none() {
        return;
    }
    for target in &TARGETS {
        let folder = folder(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        for (name, bytes) in generated(target) {
            fs::write(folder.join(name), bytes).expect("the corpus can be written");
        }
    }
});

/// The kept inputs of `target` by their names.
fn kept(target: &Target) -> BTreeMap<String, Vec<u8>> {
    LazyLock::force(&WRITTEN);
    let folder = folder(target);
    let entries = fs::read_dir(&folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry of the corpus can be read").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read(&path).expect("an input can be read"))
    };
    entries.map(read).collect()
}

#[test]
fn every_kept_input_is_handled() {
    for target in &TARGETS {
        let inputs = kept(target);
        assert!(!inputs.is_empty(), "tests/corpus/{} is empty", target.name);
        for (name, bytes) in inputs {
            // Shown when the input makes the target panic.
            println!("tests/corpus/{}/{name}", target.name);
            (target.run)(&bytes);
        }
    }
}

#[test]
fn the_generated_inputs_are_up_to_date() {
    for target in &TARGETS {
        let mut found = kept(target);
        found.retain(|name, _| name.starts_with(SEED));
        assert!(
            found == generated(target),
            "tests/corpus/{} differs from its generator: if the wire was meant to change, remove \
             its {SEED}* and run `{WRITE}=1 cargo test -p ringmesh-tests --test corpus`",
            target.name
        );
    }
}

/// Every small change of a generated input: each bit flipped, and cut off at each length.
#[test]
fn damaged_inputs_are_handled() {
    for target in &TARGETS {
        for (name, bytes) in (target.seeds)() {
            println!("{} {name}", target.name);
            for cut in 0..bytes.len() {
                (target.run)(&bytes[..cut]);
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                (target.run)(&damaged);
            }
        }
    }
}
