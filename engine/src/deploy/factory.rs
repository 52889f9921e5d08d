//! Factories: what a node can make on request.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use ringmesh_proto::message::{Message, MessageType};
use ringmesh_transport::buffer::Chunk;

use super::nursery::NoSeat;
use super::{SpawnAtError, SpawnVerdict, Spawnable};
use crate::core::Core;
use crate::error::{EngineError, SpawnError};
use crate::message::{Msg, Older};
use crate::props::{Props, StartError};
use crate::reference::{Recipient, Ref};
use crate::supervision::Supervision;

/// What an actor is made with.
#[derive(Debug)]
pub(super) struct Kit {
    /// Its archived arguments.
    pub(super) args: Box<[u8]>,
    /// If those are of an older version: which, and the way to the current one.
    pub(super) older: Option<&'static Older>,
    pub(super) name: Option<String>,
    pub(super) supervision: Supervision,
}

/// Why an actor was not made.
#[derive(Debug)]
pub(super) enum Unmade {
    /// The arguments are no valid archive.
    Arguments,
    /// Its own code said so, or panicked.
    Start(String),
    Spawn(SpawnError),
    /// What is kept of it has no room.
    NoRoom(NoSeat),
}

/// Makes actors of one type.
#[derive(Clone, Copy)]
pub(crate) struct Factory {
    pub(super) key: &'static str,
    pub(super) args: MessageType,
    /// The older versions of them that it takes as well.
    older: &'static [Older],
    pub(super) make: fn(&Rc<Core>, Recipient, Kit) -> Result<Recipient, Unmade>,
}

impl Factory {
    pub(crate) fn of<W: Spawnable>() -> Self {
        Self {
            key: W::KEY,
            args: <W::Args as Message>::TYPE,
            older: <W::Args as Message>::OLDER,
            make: |core, parent, kit| {
                let made = make::<W>(core, Some(parent), kit);
                made.map(|made| made.recipient)
            },
        }
    }

    /// Which older version of its arguments these are, if they are not the current one.
    pub(super) fn reads(&self, args: MessageType) -> Result<Option<&'static Older>, SpawnVerdict> {
        if args == self.args {
            return Ok(None);
        }
        let mut older = self.older.iter();
        if let Some(older) = older.find(|older| older.message.version == args.version)
            && args.id == self.args.id
        {
            let is_one = older.message == args;
            return is_one
                .then_some(Some(older))
                .ok_or(SpawnVerdict::OtherArguments);
        }
        Err(match args.version.cmp(&self.args.version) {
            _ if args.id != self.args.id => SpawnVerdict::OtherArguments,
            Ordering::Less => SpawnVerdict::ArgumentsTooOld,
            Ordering::Equal => SpawnVerdict::OtherArguments,
            Ordering::Greater => SpawnVerdict::ArgumentsTooNew,
        })
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Factory").field(&self.key).finish()
    }
}

/// Makes an actor of this core, which keeps its arguments to be made anew.
pub(super) fn make<W: Spawnable>(
    core: &Rc<Core>,
    parent: Option<Recipient>,
    kit: Kit,
) -> Result<Ref<W::Api>, Unmade> {
    // A buffer of its own: the one it came in is not withheld for the life of the actor.
    let args = Chunk::copied_from(&kit.args);
    let args = Msg::<W::Args>::new(args).map_err(|_| Unmade::Arguments)?;
    let mut props = Props::fallible(move || W::make(args.clone())).supervised(kit.supervision);
    if let Some(name) = kit.name {
        props = props.named(name);
    }
    core.bear_by(parent, props).map_err(|error| match error {
        StartError::Factory(text) => Unmade::Start(text),
        StartError::Spawn(error @ SpawnError::Panicked { .. }) => Unmade::Start(error.to_string()),
        StartError::Spawn(error) => Unmade::Spawn(error),
    })
}

impl Unmade {
    /// What whoever spawns is told of an actor of this node.
    pub(super) fn into_error(self, key: &'static str) -> SpawnAtError {
        match self {
            Self::Arguments => SpawnAtError::InvalidArguments { key },
            Self::Start(text) => SpawnAtError::Start(text),
            Self::Spawn(error) => SpawnAtError::Spawn(error),
            Self::NoRoom(no_seat) => SpawnAtError::NoRoom {
                reason: no_seat.to_string(),
            },
        }
    }
}

/// The factories of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Factories(Vec<Factory>);

impl Factories {
    pub(crate) fn add(&mut self, factory: Factory) {
        self.0.push(factory);
    }

    /// Checks that no two have the same key.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        for (index, factory) in self.0.iter().enumerate() {
            if self.0[..index].iter().any(|other| other.key == factory.key) {
                return Err(EngineError::FactoryTwice { key: factory.key });
            }
        }
        Ok(())
    }

    pub(super) fn find(&self, key: &str) -> Option<Factory> {
        self.0.iter().find(|factory| factory.key == key).copied()
    }
}
