//! The one source of randomness of a node: the operating system's.

use ringmesh_proto::address::Uid;

/// The number of this process start.
///
/// # Panics
/// If the operating system has no randomness: then no two process starts could be told apart.
pub(crate) fn uid() -> Uid {
    loop {
        // Zero is no uid; the draw is repeated, once in 2^64 starts.
        if let Some(uid) = Uid::new(number()) {
            return uid;
        }
    }
}

/// A number nobody can guess.
///
/// # Panics
/// As [`uid`].
pub(crate) fn number() -> u64 {
    getrandom::u64().expect("the operating system has a source of randomness")
}
