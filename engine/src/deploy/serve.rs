//! The side that makes actors for other nodes.

use std::rc::Rc;

use ringmesh_proto::address::{Address, CoreId, NodeId};
use ringmesh_proto::limits::ACTOR_NAME_BYTES_MAX;
use ringmesh_proto::message::{MessageId, MessageType};

use super::factory::{Kit, Unmade};
use super::guardian::{Order, raise};
use super::nursery::UnderWay;
use super::words::{Made, Spawn, SpawnVerdict, Spawned};
use crate::actor::{Actor, Cx, ReplyTo};
use crate::core::{ActorPlace, Core};
use crate::message::Msg;
use crate::reference::Recipient;

/// Bytes of a reason that travel.
pub(super) const REASON_BYTES_MAX: usize = 1024;

/// Why nothing is made: what is answered.
#[derive(Debug)]
struct Refused {
    verdict: SpawnVerdict,
    reason: String,
}

/// Makes an actor for another node, and answers when that is done.
pub(crate) fn serve<A: Actor>(spawn: &Msg<Spawn>, reply: ReplyTo<Spawn>, cx: &Cx<'_, A>) {
    let core = Rc::clone(cx.core());
    let admitted = cx
        .sender()
        .filter(|_| may_spawn(cx))
        .ok_or_else(|| Refused::of(SpawnVerdict::NotAllowed))
        .and_then(|sender| admit(&core, spawn.deserialize(), &sender));
    let (target, order, under_way) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return refused.send(&core, reply),
    };
    let at_work = Rc::clone(&core);
    let made = core.spawn_task(async move {
        let made = at_work
            .run_on(target, |there| Ok(raise(there, order)))
            .await;
        drop(under_way);
        match made.unwrap_or_else(|error| Err(Unmade::Spawn(error))) {
            Ok(made) => {
                at_work.count_spawned();
                reply.send(Spawned::made(made));
            }
            Err(unmade) => Refused::from(unmade).send(&at_work, reply),
        }
    });
    if let Err(error) = made {
        // The question went with the task: whoever asked is told that nobody answers it.
        tracing::debug!(%error, "an actor was not made for another node");
        core.count_spawn_refused();
    }
}

/// Checks a question of another node.
fn admit(
    core: &Rc<Core>,
    spawn: Spawn,
    sender: &NodeId,
) -> Result<(CoreId, Order, UnderWay), Refused> {
    let nursery = &core.shared().nursery;
    let factory = nursery.factory(&spawn.key);
    let factory = factory.ok_or_else(|| Refused::of(SpawnVerdict::UnknownFactory))?;
    if !nursery.allows(factory.key) {
        return Err(Refused::of(SpawnVerdict::NotAllowed));
    }
    let args = MessageType {
        id: MessageId::from_u64(spawn.args_id),
        version: spawn.args_version,
        fingerprint: spawn.args_fingerprint,
    };
    let older = factory.reads(args).map_err(Refused::of)?;
    let cores = core.cores().len();
    let cores = u16::try_from(cores).unwrap_or(u16::MAX);
    let target = match spawn.core.map(CoreId) {
        None => nursery.next_core(core.actor_cores()),
        Some(wanted) if wanted.0 >= cores => return Err(Refused::of(SpawnVerdict::NoSuchCore)),
        Some(wanted) if core.takes_actors(wanted).is_err() => {
            return Err(Refused::of(SpawnVerdict::CoreReserved));
        }
        Some(wanted) => wanted,
    };
    let place = ActorPlace {
        slot: spawn.stand_in.slot,
        generation: spawn.stand_in.generation,
    };
    let stand_in = core.recipient_at(sender, place);
    let stand_in = stand_in.ok_or_else(|| Refused::no_room(&"its node is not known any more"))?;
    let seats = nursery.admit(sender.uid, place.generation, spawn.args.len());
    let (seat, under_way) = seats.map_err(|error| Refused::no_room(&error))?;
    let order = Order {
        factory,
        kit: Kit {
            args: spawn.args.into(),
            older,
            name: spawn.name,
            supervision: spawn.strategy.into(),
        },
        path: path(&sender.address, stand_in),
        stand_in,
        seat: Some(seat),
    };
    Ok((target, order, under_way))
}

/// Whether whoever asks may have anything made here. A client may not; nor may anybody at one, for
/// neither would hear of the end of the other.
fn may_spawn<A: Actor>(cx: &Cx<'_, A>) -> bool {
    !cx.is_from_client() && !cx.core().is_client()
}

/// The path of a guardian: no other stand-in of any process has it.
pub(super) fn path(origin: &Address, stand_in: Recipient) -> Box<str> {
    let node = format!("{}@{}:{}", origin.system(), origin.host(), origin.port());
    let Recipient {
        uid, generation, ..
    } = stand_in;
    let number = format!("{:x}.{generation:x}", uid.as_u64());
    if node.len() > ACTOR_NAME_BYTES_MAX {
        return format!("remote/{number}").into();
    }
    format!("remote/{node}/{number}").into()
}

impl Refused {
    fn of(verdict: SpawnVerdict) -> Self {
        Self {
            verdict,
            reason: String::new(),
        }
    }

    fn no_room(why: &dyn std::fmt::Display) -> Self {
        Self {
            verdict: SpawnVerdict::NoRoom,
            reason: why.to_string(),
        }
    }

    fn send(self, core: &Core, reply: ReplyTo<Spawn>) {
        core.count_spawn_refused();
        tracing::debug!(?self, "an actor was not made for another node");
        reply.send(Spawned {
            verdict: self.verdict,
            reason: bounded(self.reason),
            made: None,
        });
    }
}

impl From<Unmade> for Refused {
    fn from(unmade: Unmade) -> Self {
        match unmade {
            Unmade::Arguments => Self::of(SpawnVerdict::InvalidArguments),
            Unmade::Start(reason) => Self {
                verdict: SpawnVerdict::NotStarted,
                reason,
            },
            Unmade::Spawn(error) => Self::no_room(&error),
            Unmade::NoRoom(no_seat) => Self::no_room(&no_seat),
        }
    }
}

impl Spawned {
    fn made(made: Made) -> Self {
        Self {
            verdict: SpawnVerdict::Made,
            reason: String::new(),
            made: Some(made),
        }
    }
}

/// As much of a text as travels.
fn bounded(mut text: String) -> String {
    if text.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev();
        let end = end.into_iter().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_the_bytes_of_a_reason_is_cut_at_a_letter() {
        let fits = "x".repeat(REASON_BYTES_MAX);
        assert_eq!(bounded(fits.clone()), fits);
        assert_eq!(bounded(format!("{fits}y")), fits);
        let split = format!("{}é", "x".repeat(REASON_BYTES_MAX - 1));
        assert_eq!(bounded(split), "x".repeat(REASON_BYTES_MAX - 1));
    }
}
