//! What a node remembers of its cluster, written down apart: a slow disk holds up no core.
//!
//! What could not be written is tried again after a pause, and followers of the cluster are told. A
//! node that stops waits for what is to be written, for as long as its last bytes may take.
//!
//! The machine counts on nothing before it is written, or cannot be: then the node goes on without.
//! So it does while a disk hangs, until that has written what it was given.

use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh_cluster::membership::memory::Memory;
use ringmesh_transport::timer::TimerKey;

use super::super::{Core, Token};
use crate::cluster::state_file;

/// The pause behind the first failure. It doubles with each that follows, up to
/// [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// A write that takes longer counts as one that fails, for as long as it goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be written down. One write is under way at a time, and of what waits for it the
/// latest counts.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    /// Nothing is remembered without one.
    directory: Option<PathBuf>,
    /// A write is under way.
    write: Option<Write>,
    waiting: Option<Note>,
    /// The number of the latest note; none when that is to erase.
    latest: Option<u64>,
    /// Failures in a row.
    failures: u32,
    /// The next try waits for it.
    pause: Option<TimerKey>,
}

/// A write that is under way.
#[derive(Debug)]
enum Write {
    /// Its time is up when that fires.
    InTime(Option<TimerKey>),
    /// It is not waited for any more, and was told of.
    Late,
}

/// What is to be written down, with its number. `None`: what was written is to be erased.
type Note = Option<(u64, Memory)>;

impl Notebook {
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Self {
            directory: Some(directory),
            ..Self::default()
        }
    }

    fn is_done(&self) -> bool {
        self.directory.is_none() || self.write.is_none() && self.waiting.is_none()
    }

    /// Whether nothing is written down for now, and the node goes on without.
    fn is_unwritable(&self) -> bool {
        self.pause.is_some() || matches!(self.write, Some(Write::Late))
    }
}

/// How long to wait behind so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = failures.saturating_sub(1).min(31);
    PAUSE.saturating_mul(1 << doubled).min(PAUSE_MAX)
}

impl Core {
    /// Writes down what is to be remembered, or erases it.
    pub(super) fn write_down(self: &Rc<Self>, note: Note) {
        let number = note.as_ref().map(|(number, _)| *number);
        let is_unwritable = {
            let mut notebook = self.cluster.notebook.borrow_mut();
            notebook.latest = number;
            notebook.waiting = Some(note);
            notebook.is_unwritable()
        };
        if is_unwritable {
            self.tell_remembered(number);
        } else {
            self.write_next();
        }
    }

    fn tell_remembered(&self, number: Option<u64>) {
        if let Some(number) = number {
            self.tell_cluster(|machine, cx| machine.handle_remembered(cx, number));
        }
    }

    /// The pause behind a failure is over, or the time of a write is up.
    pub(in super::super) fn notebook_timeout(self: &Rc<Self>) {
        let is_late = {
            let mut notebook = self.cluster.notebook.borrow_mut();
            notebook.pause = None;
            let write = notebook.write.as_mut();
            write.map(|write| *write = Write::Late).is_some()
        };
        if is_late {
            let seconds = PATIENCE.as_secs();
            self.go_on_without(&format!("it was not written within {seconds} s"));
        } else {
            self.write_next();
        }
    }

    /// What is being written, and what came meanwhile, is not waited for: what is remembered is
    /// older than it could be.
    fn go_on_without(&self, why: &str) {
        tracing::warn!(why, "the cluster state was not written down");
        self.tally.cluster_state_failures.add(1);
        let latest = self.cluster.notebook.borrow().latest;
        self.tell_remembered(latest);
        self.tell_cluster(|machine, cx| machine.handle_unwritten(cx, why));
    }

    /// Whether everything is written down. If something waits out a pause it is tried once more.
    pub(in super::super) fn has_written_down(self: &Rc<Self>) -> bool {
        let pause = { self.cluster.notebook.borrow_mut() }.pause.take();
        pause.into_iter().for_each(|key| self.cancel_timer(key));
        self.write_next();
        self.cluster.notebook.borrow().is_done()
    }

    /// The node ends, with or without what is to be written.
    pub(in super::super) fn close_notebook(&self) {
        if !self.cluster.notebook.borrow().is_done() {
            tracing::warn!("the node ends before its cluster state was written down");
            self.tally.cluster_state_failures.add(1);
        }
    }

    fn write_next(self: &Rc<Self>) {
        let (directory, note) = {
            let mut notebook = self.cluster.notebook.borrow_mut();
            let Some(directory) = notebook.directory.clone() else {
                return;
            };
            if notebook.write.is_some() {
                return;
            }
            let Some(note) = notebook.waiting.take() else {
                return;
            };
            notebook.write = Some(Write::InTime(self.time_write()));
            (directory, note)
        };
        let (say, heard) = oneshot::channel();
        let again = note.clone();
        let write = move || {
            let written = match note {
                Some((_, memory)) => state_file::save(&directory, &memory),
                None => state_file::clear(&directory),
            };
            // Nobody listens when the core has ended.
            let _ = say.send(written.map_err(|error| error.to_string()));
        };
        let thread = thread::Builder::new().name("ringmesh-state".to_owned());
        let started = thread.spawn(write);
        let core = Rc::downgrade(self);
        let end = async move {
            let written = match started {
                Ok(_) => heard
                    .await
                    .unwrap_or_else(|_| Err("its thread panicked".to_owned())),
                Err(error) => Err(error.to_string()),
            };
            if let Some(core) = core.upgrade() {
                core.wrote_down(again, written);
            }
        };
        self.tasks.attach(end).wake();
    }

    /// Has the write that begins looked at when its time is up. A time that passes while nothing is
    /// to do on the cores does not measure what a thread beside them does.
    fn time_write(&self) -> Option<TimerKey> {
        let due = self.clock.now() + PATIENCE;
        let is_measured = !self.clock.is_virtual();
        let timer = is_measured.then(|| self.set_timer(due, Token::Notebook));
        timer.flatten()
    }

    fn wrote_down(self: &Rc<Self>, note: Note, written: Result<(), String>) {
        let write = { self.cluster.notebook.borrow_mut() }.write.take();
        let is_late = matches!(write, Some(Write::Late));
        if let Some(Write::InTime(Some(key))) = write {
            self.cancel_timer(key);
        }
        let Err(error) = written else {
            self.cluster.notebook.borrow_mut().failures = 0;
            self.tell_remembered(note.as_ref().map(|(number, _)| *number));
            return self.write_next();
        };
        // Of a write that is late enough was said.
        if !is_late {
            self.go_on_without(&error);
        }
        if self.is_closing() {
            // What came meanwhile has its own try, and this has had its last.
            return self.write_next();
        }
        let due = {
            let mut notebook = self.cluster.notebook.borrow_mut();
            notebook.waiting.get_or_insert(note);
            notebook.failures = notebook.failures.saturating_add(1);
            self.clock.now() + pause(notebook.failures)
        };
        let pause = self.set_timer(due, Token::Notebook);
        self.cluster.notebook.borrow_mut().pause = pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_one() {
        let seconds = [1, 2, 3, 7, 8, u32::MAX].map(|failures| pause(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 64, 64, 64]);
    }
}
