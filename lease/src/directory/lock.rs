//! The lock of one lease, held while its record is changed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, flock, futimens};
use rustix::io::Errno;

use super::DirectoryError;

/// The pause between two tries. Whoever has the lock writes one small file and gives it back.
const PAUSE: Duration = Duration::from_millis(5);

/// The first token of a record has so many bits below those that are the time in milliseconds: as
/// many holders as they count may follow each other in a tick of the file system's clock before a
/// record that was deleted and made anew could repeat a token.
const TOKEN_BITS: u32 = 20;

/// A lock that is held. It is free again when this drops, or its process ends.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Waits for the lock.
    ///
    /// # Errors
    /// [`DirectoryError::Busy`] if others have it for that long, [`DirectoryError::Io`].
    pub(super) fn take(path: PathBuf, patience: Duration) -> Result<Self, DirectoryError> {
        let deadline = Instant::now() + patience;
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(&path)
        };
        let file = match open() {
            Ok(file) => file,
            Err(error) => return Err(DirectoryError::Io { path, error }),
        };
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Opening it may have taken longer than all.
                Ok(()) if Instant::now() <= deadline => return Ok(Self { path, file }),
                Ok(()) => return Err(DirectoryError::Busy { path, patience }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => {
                    let error = error.into();
                    return Err(DirectoryError::Io { path, error });
                }
            }
            if Instant::now() >= deadline {
                return Err(DirectoryError::Busy { path, patience });
            }
            // That somebody gives it back is not told in a way that ends with a deadline.
            thread::sleep(PAUSE);
        }
    }

    /// What the tokens of a record begin behind, which was not there: the time, as the file system
    /// has it. It is one clock for all hosts where a server keeps the files.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub(super) fn first_token(&self) -> Result<u64, DirectoryError> {
        let touched = || -> io::Result<_> {
            let unchanged = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            };
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            };
            let times = Timestamps {
                last_access: unchanged,
                last_modification: now,
            };
            futimens(&self.file, &times)?;
            self.file.metadata()?.modified()
        };
        let modified = touched().map_err(|error| DirectoryError::Io {
            path: self.path.clone(),
            error,
        })?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Ok(millis.min(u64::MAX >> TOKEN_BITS) << TOKEN_BITS)
    }
}
