//! What the cores of a node announce, as entries of its registry: the half on the control core.
//!
//! Each core sends what it announces in order, and refusals go back to the core that they are for.
//! Who waits until others know of something asks the registry, by its [entry](Announcer::entry).

use std::collections::BTreeMap;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::time::Instant;
use rustc_hash::FxHashMap;

use super::interests::{Announce, AnnouncementId};
use crate::registry::{EntryId, Extent, RegisterError, Registration, Registry, RegistryOutput};

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
    use super::*;
    use crate::membership::Status;
    use crate::membership::testing::{View, node, topology};
    use crate::pubsub::{InterestSettings, Interests, Pattern, Subscribe, SubscriberId};
    use crate::registry::RegistrySettings;

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
        assert_eq!(announcer.entry(CORE, refused.id), None);
    }

    #[test]
    fn what_a_core_announced_has_an_entry_of_that_core_until_it_is_withdrawn() {
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
        let entry = announcer.entry(CORE, id).expect("it is announced");
        assert!(registry.announces(entry));
        assert_eq!(announcer.entry(CoreId(2), id), None, "that is another core");
        // What another core has under that number stays out of it.
        for (core, is_there) in [(CoreId(2), true), (CORE, false)] {
            let withdraw = Announce::Withdraw { id };
            let done = announcer.handle((NOW, &mut registry), core, withdraw, &mut out);
            assert_eq!(done, Ok(()));
            assert_eq!(registry.announces(entry), is_there);
            assert_eq!(announcer.entry(CORE, id).is_some(), is_there);
        }
    }
}
