//! What the invariants over views look at.

use ringmesh_cluster::control::Control;
use ringmesh_cluster::membership::Member;
use ringmesh_cluster::membership::clock::Relation;
use ringmesh_cluster::membership::convergence::Part;
use ringmesh_cluster::membership::gossip::Gossip;
use ringmesh_proto::address::Uid;

use super::Participant;
use crate::world::World;

/// A member that runs, and what it knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer<'a> {
    /// Where it runs.
    pub(super) node: usize,
    /// The process start.
    pub(super) uid: Uid,
    /// Its machines.
    pub(super) control: &'a Control,
    /// Its view.
    pub(super) view: &'a Gossip,
}

impl<'a> Viewer<'a> {
    /// The data centre that it is in.
    pub(super) fn data_centre(&self) -> &'a str {
        self.control.topology().data_centre()
    }

    /// The members of that, as it sees them.
    pub(super) fn home(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        Part::new(self.view, self.data_centre()).members()
    }

    /// Whether it holds whatever another one knows, if both are in one cluster.
    pub(super) fn holds(&self, other: &Gossip) -> bool {
        let is_same_cluster = self.view.cluster() == other.cluster();
        let relation = self.view.relation(other);
        !is_same_cluster || matches!(relation, Relation::Same | Relation::After)
    }

    /// Whether all that count hold its view, as it says.
    pub(super) fn is_converged(&self) -> bool {
        let why_not = self.control.membership().why_not_converged();
        why_not.is_some_and(|it| it.is_converged())
    }
}

/// All that run and are members.
pub(super) fn viewers(world: &World<Participant>) -> Vec<Viewer<'_>> {
    let viewer = |node: usize| {
        let control = world.machine(node)?.control();
        let view = control.membership().gossip()?;
        let uid = world.uid(node)?;
        Some(Viewer {
            node,
            uid,
            control,
            view,
        })
    };
    world.running().filter_map(viewer).collect()
}
