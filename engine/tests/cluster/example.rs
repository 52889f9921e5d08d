//! Where the programs of the examples are. `cargo test -p ringmesh` builds them with the tests, and
//! one of its tests alone does not: then they are built here.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use serde_json::Value;

/// The program of an example, as old as its sources or younger.
///
/// # Panics
/// If it cannot be built.
pub(crate) fn example(name: &'static str) -> PathBuf {
    static FOUND: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    // Whoever needs it too waits until it is built.
    let mut found = FOUND.lock().expect("the example was built");
    let find = || {
        let own = env::current_exe().expect("a test has a path");
        // The test stands in a folder beside the one of the examples.
        let folder = own.ancestors().nth(2).expect("cargo put it there");
        let program = folder.join("examples").join(name);
        if is_fresh(&program) {
            return program;
        }
        build(name, folder)
    };
    found.entry(name).or_insert_with(find).clone()
}

/// Whether a program is there, and none of the sources that cargo names beside it is younger. Cargo
/// judges by more than that, but asking it costs half a second, and waits for others that build.
fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    let names = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let (Some(built), Some((name, sources))) = (modified(program), names.split_once(": ")) else {
        return false;
    };
    // A copy of a target directory names what was built elsewhere.
    let mut sources = sources.split_whitespace().map(Path::new);
    let is_older = |source| modified(source).is_some_and(|at| at <= built);
    Path::new(name) == program && sources.all(is_older)
}

/// Has cargo build an example as it built this test, whose folder of the target directory this is.
/// Cargo runs tests when it has built all and let go of that directory, so this does not wait for
/// itself; and it builds no test, so it does not come back here.
fn build(name: &str, folder: &Path) -> PathBuf {
    let profile = match folder.file_name().and_then(|it| it.to_str()) {
        // That of `cargo test` shares its folder with that of `cargo build`.
        Some("debug") | None => "test",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--message-format=json-render-diagnostics"]);
    command.args(["--profile", profile, "--example", name]);
    // The target directory alone has this file. With `--target` a folder of that is between.
    let is_root = |it: &&Path| it.join(".rustc_info.json").exists();
    let mut above = folder.ancestors().skip(1);
    let (near, far) = (above.next(), above.next());
    if let Some(root) = near.filter(is_root) {
        command.arg("--target-dir").arg(root);
    } else if let Some((root, target)) = far.filter(is_root).zip(near.and_then(Path::file_name)) {
        command.arg("--target-dir").arg(root);
        command.arg("--target").arg(target);
    }
    println!("building the example {name}");
    let done = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let done = done.expect("cargo starts");
    assert!(
        done.status.success(),
        "cargo cannot build the example {name}"
    );
    let told = String::from_utf8(done.stdout).expect("a text");
    let built = told.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_it = line["target"]["name"] == name && line["target"]["kind"][0] == "example";
        let program = line["executable"].as_str().filter(|_| is_it);
        program.map(PathBuf::from)
    });
    built.expect("cargo says where the program is")
}
