//! The tokens that were made for a lease: a file each, so that none is made twice, whatever becomes
//! of the lock. Each names who made it, who alone may make it once more: what could not be given
//! out is not left out for that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ringmesh_cluster::lease::{LEASE_OWNER_BYTES_MAX, LeaseName};

use super::DirectoryError;

/// So many of the last tokens have their files; those before are removed. So far behind may be who
/// still reads a record that was replaced.
const KEPT: u64 = 16;

/// A token is told by the ending of its file in so many digits, so that no name of a lease with
/// another ending is taken for one.
const DIGITS: usize = 20;

/// The largest token that has a file, or 0.
///
/// # Errors
/// [`DirectoryError::Io`].
pub(super) fn largest(directory: &Path, name: &LeaseName) -> Result<u64, DirectoryError> {
    Ok(all(directory, name)?.into_iter().max().unwrap_or(0))
}

/// Makes the file of a token, and removes those that are far behind. Says whether it made it: if
/// not, somebody else has made that token.
///
/// # Errors
/// [`DirectoryError::Io`]; then there is no such file, as far as it could be removed again.
pub(super) fn make(
    directory: &Path,
    name: &LeaseName,
    token: u64,
    owner: &str,
) -> Result<bool, DirectoryError> {
    let path = path(directory, name, token);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(DirectoryError::Io { path, error }),
    };
    let written = file.write_all(owner.as_bytes());
    if let Err(error) = written.and_then(|()| file.sync_all()) {
        remove(directory, name, token);
        return Err(DirectoryError::Io { path, error });
    }
    let is_old = |it: &u64| *it <= token.saturating_sub(KEPT);
    for old in all(directory, name)?.into_iter().filter(is_old) {
        // If it stays it is removed with the next one.
        remove(directory, name, old);
    }
    Ok(true)
}

/// Whether the file of a token is there and names that owner.
///
/// # Errors
/// [`DirectoryError::Io`].
pub(super) fn is_of(
    directory: &Path,
    name: &LeaseName,
    token: u64,
    owner: &str,
) -> Result<bool, DirectoryError> {
    let path = path(directory, name, token);
    let read = || -> io::Result<bool> {
        let mut found = Vec::new();
        let most = LEASE_OWNER_BYTES_MAX as u64 + 1;
        File::open(&path)?.take(most).read_to_end(&mut found)?;
        Ok(found == owner.as_bytes())
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        read => read.map_err(|error| DirectoryError::Io { path, error }),
    }
}

/// Removes the file of a token, if it can: of one that was not given out, or is far behind.
pub(super) fn remove(directory: &Path, name: &LeaseName, token: u64) {
    let _ = fs::remove_file(path(directory, name, token));
}

fn path(directory: &Path, name: &LeaseName, token: u64) -> PathBuf {
    directory.join(format!("{name}.{token:0DIGITS$}"))
}

fn all(directory: &Path, name: &LeaseName) -> Result<Vec<u64>, DirectoryError> {
    let io = |error| DirectoryError::Io {
        path: directory.to_owned(),
        error,
    };
    let mut tokens = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let file = entry.map_err(io)?.file_name();
        tokens.extend(file.to_str().and_then(|file| token(file, name)));
    }
    Ok(tokens)
}

/// The token whose file is called so.
fn token(file: &str, name: &LeaseName) -> Option<u64> {
    let digits = file.strip_prefix(name.as_str())?.strip_prefix('.')?;
    let is_token = digits.len() == DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
    digits.parse().ok().filter(|_| is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> LeaseName {
        LeaseName::new(text).unwrap()
    }

    #[test]
    fn a_token_is_made_once_and_one_over_those_kept_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, shop) = (directory.path(), name("shop"));
        assert_eq!(largest(path, &shop).unwrap(), 0);
        for token in 1..=KEPT {
            assert!(make(path, &shop, token, "a").unwrap());
        }
        assert!(!make(path, &shop, 1, "a").unwrap());
        assert!(make(path, &shop, KEPT + 1, "a").unwrap());
        let mut kept = all(path, &shop).unwrap();
        kept.sort_unstable();
        assert!(kept.into_iter().eq(2..=KEPT + 1));
        // One that is far ahead leaves none of those before.
        assert!(make(path, &shop, u64::MAX, "a").unwrap());
        assert_eq!(all(path, &shop).unwrap(), [u64::MAX]);
        assert_eq!(largest(path, &shop).unwrap(), u64::MAX);
        assert_eq!(largest(path, &name("ship")).unwrap(), 0);
        assert!(is_of(path, &shop, u64::MAX, "a").unwrap());
        assert!(!is_of(path, &shop, u64::MAX, "b").unwrap());
        assert!(!is_of(path, &shop, 1, "a").unwrap(), "it is not there");
    }

    #[test]
    fn other_files_are_no_tokens() {
        let longest = format!("shop.{}", u64::MAX);
        assert_eq!(token(&longest, &name("shop")), Some(u64::MAX));
        for file in [
            "shop.lease",
            "shop.lock",
            "shop.lease.new",
            "shop.1",
            "shop.+0000000000000000001",
            "shop-2.00000000000000000001",
            "shop.99999999999999999999",
            "00000000000000000001",
        ] {
            assert_eq!(token(file, &name("shop")), None, "{file}");
        }
    }
}
