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
    entries: BTreeMap<CoreId, FxHashMap<AnnouncementId, EntryId>>,
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
                self.entries.entry(core).or_default().insert(id, entry);
            }
            // What was refused, or withdrawn because the node leaves, is not there.
            Announce::Weigh { id, weight } => {
                if let Some(entry) = self.entry(core, id) {
                    registry.weigh(now, entry, weight, out);
                }
            }
            Announce::Withdraw { id } => {
                let entries = self.entries.get_mut(&core);
                if let Some(entry) = entries.and_then(|it| it.remove(&id)) {
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
        let asked = match self.entry(core, id) {
            Some(entry) => registry.acknowledge(now, (entry, ticket), extent, out),
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

    /// How many entries are announced.
    pub fn len(&self) -> usize {
        self.entries.values().map(FxHashMap::len).sum()
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of something that a core announced.
    pub fn entry(&self, core: CoreId, id: AnnouncementId) -> Option<EntryId> {
        self.entries.get(&core)?.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::membership::Status;
    use crate::membership::testing::{View, node, topology};
    use crate::pubsub::{InterestSettings, Interests, Pattern, Subscribe, SubscriberId};
    use crate::registry::{RegistrySettings, limits::ACKNOWLEDGEMENTS_MAX};

    const NOW: Instant = Instant::from_nanos(1_000_000_000);
    const CORE: CoreId = CoreId(1);

    fn put(interests: &mut Interests) -> Announce {
        let mut out = Vec::new();
        let wanted = Subscribe {
            pattern: Pattern::new("a.*").expect("a pattern"),
            group: None,
            protocol: 7,
            subscriber: SubscriberId(1),
        };
        interests.subscribe(&wanted, &mut out).expect("room");
        out.remove(0)
    }

    #[test]
    fn a_node_that_leaves_announces_nothing_and_its_core_is_told() {
        let mut registry = Registry::new(RegistrySettings::default(), node(1));
        let mut announcer = Announcer::default();
        let mut interests = Interests::new(CORE, InterestSettings::default());
        let view = topology(1, &View::of(&[(1, Status::Leaving)]));
        let mut out = Vec::new();
        registry.handle_topology(NOW, &view, &mut out);
        let put = put(&mut interests);
        let refused = announcer.handle((NOW, &mut registry), CORE, put, &mut out);
        let refused = refused.expect_err("it leaves");
        assert_eq!((refused.core, refused.why), (CORE, RegisterError::Leaving));
        let mut ended = Vec::new();
        interests.handle_refused(refused.id, &mut ended);
        assert!(ended.len() == 1 && interests.is_empty() && announcer.is_empty());
        let waits = (Level::AllReachable, WaiterId(1));
        let at = (CORE, refused.id);
        let asked = announcer.acknowledge((NOW, &mut registry), at, waits, &mut out);
        assert_eq!(asked, Err(refused));
    }

    #[test]
    fn one_over_the_acknowledgements_max_waits_in_vain_and_each_other_is_answered() {
        let mut registry = Registry::new(RegistrySettings::default(), node(1));
        let mut announcer = Announcer::default();
        let mut interests = Interests::new(CORE, InterestSettings::default());
        let mut out = Vec::new();
        let put = put(&mut interests);
        let Announce::Put { id, .. } = put else {
            panic!("it is new");
        };
        let done = announcer.handle((NOW, &mut registry), CORE, put, &mut out);
        assert_eq!((done, announcer.len()), (Ok(()), 1));
        let mut wait = |level, waiter, registry: &mut Registry, out: &mut Vec<_>| {
            let waits = (level, WaiterId(waiter));
            announcer.acknowledge((NOW, registry), (CORE, id), waits, out)
        };
        let local = wait(Level::Local, 9, &mut registry, &mut out);
        assert!(local.expect("at once").is_some_and(|it| it.is_enough()));
        for waiter in 0..ACKNOWLEDGEMENTS_MAX as u64 {
            let asked = wait(Level::Quorum, waiter, &mut registry, &mut out);
            assert_eq!(asked, Ok(None));
        }
        let over = wait(Level::Quorum, 999, &mut registry, &mut out);
        assert_eq!(
            over.map_err(|it| it.why),
            Err(RegisterError::Acknowledgements)
        );
        let snapshot = registry.snapshot().clone();
        registry.handle_applied(NOW + Duration::from_millis(1), &snapshot, &mut out);
        let answers = out.into_iter().filter_map(|it| match it {
            RegistryOutput::Acknowledged(it) => announcer.handle_acknowledged(it),
            _ => None,
        });
        let waiters: Vec<u64> = answers.map(|it| it.waiter.0).collect();
        assert_eq!(waiters.len(), ACKNOWLEDGEMENTS_MAX);
        assert!(announcer.waiting.is_empty());
    }
}
