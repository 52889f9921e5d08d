//! Where the cores of a node stand in the table of peers, and which of them is sent to for each.

use ringmesh_proto::address::CoreId;
use ringmesh_proto::lane::Lane;

use super::peers::PeerIndex;
use super::{Met, NodeIndex};

/// Where something goes: to a core of a node, over the large lane or not.
pub(super) type Way = (NodeIndex, CoreId, bool);

/// The cores of a node that this one knows, by their number.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) ordinary: Cores,
    large: Cores,
    /// The control core, by the control lane.
    control: Option<PeerIndex>,
    /// What a handshake told of the node.
    pub(super) met: Option<Met>,
}

/// The cores of a node on one lane.
#[derive(Debug, Default)]
pub(super) struct Cores {
    cores: Vec<Option<PeerIndex>>,
    /// Which of them is sent to for each: another one for a core that this one has no link with.
    ways: Vec<Option<PeerIndex>>,
}

impl Cores {
    #[inline]
    pub(super) fn at(&self, core: CoreId) -> Option<PeerIndex> {
        *self.cores.get(usize::from(core.0))?
    }

    /// The core that is sent to for what goes to `core`.
    #[inline]
    fn way(&self, core: CoreId) -> Option<PeerIndex> {
        *self.ways.get(usize::from(core.0))?
    }

    fn set(&mut self, core: CoreId, index: Option<PeerIndex>) {
        let place = usize::from(core.0);
        if self.cores.len() <= place {
            self.cores.resize(place + 1, None);
        }
        self.cores[place] = index;
    }

    fn find_ways(&mut self, me: CoreId, met: Option<Met>) {
        self.ways = match met {
            Some(Met { matrix, .. }) => {
                let way = |core| self.at(matrix.way(me, core));
                matrix.cores_there().map(way).collect()
            }
            // Names of this node: it has no matrix with itself.
            None => self.cores.clone(),
        };
    }

    fn all(&self) -> impl Iterator<Item = PeerIndex> + use<'_> {
        self.cores.iter().flatten().copied()
    }
}

impl Row {
    pub(super) fn at(&self, core: CoreId, lane: Lane) -> Option<PeerIndex> {
        match lane {
            Lane::Control => self.control,
            Lane::Ordinary => self.ordinary.at(core),
            Lane::Large => self.large.at(core),
        }
    }

    /// The core that is sent to for what goes to `core`.
    #[inline]
    pub(super) fn way(&self, core: CoreId, large: bool) -> Option<PeerIndex> {
        let cores = if large { &self.large } else { &self.ordinary };
        cores.way(core)
    }

    pub(super) fn set(&mut self, core: CoreId, lane: Lane, index: Option<PeerIndex>) {
        match lane {
            Lane::Control => self.control = index,
            Lane::Ordinary => self.ordinary.set(core, index),
            Lane::Large => self.large.set(core, index),
        }
    }

    /// Finds the ways from core `me` anew. Within the node there are no lanes.
    pub(super) fn find_ways(&mut self, me: CoreId, own: bool) {
        self.ordinary.find_ways(me, self.met);
        if own {
            self.large.ways.clone_from(&self.ordinary.ways);
        } else {
            self.large.find_ways(me, self.met);
        }
    }

    /// Every peer in it.
    pub(super) fn all(&self) -> impl Iterator<Item = PeerIndex> + use<'_> {
        let cores = self.ordinary.all().chain(self.large.all());
        cores.chain(self.control)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }
}
