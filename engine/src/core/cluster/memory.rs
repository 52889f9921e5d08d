//! What a node remembers of its cluster, written down apart: a slow disk holds up no core.

use std::path::PathBuf;
use std::rc::Rc;
use std::thread;

use futures_channel::oneshot;
use ringmesh_cluster::membership::memory::Memory;

use super::super::Core;
use crate::cluster::state_file::{self, StateError};

/// What is to be written down. One write is under way at a time, and of what waits for it the
/// latest counts.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    /// Nothing is remembered without one.
    directory: Option<PathBuf>,
    is_writing: bool,
    /// The inner `None`: what was written is to be erased.
    waiting: Option<Option<Memory>>,
}

impl Notebook {
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Self {
            directory: Some(directory),
            ..Self::default()
        }
    }
}

impl Core {
    /// Writes down what is to be remembered, or erases it.
    pub(super) fn write_down(self: &Rc<Self>, memory: Option<Memory>) {
        self.cluster.notebook.borrow_mut().waiting = Some(memory);
        self.write_next();
    }

    fn write_next(self: &Rc<Self>) {
        let (directory, memory) = {
            let mut notebook = self.cluster.notebook.borrow_mut();
            let Some(directory) = notebook.directory.clone() else {
                return;
            };
            if notebook.is_writing {
                return;
            }
            let Some(memory) = notebook.waiting.take() else {
                return;
            };
            notebook.is_writing = true;
            (directory, memory)
        };
        let (say, heard) = oneshot::channel();
        let write = move || {
            let written = match memory {
                Some(memory) => state_file::save(&directory, &memory),
                None => state_file::clear(&directory),
            };
            // Nobody listens when the core has ended.
            let _ = say.send(written);
        };
        let thread = thread::Builder::new().name("ringmesh-state".to_owned());
        let started = thread.spawn(write);
        let core = Rc::downgrade(self);
        let end = async move {
            let written = match started {
                Ok(_) => heard.await.ok(),
                Err(error) => {
                    tracing::warn!(%error, "no thread to write the cluster state down");
                    None
                }
            };
            if let Some(core) = core.upgrade() {
                core.wrote_down(written);
            }
        };
        self.tasks.attach(end).wake();
    }

    fn wrote_down(self: &Rc<Self>, written: Option<Result<(), StateError>>) {
        self.cluster.notebook.borrow_mut().is_writing = false;
        if let Some(Err(error)) = written {
            // It goes on without: what it remembers is older than it could be.
            tracing::warn!(%error, "the cluster state was not written down");
            self.tally.cluster_state_failures.add(1);
        }
        self.write_next();
    }
}
