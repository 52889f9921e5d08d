//! Invariant 4: the leader moves members on, and only when all know what it knows.

use ringmesh_cluster::membership::Status;
use ringmesh_proto::address::Uid;

use super::Participant;
use super::views::viewers;
use super::writing::{Standing, Writing, Writings};
use crate::happening::Happening;
use crate::invariant::Invariant;
use crate::world::World;

/// Whoever makes a member up, ready or exiting, or removes one, leads its data centre; no member
/// that is waited for was said to be unreachable then, or lost by its own word alone; and all that
/// decide, and still run, held its view, whatever it thought of that. Of another data centre it
/// moves nobody on, but for those it removes when nobody is left there to do so.
#[derive(Debug, Default)]
pub struct Written {
    writings: Writings,
}

/// How near to leading whoever is of this status is: the lower, the nearer. Written out here, so
/// that it is not the machines' own word on who leads.
fn rank(status: Status) -> u8 {
    use Status::{Joining, Leaving, PreparingForShutdown, ReadyForShutdown, Up, WeaklyUp};
    match status {
        Up | PreparingForShutdown | ReadyForShutdown | Leaving => 0,
        WeaklyUp => 1,
        Joining => 2,
        _ => 3,
    }
}

fn leader(members: &[Standing], own: Uid) -> Option<Uid> {
    let is_fit = |it: &&Standing| it.status != Status::Down && (it.uid == own || !it.is_accused);
    let fit = members.iter().filter(is_fit);
    let first = fit.min_by(|a, b| {
        let (one, other) = (rank(a.status), rank(b.status));
        one.cmp(&other).then_with(|| a.address.cmp(&b.address))
    });
    first.map(|it| it.uid)
}

fn judge(
    world: &World<Participant>,
    (node, own): (usize, Uid),
    writing: &Writing,
) -> Result<u64, String> {
    let led = writing.moves.iter().filter(|it| it.to != Status::Down);
    let led: Vec<String> = led.map(|it| format!("{} {}", it.uid, it.to)).collect();
    if led.is_empty() {
        return Ok(0);
    }
    let led = led.join(", ");
    judge_elsewhere(writing).map_err(|why| format!("node {node} wrote {led}; {why}"))?;
    let leader = leader(&writing.members, own);
    if leader != Some(own) {
        return Err(format!("node {node} wrote {led}; {leader:?} leads"));
    }
    if let Some(it) = writing.members.iter().find(|it| it.has_resigned) {
        let uid = it.uid;
        return Err(format!(
            "node {node} wrote {led}; {uid} gave itself up, and nobody else did"
        ));
    }
    let viewers = viewers(world);
    let viewer = |uid| viewers.iter().find(|it| it.uid == uid);
    // Whoever said that it is exiting is waited for no more.
    let has_left = |it: &Standing| {
        let status = viewer(it.uid).and_then(|other| other.view.member(it.uid));
        let is_exiting = status.is_none_or(|it| it.status() >= Status::Exiting);
        it.status == Status::Leaving && is_exiting
    };
    let mut checked = 0;
    for it in writing.members.iter().filter(|it| !has_left(it)) {
        let uid = it.uid;
        if it.is_accused && !it.status.is_departing() {
            return Err(format!("node {node} wrote {led}; {uid} is unreachable"));
        }
        let Some(other) = viewer(uid).filter(|_| it.status.is_deciding() && uid != own) else {
            continue;
        };
        checked += 1;
        let holds = |(of, changes)| {
            other.view.tombstone(of).is_some() || other.view.version().of(of) >= changes
        };
        if other.view.cluster() != writing.cluster || !writing.version.iter().all(holds) {
            let other = other.node;
            return Err(format!(
                "node {node} wrote {led}; node {other} has not seen its view"
            ));
        }
    }
    Ok(checked + 1)
}

/// What was done to members of other data centres.
fn judge_elsewhere(writing: &Writing) -> Result<(), String> {
    for it in writing.moves.iter().filter(|it| it.to != Status::Down) {
        let mut elsewhere = writing.elsewhere.iter();
        let Some((place, _)) = elsewhere.find(|(_, there)| there.uid == it.uid) else {
            continue;
        };
        if it.to != Status::Removed {
            return Err(format!("{} is of {place}", it.uid));
        }
        let mut there = writing.elsewhere.iter().filter(|(name, _)| name == place);
        if let Some((_, left)) = there.find(|(_, it)| !it.status.is_departing()) {
            return Err(format!("{} is left in {place}", left.uid));
        }
    }
    Ok(())
}

impl Invariant<Participant> for Written {
    fn name(&self) -> &'static str {
        "written"
    }

    fn observe(
        &mut self,
        world: &World<Participant>,
        happening: &Happening,
    ) -> Result<u64, String> {
        let Some((node, own, writings)) = self.writings.read(world, happening) else {
            return Ok(0);
        };
        let mut judged = writings.iter().map(|it| judge(world, (node, own), it));
        judged.try_fold(0, |sum, checked| Ok(sum + checked?))
    }
}
