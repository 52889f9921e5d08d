//! What the cores of a node announce, as entries of its registry: the half on the control core.
//!
//! Each core sends what it announces in order, and behind it whether somebody waits until others
//! know. Refusals and answers go back to the core that they are for.

use std::collections::BTreeMap;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::time::Instant;
use rustc_hash::FxHashMap;

use super::interests::{Announce, AnnouncementId};
use crate::registry::{
    Acknowledgement, EntryId, Extent, RegisterError, Registration, Registry, RegistryOutput,
};

/// Who knows of a subscription when it is said to have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The core of the subscriber. What others publish may miss it for some milliseconds.
    #[default]
    Local,
    /// More than half of all members: see [`Extent::Quorum`].
    Quorum,
    /// All members that can be reached.
    AllReachable,
}

impl Level {
    /// Whom that means in the registry; `None` if nobody is asked.
    pub const fn extent(self) -> Option<Extent> {
        match self {
            Self::Local => None,
            Self::Quorum => Some(Extent::Quorum),
            Self::AllReachable => Some(Extent::AllReachable),
        }
    }
}

/// By which number the core knows that somebody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// What came of waiting until others know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The core that waits.
    pub core: CoreId,
    /// Who waits there.
    pub waiter: WaiterId,
    /// Who has confirmed it. None was asked at [`Level::Local`].
    pub acknowledgement: Option<Acknowledgement>,
}

impl Answer {
    /// Whether as many know of it as were to.
    pub fn is_enough(&self) -> bool {
        let acknowledgement = self.acknowledgement.as_ref();
        acknowledgement.is_none_or(|it| it.is_enough)
    }
}

/// Something was not announced. If it was a [`Announce::Put`], its core has to end its
/// subscriptions by [`Interests::handle_refused`](super::Interests::handle_refused).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what core {core} has subscribers of is not announced: {why}")]
pub struct Refused {
    /// Whose core it is.
    pub core: CoreId,
    /// What.
    pub id: AnnouncementId,
    /// Why not.
    pub why: RegisterError,
}

/// Which entries of the registry are what the cores announced.
#[derive(Debug, Default)]
pub struct Announcer {
    entries: FxHashMap<(CoreId, AnnouncementId), EntryId>,
    /// Who waits for what the registry says, by ticket.
    waiting: BTreeMap<u64, (CoreId, WaiterId)>,
    last_ticket: u64,
}

impl Announcer {
    /// Does to the registry what a core announces.
    ///
    /// # Errors
    /// [`Refused`] if the registry has no room for it, or the node leaves.
    pub fn handle(
        &mut self,
        (now, registry): (Instant, &mut Registry),
        core: CoreId,
        announce: Announce,
        out: &mut Vec<RegistryOutput>,
    ) -> Result<(), Refused> {
        match announce {
            Announce::Put { id, key, place } => {
                let registration = Registration {
                    key,
                    place,
                    weight: 1,
                    is_acknowledged: false,
                };
                let registered = registry.register(now, registration, out);
                let entry = registered.map_err(|why| Refused { core, id, why })?;
                self.entries.insert((core, id), entry);
            }
            // What was refused, or withdrawn because the node leaves, is not there.
            Announce::Weigh { id, weight } => {
                if let Some(entry) = self.entries.get(&(core, id)) {
                    registry.weigh(now, *entry, weight, out);
                }
            }
            Announce::Withdraw { id } => {
                if let Some(entry) = self.entries.remove(&(core, id)) {
                    registry.deregister(now, entry, out);
                }
            }
        }
        Ok(())
    }

    /// Somebody on a core waits until what it announced is known. The answer, if there is one
    /// already: at [`Level::Local`].
    ///
    /// # Errors
    /// [`Refused`]: it is not announced any more, or too many wait.
    pub fn acknowledge(
        &mut self,
        (now, registry): (Instant, &mut Registry),
        (core, id): (CoreId, AnnouncementId),
        (level, waiter): (Level, WaiterId),
        out: &mut Vec<RegistryOutput>,
    ) -> Result<Option<Answer>, Refused> {
        let Some(extent) = level.extent() else {
            let acknowledgement = None;
            return Ok(Some(Answer {
                core,
                waiter,
                acknowledgement,
            }));
        };
        let ticket = self.last_ticket + 1;
        let asked = match self.entries.get(&(core, id)) {
            Some(entry) => registry.acknowledge(now, (*entry, ticket), extent, out),
            None => Ok(false),
        };
        match asked {
            Ok(true) => {
                self.last_ticket = ticket;
                self.waiting.insert(ticket, (core, waiter));
                Ok(None)
            }
            Ok(false) => {
                let why = RegisterError::Leaving;
                Err(Refused { core, id, why })
            }
            Err(why) => Err(Refused { core, id, why }),
        }
    }

    /// The registry says what came of an entry; the answer if somebody waits for it.
    pub fn handle_acknowledged(&mut self, acknowledgement: Acknowledgement) -> Option<Answer> {
        let (core, waiter) = self.waiting.remove(&acknowledgement.ticket)?;
        Some(Answer {
            core,
            waiter,
            acknowledgement: Some(acknowledgement),
        })
    }

    /// The entry of something that a core announced.
    pub fn entry(&self, announced: (CoreId, AnnouncementId)) -> Option<EntryId> {
        self.entries.get(&announced).copied()
    }

    /// How many entries are announced.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
