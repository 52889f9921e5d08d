//! Invariant 22: in the end all nodes are members of one cluster, and know it. Invariant 10: at an
//! address there is one of them.

use std::collections::BTreeMap;

use ringmesh_cluster::membership::{Status, Topology};
use ringmesh_proto::address::Uid;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// In the end every node runs and is up, all are in one cluster, have one view, which all hold, and
/// name one leader in each data centre; nobody and no data centre is unreachable, and nobody is a
/// member whose process is gone.
#[derive(Debug)]
pub struct Agreement;

/// Why a node does not see exactly those members.
fn differs(node: usize, topology: &Topology, uids: &[Uid]) -> Option<String> {
    let members = topology.members();
    let is_up = |uid: &Uid| topology.member(*uid).map(|it| it.status()) == Some(Status::Up);
    if let Some(uid) = uids.iter().find(|uid| !is_up(uid)) {
        let is = topology.member(*uid).map(|it| it.status());
        return Some(format!("node {node} sees {uid} as {is:?}, and not up"));
    }
    if members.len() != uids.len() {
        return Some(format!("node {node} has {} members", members.len()));
    }
    let unreachable = uids.iter().find(|uid| topology.is_unreachable(**uid));
    let unreachable = unreachable.map(|uid| uid.to_string());
    let dark = || {
        topology
            .unreachable_data_centres()
            .next()
            .map(str::to_owned)
    };
    let unreachable = unreachable.or_else(dark);
    unreachable.map(|it| format!("node {node} does not reach {it}"))
}

impl Invariant<Participant> for Agreement {
    fn name(&self) -> &'static str {
        "agreement"
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut uids = Vec::new();
        for node in 0..world.nodes() {
            uids.push(
                world
                    .uid(node)
                    .ok_or_else(|| format!("node {node} does not run"))?,
            );
        }
        let mut firsts: BTreeMap<&str, &Topology> = BTreeMap::new();
        let clusters = world.running().filter_map(|node| world.machine(node));
        let clusters: Vec<_> = clusters
            .map(|machine| machine.control().topology().cluster())
            .collect();
        if clusters.iter().any(|cluster| *cluster != clusters[0]) {
            return Err(format!("the nodes are in {clusters:?}"));
        }
        for node in world.running() {
            let Some(machine) = world.machine(node) else {
                continue;
            };
            let topology = machine.control().topology();
            if let Some(why) = differs(node, topology, &uids) {
                return Err(why);
            }
            let why_not = machine.control().membership().why_not_converged();
            if let Some(why) = why_not.filter(|it| !it.is_converged()) {
                return Err(format!("node {node} has not converged: {why:?}"));
            }
            let first = *firsts.entry(topology.data_centre()).or_insert(topology);
            let leader = |it: &Topology| it.leader().map(|leader| leader.uid());
            let (here, there) = (topology, first);
            if here.cluster() != there.cluster() || leader(here) != leader(there) {
                return Err(format!(
                    "node {node} is in {:?} led by {:?}, another in {:?} led by {:?}",
                    here.cluster(),
                    leader(here),
                    there.cluster(),
                    leader(there)
                ));
            }
        }
        Ok(uids.len() as u64)
    }
}
