//! Actors whose messages somebody takes instead of a handler.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmesh_proto::frame::body::ErrorCode;

use super::{Asked, Asker, Core};
use crate::actor::{ActorCell, Letter, Protocol};
use crate::error::SpawnError;
use crate::reference::{Recipient, Ref};
use crate::watch::{Terminated, WatchError};

/// An actor whose messages somebody takes. It ends with this.
pub(crate) struct Probe {
    core: Rc<Core>,
    cell: Rc<ActorCell>,
    me: Recipient,
    waiting: Rc<Cell<Option<Waker>>>,
}

/// What came for such an actor.
#[derive(Debug)]
pub(crate) enum Catch {
    /// A message, archived or local.
    Letter(Letter),
    /// An actor has ended that it watches.
    Terminated(Terminated),
}

impl Core {
    /// Spawns an actor whose messages wait to be taken.
    pub(crate) fn spawn_probe<P: Protocol>(
        self: &Rc<Self>,
        name: Option<&str>,
    ) -> Result<(Ref<P>, Probe), SpawnError> {
        self.takes_actors(self.id())?;
        let make = |me, birth| Rc::new(ActorCell::probing::<P>(self, me, birth));
        let (me, cell) = self.bear_cell(None, name, false, make)?;
        let waiting = Rc::<Cell<Option<Waker>>>::default();
        let (core, waits) = (Rc::clone(self), Rc::clone(&waiting));
        let (probed, its) = (Rc::clone(&cell), Rc::clone(&cell));
        // Whoever waits is woken where no cell is borrowed.
        let wake = poll_fn(move |_| {
            if let Some(waker) = waits.take() {
                core.wake(waker);
            }
            if probed.is_alive() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        if let Some(port) = its.port() {
            port.set_waker(self.tasks.attach(wake));
        }
        let probe = Probe {
            core: Rc::clone(self),
            cell,
            me: me.recipient,
            waiting,
        };
        Ok((me, probe))
    }
}

impl Probe {
    /// The next that came. Only the waker of the last call is woken.
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Catch> {
        let Some(port) = self.cell.port() else {
            return Poll::Pending;
        };
        while !port.has_nothing() {
            if let Some(letter) = self.core.take_waiting(port) {
                return Poll::Ready(Catch::Letter(letter));
            }
            if let Some(terminated) = port.take_aside() {
                return Poll::Ready(Catch::Terminated(terminated));
            }
        }
        let former = self.waiting.replace(Some(context.waker().clone()));
        drop(former);
        Poll::Pending
    }

    /// Takes the question over that a letter is, if it is one.
    pub(crate) fn take_question(&self, letter: &Letter) -> Option<Asked> {
        Asked::new(&self.core, &letter.link, letter.extra.question()?)
    }

    /// Tells whoever asked that nobody answers.
    pub(crate) fn refuse(&self, letter: &Letter) {
        if let Some(correlation) = letter.extra.correlation() {
            let asker = Asker::new(&self.core, &letter.link, correlation);
            asker.fail(ErrorCode::Failed);
        }
    }

    pub(crate) fn watch(&self, who: Recipient) -> Result<(), WatchError> {
        self.core.watch_actor(self.me, who, None)
    }

    pub(crate) fn unwatch(&self, who: Recipient) -> bool {
        self.core.unwatch_actor(self.me, who)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.core.stop_cell(&self.cell);
        drop(self.waiting.take());
    }
}
