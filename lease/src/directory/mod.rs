//! A store in a directory that all hosts share.

mod lock;
mod marks;
mod record;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName, Token};

use self::lock::Lock;
use self::record::Record;
use crate::clock::{Clock, SystemClock};
use crate::observer::Observer;
use crate::refusal::{check, failed};
use crate::{PATIENCE, Store};

/// A store in a directory that all hosts share.
///
/// `NAME.lease` says who holds a lease, and is replaced whole, never changed; `NAME.lock` is locked
/// while somebody reads and replaces that, never for longer. A host that dies leaves no lock
/// behind. Each token has a file, made before it is given out, called `NAME.` and the token in 20
/// digits, which names its owner; so none is given to two, also where a lock was lost. The last 16
/// are kept. The record has no times in it but the time to live: whoever wants the lease watches
/// it, and takes it over when it stayed as it is for that long by its own clock.
///
/// # Where it works
///
/// `flock` has to hold between hosts, and a file that was renamed over another has to be seen by
/// whoever opens it next under the lock. Both hold on
/// - NFS 4, and NFS 3 with its lock manager, mounted without `nolock` and without `local_lock`;
/// - SMB since Linux 5.5, mounted without `nobrl`;
/// - CephFS, GFS2, OCFS2; Lustre if mounted with `flock`;
/// - one host's own disk, for nodes of one host.
///
/// They do not on file systems through FUSE without a lock of their own (sshfs, object stores).
/// Nothing finds out that locks do not hold: two holders would, with two tokens.
///
/// Put the directory *below* the point where the file system is mounted. If that is not mounted the
/// directory is missing, and every ask fails; were it the mount point itself, each host would find
/// an empty directory of its own there, and hold the lease alone. For that reason the directory is
/// never made.
///
/// A mount that hangs has a call hang with it. Mount it so that it ends ("soft" on NFS), or leave
/// that thread behind, as the engine does.
///
/// # When it is damaged
///
/// A record that is cut off, of another program or changed by hand fails every ask: it is not known
/// who holds the lease. When it is certain that nobody does, delete `NAME.lease`, and leave
/// `NAME.lock`: the first token of a new record has the time of the file system in it, so it is
/// larger than those before.
#[derive(Debug)]
pub struct DirectoryStore {
    directory: PathBuf,
    patience: Duration,
    observer: Observer,
}

/// Why a directory gives out nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The directory, or a file in it, cannot be used. Nothing was changed, unless it is the
    /// directory that could not be written to disk: then the change was made, and a crash of that
    /// host may undo it.
    #[error("{} cannot be used: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The record is not one that a store wrote. It is not known who holds the lease.
    #[error(
        "{} is damaged ({what}): delete it when it is certain that nobody holds the lease",
        path.display()
    )]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Others had the lock all the time.
    #[error("{} was locked by others for {} ms", path.display(), patience.as_millis())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// For so long.
        patience: Duration,
    },
    /// Somebody else has just made the token that was to be given out, though this store has the
    /// lock: locks do not hold there, or one was lost. Nothing was changed.
    #[error("{}: somebody else made its next token, who cannot have the lock", path.display())]
    Raced {
        /// The record.
        path: PathBuf,
    },
    /// No token is larger than the last one.
    #[error("{} has the last token there is", path.display())]
    Exhausted {
        /// The record.
        path: PathBuf,
    },
}

