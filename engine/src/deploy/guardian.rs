//! What ties an actor to a parent elsewhere: three actors that users send no messages.
//!
//! The stand-in is a child of the parent, and ends as a child does: with it, and before it begins
//! anew. The guardian is the parent of the actor where that lives. They watch each other, so each
//! ends when the other has, or its node is lost: word of an end is neither lost nor repeated.
//!
//! Such word may lose its reason on the way: who watches the dead is told that they are gone. That
//! an actor escalated must not depend on it. So where it may, there are two to be watched: the
//! guardian then ends of the escalation alone, as any parent fails of it, and a token ends when the
//! actor ended otherwise.

use std::rc::Rc;
use std::time::Duration;

use super::factory::{Factory, Kit, Unmade};
use super::finish::Tie;
use super::nursery::Seat;
use super::words::{Finish, Finished, Made, Place};
use crate::actor::{Actor, Cx, LaterHandler, ReplyTo};
use crate::core::{Core, NotUpgraded};
use crate::ending::{Ending, Stopped};
use crate::error::SpawnError;
use crate::message::Msg;
use crate::reference::{Recipient, Ref};
use crate::supervision::Supervision;
use crate::watch::{ActorId, Ended, Terminated, WatchError};
use crate::{later_handler, protocol};

protocol! {
    /// What a stand-in and a token understand: nothing.
    pub(super) TieApi = "ringmesh.tie" {}
}

protocol! {
    /// What a guardian does.
    pub(crate) GuardianApi = "ringmesh.guardian" { Finish }
}

/// Stands for an actor elsewhere among the children of its parent.
pub(super) struct StandIn {
    pub(super) tie: Rc<Tie>,
}

impl Actor for StandIn {
    type Api = TieApi;

    fn terminated(&mut self, who: Terminated, cx: &mut Cx<'_, Self>) {
        let is_lost = matches!(who.why(), Ended::NodeLost | Ended::Unwatched);
        let is_guardian = self
            .tie
            .guardian
            .get()
            .is_some_and(|it| it.id() == who.id());
        if is_guardian && self.tie.alarms.get() && !is_lost {
            return cx.core().escalate(cx.me().recipient);
        }
        if is_lost {
            // How it ended, nobody knows.
            cx.core().cut_short(cx.me().recipient.place());
        }
        if is_lost || !self.tie.waits_for_answer() {
            cx.stop();
        }
    }
}

/// Stands for a parent elsewhere.
struct Guardian {
    stand_in: ActorId,
    token: Option<Ref<TieApi>>,
    has_child: bool,
    /// The end of the child, and who waits for that, if it is to finish what it does.
    finishing: Option<(Ending, ReplyTo<Finish>)>,
    /// Given back when this is gone.
    _seat: Option<Seat>,
}

impl Actor for Guardian {
    type Api = GuardianApi;

    fn terminated(&mut self, who: Terminated, cx: &mut Cx<'_, Self>) {
        if who.id() == self.stand_in {
            if self.has_child {
                cx.core().count_orphan();
            }
            return cx.stop();
        }
        self.has_child = false;
        if let Some((mut ending, reply)) = self.finishing.take() {
            // Said when the child was gone, and so before word of it.
            let said = ending.said();
            let in_order = matches!(said, Some(Ok(Stopped::InOrder | Stopped::Gone)));
            reply.send(Finished { in_order });
        }
        self.end_token(cx);
    }
}

impl Guardian {
    /// Has the stand-in hear that it is over, which ends it, and this with it.
    fn end_token(&mut self, cx: &mut Cx<'_, Self>) {
        match self.token.take() {
            Some(token) => {
                cx.node().stop(&token);
            }
            None => cx.stop(),
        }
    }
}

#[later_handler(crate = crate)]
impl LaterHandler<Finish> for Guardian {
    fn handle(&mut self, finish: Msg<Finish>, reply: ReplyTo<Finish>, cx: &mut Cx<'_, Self>) {
        let is_parents = cx
            .sender()
            .is_some_and(|node| node.uid == self.stand_in.uid);
        if !is_parents || self.finishing.is_some() {
            return;
        }
        if !self.has_child {
            // It ended by itself.
            return reply.send(Finished { in_order: true });
        }
        let within = Duration::from_micros(finish.within_us.to_native());
        match cx.core().finish_child(cx.me().recipient, within) {
            Some(ending) => self.finishing = Some((ending, reply)),
            // There is no room to give it time: it is cut short, which is no failure.
            None => self.end_token(cx),
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
        mut seat,
    } = order;
    let kit = in_this_version(core, kit, seat.as_mut())?;
    let token = match escalates(kit.supervision) {
        true => Some(
            core.bear(None, None, Token, |_| None)
                .map_err(Unmade::Spawn)?,
        ),
        false => None,
    };
    let guardian = Guardian {
        stand_in: stand_in.id(),
        token,
        has_child: true,
        finishing: None,
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

/// What an actor is made with, its arguments in the version that its factory takes.
fn in_this_version(core: &Core, mut kit: Kit, seat: Option<&mut Seat>) -> Result<Kit, Unmade> {
    let Some(older) = kit.older.take() else {
        return Ok(kit);
    };
    kit.args = core.upgrade_args(older, &kit.args).map_err(|problem| {
        let text = "its arguments, in an older version, could not be upgraded";
        match problem {
            NotUpgraded::Invalid => Unmade::Arguments,
            NotUpgraded::Failed => Unmade::Start(text.to_owned()),
        }
    })?;
    if let Some(seat) = seat {
        seat.keep(kit.args.len()).map_err(Unmade::NoRoom)?;
    }
    Ok(kit)
}

/// Ties a guardian and its token to the stand-in, and has the child made.
fn bring_up(
    core: &Rc<Core>,
    (guardian, token): (Ref<GuardianApi>, Option<Ref<TieApi>>),
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
