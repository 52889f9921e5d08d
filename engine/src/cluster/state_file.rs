//! What a node remembers of its cluster between two starts: a file of its state directory.
//!
//! Text, so that an operator can read it: the cluster, and the members of its last view. The last
//! line is a checksum of those before it. A file is replaced whole, never changed: after a crash
//! there is the old one or the new one.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ringmesh_cluster::membership::ClusterId;
use ringmesh_cluster::membership::memory::{Memory, Remembered, Voice};
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::checksum::of_bytes;

const NAME: &str = "cluster.state";
const FIRST_LINE: &str = "ringmesh cluster state 2";

/// What the line of a member begins with: it is one in full, its word is no help, or it has no say.
const WORDS: [(&str, Voice); 3] = [
    ("member", Voice::Settled),
    ("passing", Voice::Passing),
    ("mute", Voice::None),
];

/// The longest file that is read, in bytes: a thousand members with the longest addresses.
const STATE_BYTES_MAX: u64 = 512 << 10;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file or its directory cannot be read or written.
    #[error("the state file {} cannot be used: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not one that a node wrote. What it says might be wrong, and a node that founds a
    /// cluster of its own beside the old one is worse than one that does not start.
    #[error(
        "the state file {} is damaged ({what}): restore it, or move it away if the cluster it was \
         of is gone",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Reads what was saved in a directory, which is made if there is none. `None`: nothing was.
///
/// # Errors
/// [`StateError`].
pub(crate) fn load(directory: &Path) -> Result<Option<Memory>, StateError> {
    let path = directory.join(NAME);
    let io = |error| StateError::Io {
        path: path.clone(),
        error,
    };
    fs::create_dir_all(directory).map_err(io)?;
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let damaged = |what| StateError::Damaged {
        path: path.clone(),
        what,
    };
    if file.metadata().map_err(io)?.len() > STATE_BYTES_MAX {
        return Err(damaged("it is too long"));
    }
    let text = io::read_to_string(file);
    let text = text.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => damaged("it is no text"),
        _ => io(error),
    })?;
    parse(&text).map(Some).map_err(damaged)
}

/// Replaces what was saved in a directory.
///
/// # Errors
/// [`StateError::Io`]; what was saved before is still there.
pub(crate) fn save(directory: &Path, memory: &Memory) -> Result<(), StateError> {
    let path = directory.join(NAME);
    let replace = || -> io::Result<()> {
        let beside = directory.join(format!("{NAME}.new"));
        let mut file = File::create(&beside)?;
        file.write_all(print(memory).as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(directory)?.sync_all()
    };
    replace().map_err(|error| StateError::Io { path, error })
}

/// Forgets what was saved in a directory.
///
/// # Errors
/// [`StateError::Io`].
pub(crate) fn clear(directory: &Path) -> Result<(), StateError> {
    let path = directory.join(NAME);
    let remove = || -> io::Result<()> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(directory)?.sync_all()
    };
    remove().map_err(|error| StateError::Io { path, error })
}

fn print(memory: &Memory) -> String {
    let mut text = format!("{FIRST_LINE}\ncluster {}\n", memory.cluster);
    for it in &*memory.members {
        let NodeId { address, uid } = &it.node;
        let word = WORDS.iter().find(|(_, voice)| *voice == it.voice);
        let word = word.map_or("passing", |(word, _)| word);
        let _ = writeln!(text, "{word} {uid} {address} {}", it.data_centre);
    }
    let sum = checksum(&text);
    let _ = writeln!(text, "checksum {sum:08x}");
    text
}

fn parse(text: &str) -> Result<Memory, &'static str> {
    let last = text.trim_end_matches('\n').rfind('\n');
    let (covered, last) = text.split_at(last.ok_or("it ends too early")? + 1);
    let sum = last.strip_prefix("checksum ").ok_or("it ends too early")?;
    if sum.trim_end_matches('\n') != format!("{:08x}", checksum(covered)) {
        return Err("its checksum is wrong");
    }
    let mut lines = covered.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err("it is of another version");
    }
    let cluster = lines.next().and_then(|line| line.strip_prefix("cluster "));
    let cluster = cluster.and_then(number).ok_or("it names no cluster")?;
    let members: Option<Vec<Remembered>> = lines.map(member).collect();
    let members = members.ok_or("a line names no member")?.into();
    let cluster = ClusterId(cluster);
    Ok(Memory { cluster, members })
}