impl DirectoryStore {
    /// The store in a directory, which is there.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] if it is not, or is no directory.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let directory = directory.into();
        let entries = fs::read_dir(&directory);
        entries.map_err(|error| DirectoryError::Io {
            path: directory.clone(),
            error,
        })?;
        Ok(Self {
            directory,
            patience: PATIENCE,
            observer: Observer::new(Arc::new(SystemClock::default())),
        })
    }

    /// Waits so long for the lock, instead of [`PATIENCE`].
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Watches others by that clock, instead of the host's: for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.observer = Observer::new(clock);
        self
    }

    fn path(&self, name: &LeaseName, ending: &str) -> PathBuf {
        self.directory.join(format!("{name}.{ending}"))
    }

    fn answer(&mut self, ask: &Ask) -> Result<Answer, DirectoryError> {
        let lock = Lock::take(self.path(&ask.name, "lock"), self.patience)?;
        let path = self.path(&ask.name, "lease");
        let found = record::read(&path, &ask.name)?;
        let own = |token: Token| {
            let is_own = |it: &&Record| it.is_held_by(&ask.owner) && it.token == token.0;
            found.as_ref().filter(is_own)
        };
        // The token that was made for this ask, if one was.
        let mut made = None;
        let record = match ask.deed {
            Deed::Acquire(known) => {
                if let Some(owner) = self.holder(ask, found.as_ref()) {
                    return Ok(Answer::HeldBy { owner });
                }
                match &found {
                    Some(record) if record.is_held_by(&ask.owner) => {
                        record.renewed(ask.time_to_live)
                    }
                    found => {
                        let last = found.as_ref().map(|it| it.token);
                        let last = last.map_or_else(|| lock.first_token(), Ok)?;
                        Record::new(ask, self.next(ask, (last, known), &mut made)?)
                    }
                }
            }
            Deed::Renew(token) => match own(token) {
                Some(record) => record.renewed(ask.time_to_live),
                None => return Ok(Answer::Lost),
            },
            Deed::Release(token) => match own(token) {
                Some(record) => record.released(),
                None => return Ok(Answer::Released),
            },
            Deed::Look(floor) => match &found {
                Some(record) if record.token >= floor.0 => {
                    let made = marks::largest(&self.directory, &ask.name)?;
                    return Ok(last(record.token.max(made)));
                }
                found => {
                    if let Some(owner) = self.holder(ask, found.as_ref()) {
                        return Ok(Answer::HeldBy { owner });
                    }
                    let first = found.as_ref().map(|it| it.token);
                    let first = first.map_or_else(|| lock.first_token(), Ok)?;
                    let made = marks::largest(&self.directory, &ask.name)?;
                    Record::free(ask, Token(first.max(made)).counting_on(floor).0)
                }
            },
        };
        self.replace(&path, &record, ask, made)?;
        self.observer.forget(&ask.name);
        let token = Token(record.token);
        Ok(match ask.deed {
            Deed::Release(_) => Answer::Released,
            Deed::Look(_) => last(record.token),
            Deed::Acquire(_) | Deed::Renew(_) => Answer::Held { token },
        })
    }

    /// Makes the token after the last one, and after all that were made besides: by somebody who
    /// crashed before it was given out, or whose lock was lost. One that whoever asks made for an
    /// ask that failed is not left out; what was given out since a copy from which this directory
    /// was restored is.
    fn next(
        &self,
        ask: &Ask,
        (last, known): (u64, Token),
        made: &mut Option<u64>,
    ) -> Result<u64, DirectoryError> {
        let (directory, name) = (&self.directory, &ask.name);
        let path = || self.path(name, "lease");
        let exhausted = || DirectoryError::Exhausted { path: path() };
        let largest = marks::largest(directory, name)?;
        let next = last.checked_add(1).ok_or_else(exhausted)?;
        let is_behind = next <= known.0;
        if largest == next && !is_behind && marks::is_of(directory, name, next, &ask.owner)? {
            return Ok(next);
        }
        let last = Token(last.max(largest)).counting_on(known).0;
        let next = last.checked_add(1).ok_or_else(exhausted)?;
        match marks::make(directory, name, next, &ask.owner)? {
            true => Ok(*made.insert(next)),
            false => Err(DirectoryError::Raced { path: path() }),
        }
    }

    /// Who keeps the lease from whoever asks.
    fn holder(&mut self, ask: &Ask, found: Option<&Record>) -> Option<Box<str>> {
        let record = found.filter(|it| it.is_held && it.owner != ask.owner)?;
        let (mark, time) = (record.mark(), record.time_to_live);
        let is_over = self.observer.has_stayed(&ask.name, mark, time);
        (!is_over).then(|| record.owner.clone())
    }

    /// Replaces the record, under the lock: after a crash there is the old one or the new one. If
    /// it was certainly not replaced, the token that was made for it goes to the next who asks.
    fn replace(
        &self,
        path: &Path,
        record: &Record,
        ask: &Ask,
        made: Option<u64>,
    ) -> Result<(), DirectoryError> {
        let beside = self.path(&ask.name, "lease.new");
        let write = || -> io::Result<()> {
            let mut file = File::create(&beside)?;
            file.write_all(record.print(&ask.name).as_bytes())?;
            file.sync_all()
        };
        let rename = || -> io::Result<()> {
            fs::rename(&beside, path)?;
            File::open(&self.directory)?.sync_all()
        };
        let written = write().inspect_err(|_| {
            if let Some(token) = made {
                marks::remove(&self.directory, &ask.name, token);
            }
        });
        written
            .and_then(|()| rename())
            .map_err(|error| DirectoryError::Io {
                path: path.to_owned(),
                error,
            })
    }
}

fn last(token: u64) -> Answer {
    let token = Token(token);
    Answer::Last { token }
}

impl Store for DirectoryStore {
    fn handle(&mut self, ask: &Ask) -> Answer {
        let answer = check(ask).map(|()| self.answer(ask));
        match answer {
            Ok(Ok(answer)) | Err(answer) => answer,
            Ok(Err(error)) => failed(error),
        }
    }
}
