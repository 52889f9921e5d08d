//! What ties an actor to a parent elsewhere: three actors that take no messages.
//!
//! The stand-in is a child of the parent, and ends as a child does: with it, and before it begins
//! anew. The guardian is the parent of the actor where that lives. They watch each other, so each
//! ends when the other has, or its node is lost: word of an end is neither lost nor repeated.
//!
//! Such word may lose its reason on the way: who watches the dead is told that they are gone. That
//! an actor escalated must not depend on it. So where it may, there are two to be watched: the
//! guardian then ends of the escalation alone, as any parent fails of it, and a token ends when the
//! actor ended otherwise.

use std::cell::Cell;
use std::rc::Rc;

use super::factory::{Factory, Kit, Unmade};
use super::nursery::Seat;
use super::words::{Made, Place};
use crate::actor::{Actor, Cx};
use crate::core::Core;
use crate::error::SpawnError;
use crate::protocol;
use crate::reference::{Recipient, Ref};
use crate::supervision::Supervision;
use crate::watch::{ActorId, Ended, Terminated, WatchError};

protocol! {
    /// What the three understand: nothing.
    pub(super) TieApi = "ringmesh.tie" {}
}

/// Stands for an actor elsewhere among the children of its parent.
pub(super) struct StandIn {
    /// The guardian, if its end is a failure of the parent.
    pub(super) alarm: Rc<Cell<Option<ActorId>>>,
}

impl Actor for StandIn {
    type Api = TieApi;

    fn terminated(&mut self, who: Terminated, cx: &mut Cx<'_, Self>) {
        let is_lost = matches!(who.why(), Ended::NodeLost | Ended::Unwatched);
        if self.alarm.get() == Some(who.id()) && !is_lost {
            cx.core().escalate(cx.me().recipient);
        } else {
            cx.stop();
        }
    }
}

/// Stands for a parent elsewhere.
struct Guardian {
    stand_in: ActorId,
    token: Option<Ref<TieApi>>,
    has_child: bool,
    /// Given back when this is gone.
    _seat: Option<Seat>,
}

impl Actor for Guardian {
    type Api = TieApi;

    fn terminated(&mut self, who: Terminated, cx: &mut Cx<'_, Self>) {
        if who.id() == self.stand_in {
            if self.has_child {
                cx.core().count_orphan();
            }
            return cx.stop();
        }
        self.has_child = false;
        match self.token.take() {
            // The stand-in hears of it, ends, and this with it.
            Some(token) => {
                cx.node().stop(&token);
            }
            None => cx.stop(),
        }
    }
}

/// Lives until the child of a guardian has ended, or the stand-in.
struct Token;

impl Actor for Token {
    type Api = TieApi;

    fn terminated(&mut self, _: Terminated, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

/// What is to be made for a parent elsewhere.
pub(super) struct Order {
    pub(super) factory: Factory,
    pub(super) kit: Kit,
    pub(super) stand_in: Recipient,
    /// The guardian's path, behind `/user/`.
    pub(super) path: Box<str>,
    pub(super) seat: Option<Seat>,
}

/// Makes an actor of this core, and ties it to its parent. If that fails nothing is left.
pub(super) fn raise(core: &Rc<Core>, order: Order) -> Result<Made, Unmade> {
    let Order {
        factory,
        kit,
        stand_in,
        path,
        seat,
    } = order;
    let token = match escalates(kit.supervision) {
        true => Some(core.spawn(None, Token).map_err(Unmade::Spawn)?),
        false => None,
    };
    let guardian = Guardian {
        stand_in: stand_in.id(),
        token,
        has_child: true,
        _seat: seat,
    };
    let raised = core
        .bear_at(path, guardian)
        .map_err(Unmade::Spawn)
        .and_then(|guardian| {
            let child = bring_up(core, (guardian, token), stand_in, |parent| {
                (factory.make)(core, parent, kit)
            });
            child.map(|child| (guardian, child)).inspect_err(|_| {
                core.stop_actor(&guardian);
            })
        });
    match raised {
        Ok((guardian, child)) => Ok(Made {
            child: place(child),
            guardian: place(guardian.recipient),
            token: token.map(|token| place(token.recipient)),
        }),
        Err(unmade) => {
            token.inspect(|token| {
                core.stop_actor(token);
            });
            Err(unmade)
        }
    }
}

/// Ties a guardian and its token to the stand-in, and has the child made.
fn bring_up(
    core: &Rc<Core>,
    (guardian, token): (Ref<TieApi>, Option<Ref<TieApi>>),
    stand_in: Recipient,
    make: impl FnOnce(Recipient) -> Result<Recipient, Unmade>,
) -> Result<Recipient, Unmade> {
    let watch = |who: Recipient, whom| {
        let watched = core.watch_actor(who, whom, None);
        watched.map_err(|error| Unmade::Spawn(unwatched(error)))
    };
    watch(guardian.recipient, stand_in)?;
    if let Some(token) = token {
        watch(token.recipient, stand_in)?;
    }
    let child = make(guardian.recipient)?;
    watch(guardian.recipient, child)?;
    Ok(child)
}

/// There is no word for it among the errors of actors that are spawned.
fn unwatched(error: WatchError) -> SpawnError {
    match error {
        WatchError::CoreOverloaded { core } => SpawnError::CoreOverloaded { core },
        WatchError::TooMany { limit }
        | WatchError::TooManyOnCore { limit }
        | WatchError::TooManyOfNode { limit }
        | WatchError::TooManyTimers { limit } => SpawnError::TooManyActors { limit },
        // For a client nothing is made, nor at one.
        WatchError::Stopping | WatchError::OtherNode | WatchError::Client => SpawnError::Stopping,
    }
}

pub(super) fn escalates(supervision: Supervision) -> bool {
    match supervision {
        Supervision::Escalate => true,
        Supervision::Restart(how) => how.escalates,
        Supervision::Stop | Supervision::Resume => false,
    }
}

fn place(actor: Recipient) -> Place {
    Place {
        slot: actor.slot,
        generation: actor.generation,
    }
}
