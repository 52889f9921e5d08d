//! `messages.lock`: the layouts of a crate's messages as they were released, held by one test.
//!
//! Two nodes understand each other when a message of one version has one layout, for ever. The
//! compiler cannot see what was released; a file beside Cargo.toml can. Fingerprints decide, as
//! between peers; the fields stand in the file so that its diff says what changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::shape::MessageShape;
use similar::TextDiff;

use super::lock_text::{self, Locked, LockedMessage};

/// The file, beside the Cargo.toml of the crate.
const FILE: &str = "messages.lock";

/// Writes the file when it is `1`.
const UPDATE: &str = "UPDATE_MESSAGES_LOCK";

/// Compares the messages of protocols with the `messages.lock` of this crate, in one test.
///
/// ```
/// # use ringmesh::{assert_messages_locked, message, protocol};
/// # #[message(id = "demo.Hello", v = 1)] struct Hello { name: String }
/// # protocol! { GreeterApi = "demo.greeter" { Hello } }
/// #[test]
/// fn messages_are_locked() {
///     assert_messages_locked!(GreeterApi);
/// }
/// ```
///
/// The file stands beside the crate's Cargo.toml and belongs into its repository: it holds id,
/// version, reply and fields of every message, of their replies and of the parts within them. One
/// test of a crate lists all its protocols. `UPDATE_MESSAGES_LOCK=1 cargo test` writes the file.
///
/// # Panics
/// When the file says something else, with the difference and the remedy: if a layout or a reply
/// changed and the version did not, if a message is gone, or if a version went down, which all
/// break peers that are not built anew; and if there is something new, so that the file is written
/// again.
#[allow(clippy::test_attr_in_doctest, reason = "users write it so")]
#[macro_export]
macro_rules! assert_messages_locked {
    ($($protocol:ty),+ $(,)?) => {
        $crate::__private::assert_messages_locked(
            ::core::env!("CARGO_MANIFEST_DIR"),
            &[$(<$protocol as $crate::Protocol>::SHAPES),+],
        )
    };
}

/// Compares the messages of `protocols` with the file in `folder`, or writes it when the
/// environment says so.
///
/// # Panics
/// When they differ, or the file cannot be read or written.
#[track_caller]
pub fn assert_messages_locked(folder: &str, protocols: &[&[MessageShape]]) {
    let update = env::var_os(UPDATE).is_some_and(|value| value == "1");
    if let Err(report) = check_messages_lock(Path::new(folder), protocols, update) {
        panic!("{report}");
    }
}

/// Compares, or writes the file with `update`.
///
/// # Errors
/// What is wrong, in words.
pub fn check_messages_lock(
    folder: &Path,
    protocols: &[&[MessageShape]],
    update: bool,
) -> Result<(), String> {
    let path = &folder.join(FILE);
    let current = lock_text::render(protocols)?;
    let file = path.display();
    let locked = match fs::read_to_string(path) {
        // A checkout may have changed the ends of the lines.
        Ok(text) => text.replace("\r\n", "\n"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{file} cannot be read: {error}")),
    };
    if locked == current {
        return Ok(());
    }
    if update {
        return fs::write(path, current)
            .map_err(|error| format!("{file} cannot be written: {error}"));
    }
    Err(report(&file.to_string(), &locked, &current))
}

/// The difference, what it means and what to do.
fn report(file: &str, locked: &str, current: &str) -> String {
    let (old, new) = (lock_text::parse(locked), lock_text::parse(current));
    let problems = problems(&old, &new);
    let mut report = String::new();
    // Writing to a string does not fail.
    let _ = if locked.is_empty() {
        writeln!(report, "{file} does not exist yet.")
    } else if problems.is_empty() {
        writeln!(report, "{file} is out of date.")
    } else {
        writeln!(report, "the messages differ from {file}:")
    };
    for problem in &problems {
        let _ = writeln!(report, "- {problem}");
    }
    let difference = TextDiff::from_lines(locked, current);
    let mut difference = difference.unified_diff();
    difference.header(FILE, "messages.lock, as the code has it");
    let _ = writeln!(report, "\n{difference}");
    let write = format!("{UPDATE}=1 cargo test");
    let _ = if problems.is_empty() {
        writeln!(
            report,
            "Nothing that was released changed. Write it and commit it:\n\n    {write}"
        )
    } else {
        writeln!(
            report,
            "Count `v` up for each message whose layout or reply changed. Only if it was never \
             released, or no peer has it any more, write the file as it is now:\n\n    {write}"
        )
    };
    report
}

/// What breaks peers that have the locked messages.
fn problems(old: &Locked, new: &Locked) -> Vec<String> {
    let format = format!("{FORMAT_FINGERPRINT:016x}");
    if old.format.as_ref().is_some_and(|locked| *locked != format) {
        return vec![
            "the format of all archives changed: nodes with the old one are refused when they \
             connect"
                .to_owned(),
        ];
    }
    let latest = |locked: &Locked| -> BTreeMap<String, u32> {
        let versions = locked.messages.keys();
        // In ascending order, so the highest version stays.
        versions
            .map(|(name, version)| (name.clone(), *version))
            .collect()
    };
    let (before, after) = (latest(old), latest(new));
    let mut problems = Vec::new();
    for (name, version) in &before {
        match after.get(name) {
            None => problems.push(format!(
                "{name} v{version} was removed: peers that send it are told that it is unknown"
            )),
            Some(now) if now < version => problems.push(format!(
                "{name} went down from v{version} to v{now}: versions only go up, a number that \
                 was used is never used again"
            )),
            Some(_) => {}
        }
    }
    for (key, locked) in &old.messages {
        if let Some(current) = new.messages.get(key) {
            problems.extend(changed(key, locked, current));
        }
    }
    problems
}

fn changed(
    (name, version): &(String, u32),
    locked: &LockedMessage,
    current: &LockedMessage,
) -> Option<String> {
    let next = version.saturating_add(1);
    if locked.fingerprint != current.fingerprint {
        return Some(format!(
            "{name} v{version} has another layout than the released v{version}: make it v = {next}"
        ));
    }
    if locked.reply != current.reply {
        let of = |reply: &Option<String>| reply.clone().unwrap_or_else(|| "nothing".to_owned());
        return Some(format!(
            "{name} v{version} is answered with {} and no longer with {}: make it v = {next}",
            of(&current.reply),
            of(&locked.reply)
        ));
    }
    None
}
