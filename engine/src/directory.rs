//! The node's directory: the actor in slot 0 of core 0 that turns names into refs for other nodes,
//! and has actors made for them.

use ringmesh_proto::address::{CoreId, Uid};

use crate::actor::{Actor, Cx, Handler, LaterHandler, Protocol, ReplyTo};
use crate::core::{Core, Home};
use crate::deploy::{self, Spawn};
use crate::error::SpawnError;
use crate::message::Msg;
use crate::reference::Ref;
use crate::{later_handler, message, protocol};

/// Asks for the place of a named actor.
#[message(id = "ringmesh.Resolve", v = 1, reply = Resolved, crate = crate)]
#[derive(Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The actor's name, without the path before it.
    pub name: String,
    /// The hash of the protocol that the ref will be typed by.
    pub protocol: u64,
}

/// The answer to [`Resolve`].
#[message(id = "ringmesh.Resolved", v = 1, crate = crate)]
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Whether there is such an actor; if not, the other fields are 0.
    pub finding: Finding,
    /// The actor's core.
    pub core: u16,
    /// Its slot there.
    pub slot: u32,
    /// Which of the actors that the slot has had.
    pub generation: u64,
}

/// Asks for the actors whose names match a pattern; a page of them.
#[message(id = "ringmesh.Select", v = 1, reply = Selected, crate = crate)]
#[derive(Debug, PartialEq, Eq)]
pub struct Select {
    /// The pattern of their names, with those of their parents.
    pub pattern: String,
    /// The hash of the protocol that they speak.
    pub protocol: u64,
    /// The last name that was looked at for the page before; empty for the first.
    pub after: String,
}

/// The answer to [`Select`].
#[message(id = "ringmesh.Selected", v = 1, crate = crate)]
#[derive(Debug, PartialEq, Eq)]
pub struct Selected {
    /// Whether names were looked at; if not, the other fields are empty.
    pub verdict: Verdict,
    /// Where those that match live.
    pub spots: Vec<Spot>,
    /// The last name that was looked at; empty when there are no more.
    pub last: String,
}

/// Where an actor lives.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its core.
    pub core: u16,
    /// Its slot there.
    pub slot: u32,
    /// Which of the actors that the slot has had.
    pub generation: u64,
}

/// Whether names are looked at for a pattern.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They were.
    Looked,
    /// It is no pattern.
    NoPattern,
    /// Whoever asks may not see names.
    Refused,
}

/// What became of a look-up.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The actor runs.
    Found,
    /// No actor has the name.
    NotFound,
    /// The actor of the name speaks another protocol.
    WrongProtocol,
}

protocol! {
    /// What every node answers about itself.
    pub(crate) DirectoryApi = "ringmesh.directory" { Resolve, Select, Spawn }
}

/// The directory's place on every node.
const SLOT: u32 = 0;
const GENERATION: u64 = 0;

/// The ref of the directory of a peer.
pub(crate) fn of_node(uid: Uid, home: Home) -> Ref<DirectoryApi> {
    Ref::new(uid, home, CoreId(0), SLOT, GENERATION)
}

/// Whether the actor of a generation is the directory of its node.
pub(crate) fn is_at(generation: u64) -> bool {
    generation == GENERATION
}

/// Spawns the directory, as the first actor of a core.
pub(crate) fn spawn(core: &std::rc::Rc<Core>) -> Result<(), SpawnError> {
    let me = core.bear(None, None, Directory, |_| None)?;
    assert_eq!(
        (me.recipient.slot, me.recipient.generation),
        (SLOT, GENERATION),
        "the directory is spawned first"
    );
    Ok(())
}

struct Directory;

impl Actor for Directory {
    type Api = DirectoryApi;
}

impl Handler<Resolve> for Directory {
    fn handle(&mut self, message: Msg<Resolve>, cx: &mut Cx<'_, Self>) -> Resolved {
        cx.look_up(&message.name, message.protocol.to_native())
    }
}

#[later_handler(crate = crate)]
impl LaterHandler<Spawn> for Directory {
    fn handle(&mut self, spawn: Msg<Spawn>, reply: ReplyTo<Spawn>, cx: &mut Cx<'_, Self>) {
        deploy::serve(&spawn, reply, cx);
    }
}

impl Handler<Select> for Directory {
    fn handle(&mut self, message: Msg<Select>, cx: &mut Cx<'_, Self>) -> Selected {
        let protocol = message.protocol.to_native();
        cx.select_named(&message.pattern, &message.after, protocol)
    }
}

impl Selected {
    pub(crate) fn nothing(verdict: Verdict) -> Self {
        Self {
            verdict,
            spots: Vec::new(),
            last: String::new(),
        }
    }
}

impl ArchivedVerdict {
    /// The verdict that was archived.
    pub(crate) fn to_native(&self) -> Verdict {
        match self {
            Self::Looked => Verdict::Looked,
            Self::NoPattern => Verdict::NoPattern,
            Self::Refused => Verdict::Refused,
        }
    }
}

impl Resolved {
    pub(crate) fn missing(finding: Finding) -> Self {
        Self {
            finding,
            core: 0,
            slot: 0,
            generation: 0,
        }
    }

    pub(crate) fn found(core: CoreId, slot: u32, generation: u64) -> Self {
        Self {
            finding: Finding::Found,
            core: core.0,
            slot,
            generation,
        }
    }
}

impl ArchivedFinding {
    /// The finding that was archived.
    pub(crate) fn to_native(&self) -> Finding {
        match self {
            Self::Found => Finding::Found,
            Self::NotFound => Finding::NotFound,
            Self::WrongProtocol => Finding::WrongProtocol,
        }
    }
}

/// The protocol's hash as it is compared in a look-up.
pub(crate) fn protocol_key<P: Protocol>() -> u64 {
    P::ID.as_u64()
}

#[cfg(test)]
mod tests {
    use super::DirectoryApi;
    use crate::deploy::GuardianApi;

    #[test]
    fn the_messages_between_nodes_are_locked() {
        crate::assert_messages_locked!(DirectoryApi, GuardianApi);
    }
}