fn member(line: &str) -> Option<Remembered> {
    let mut words = line.splitn(4, ' ');
    let word = words.next()?;
    let (_, voice) = WORDS.into_iter().find(|(known, _)| *known == word)?;
    let uid = Uid::new(number(words.next()?)?)?;
    let address = words.next()?.parse().ok()?;
    let data_centre = words.next()?.into();
    Some(Remembered {
        node: NodeId { address, uid },
        data_centre,
        voice,
    })
}

fn number(text: &str) -> Option<u64> {
    let is_whole = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(text, 16).ok();
    number.filter(|_| is_whole)
}

/// Finds damage; it authenticates nothing.
fn checksum(text: &str) -> u32 {
    of_bytes(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(members: &[u64]) -> Memory {
        let node = |number: &u64| Remembered {
            node: NodeId {
                address: format!("ringmesh://demo@[::1]:740{number}")
                    .parse()
                    .unwrap(),
                uid: Uid::new(*number).unwrap(),
            },
            data_centre: "east".into(),
            voice: match number {
                2 => Voice::Passing,
                3 => Voice::None,
                _ => Voice::Settled,
            },
        };
        Memory {
            cluster: ClusterId(0x0123_4567_89AB_CDEF),
            members: members.iter().map(node).collect(),
        }
    }

    fn damage(directory: &Path, text: &str) -> &'static str {
        fs::write(directory.join(NAME), text).unwrap();
        match load(directory) {
            Err(StateError::Damaged { what, .. }) => what,
            other => panic!("{text:?} was read as {other:?}"),
        }
    }

    #[test]
    fn what_was_saved_last_is_read_until_it_is_cleared() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("deep/down");
        assert_eq!(load(&directory).unwrap(), None);
        let alone = memory(&[]);
        for saved in [memory(&[1, 2, 3]), alone] {
            save(&directory, &saved).unwrap();
            assert_eq!(load(&directory).unwrap(), Some(saved));
        }
        clear(&directory).unwrap();
        clear(&directory).unwrap();
        assert_eq!(load(&directory).unwrap(), None);
    }

    #[test]
    fn the_text_is_fixed() {
        let expected = "ringmesh cluster state 2\ncluster 0123456789abcdef\n\
                        member 0000000000000001 ringmesh://demo@[::1]:7401 east\n\
                        passing 0000000000000002 ringmesh://demo@[::1]:7402 east\n\
                        checksum 3590bda0\n";
        assert_eq!(print(&memory(&[1, 2])), expected);
    }

    #[test]
    fn a_file_with_any_byte_changed_or_missing_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let text = print(&memory(&[1, 2]));
        for end in 0..text.len() - 1 {
            damage(directory.path(), &text[..end]);
        }
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            damage(directory.path(), &String::from_utf8(bytes).unwrap());
        }
    }

    #[test]
    fn a_damaged_file_says_how() {
        let directory = tempfile::tempdir().unwrap();
        let with_sum = |text: &str| format!("{text}checksum {:08x}\n", checksum(text));
        let other = with_sum("ringmesh cluster state 1\ncluster 0123456789abcdef\n");
        let nameless = with_sum("ringmesh cluster state 2\ncluster 1\n");
        let strange = with_sum("ringmesh cluster state 2\ncluster 0123456789abcdef\nmember 7\n");
        let said = [&other, &nameless, &strange, ""].map(|text| damage(directory.path(), text));
        let expected = [
            "it is of another version",
            "it names no cluster",
            "a line names no member",
            "it ends too early",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn one_over_the_state_bytes_max_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let longest = usize::try_from(STATE_BYTES_MAX).unwrap();
        let text = "x".repeat(longest + 1);
        assert_eq!(damage(directory.path(), &text), "it is too long");
        assert_ne!(damage(directory.path(), &text[1..]), "it is too long");
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_the_old_state_stays() {
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &memory(&[1, 2])).unwrap();
        // The place of the new file is taken by a directory.
        fs::create_dir(directory.path().join(format!("{NAME}.new"))).unwrap();
        let alone = memory(&[]);
        let refused = save(directory.path(), &alone);
        assert!(matches!(refused, Err(StateError::Io { .. })));
        assert_eq!(load(directory.path()).unwrap(), Some(memory(&[1, 2])));
    }
}
