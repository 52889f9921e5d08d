//! Invariant 8: nobody is given up without the consent it takes, and whoever is given up goes.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::membership::{Member, Status};
use ringmesh_cluster::resolver::{Answer, Decision, Why};
use ringmesh_proto::address::Uid;

use super::Participant;
use super::downing::{Downing, lease};
use super::views::{Viewer, viewers};
use super::writing::{Move, Told, Writing, Writings};
use crate::happening::Happening;
use crate::invariant::Invariant;
use crate::world::World;

/// Whoever gives others up does so by a decision that names them, and only members of its own data
/// centre, for which, if the strategy is voted, a quorum of all of those is on record whose members
/// have agreed, as they say themselves, and if it takes a lease, whoever decides has that, as the
/// store says; or because its user wants it, or because another process was started at their
/// address, and theirs is gone.
/// Whoever was given up is a member nowhere in the end, and does not run: unless those that gave it
/// up are gone, and nobody else has heard of it.
#[derive(Debug)]
pub struct Downed {
    downing: Downing,
    writings: Writings,
    /// Who was given up, and by whom.
    downed: BTreeMap<Uid, BTreeSet<Uid>>,
}

impl Downed {
    /// Where this decides which side goes on.
    pub fn by(downing: Downing) -> Self {
        Self {
            downing,
            writings: Writings::default(),
            downed: BTreeMap::new(),
        }
    }

    pub(super) fn judge(
        &mut self,
        world: &World<Participant>,
        (node, own): (usize, Uid),
        writing: &Writing,
    ) -> Result<u64, String> {
        let mut checked = 0;
        for it in writing.moves.iter().filter(|it| it.to == Status::Down) {
            self.downed.entry(it.uid).or_default().insert(own);
            checked += 1;
            self.judge_one(world, own, writing, it)
                .map_err(|why| format!("node {node} gave {} up: {why}", it.uid))?;
        }
        Ok(checked)
    }

    fn judge_one(
        &self,
        world: &World<Participant>,
        own: Uid,
        writing: &Writing,
        it: &Move,
    ) -> Result<(), String> {
        let decision = writing.decision.as_deref();
        let decision = decision.filter(|by| by.down.iter().any(|node| node.uid == it.uid));
        if let Some(decision) = decision {
            let is_own = decision.down.iter().all(|node| node.uid == own);
            judge_home(writing, decision)?;
            return match self.downing {
                _ if is_own => Ok(()),
                Downing::LeaseMajority => judge_lease(world, own, decision),
                downing if downing.is_voted() => {
                    judge_counted(writing, decision)?;
                    self.judge_votes(world, own, decision)
                }
                _ => Ok(()),
            };
        }
        let mut running = world.running().map(|node| world.uid(node));
        match &writing.told {
            Told::Down(address) if *address == it.address => Ok(()),
            Told::Identity(address) if *address == it.address => {
                match running.any(|uid| uid == Some(it.uid)) {
                    true => Err("another took its address, and it runs".to_owned()),
                    false => Ok(()),
                }
            }
            _ => Err("nobody wanted that, and nothing was decided".to_owned()),
        }
    }

    /// Whether a quorum agreed.
    fn judge_votes(
        &self,
        world: &World<Participant>,
        own: Uid,
        decision: &Decision,
    ) -> Result<(), String> {
        let votes = decision.explanation.votes.as_ref();
        let Some(votes) = votes.filter(|_| decision.why == Why::Voted) else {
            return Err(format!("no votes, it was {}", decision.why.label()));
        };
        let agreed = votes.answers.iter();
        let agreed = agreed.filter(|(_, answer)| *answer == Some(Answer::Yes));
        let agreed: BTreeSet<Uid> = agreed.map(|(uid, _)| *uid).chain([own]).collect();
        let members = decision.explanation.members.iter();
        let counted = members.filter(|it| it.is_counted).map(|it| it.node.uid);
        let counted: Vec<Uid> = counted.collect();
        if !self.downing.is_quorum(&counted, &agreed) {
            let (count, of) = (agreed.len(), counted.len());
            return Err(format!("{count} agreed, of {of}"));
        }
        for voter in viewers(world).iter().filter(|it| agreed.contains(&it.uid)) {
            if !voter.control.has_agreed(own, votes.number) {
                return Err(format!("node {} has not agreed", voter.node));
            }
        }
        Ok(())
    }
}

/// Whether a decision names nobody of another data centre.
fn judge_home(writing: &Writing, decision: &Decision) -> Result<(), String> {
    let mut elsewhere = writing.elsewhere.iter();
    let is_named = |uid| decision.down.iter().any(|node| node.uid == uid);
    match elsewhere.find(|(_, it)| is_named(it.uid)) {
        Some((place, it)) => Err(format!("it was decided of {}, who is of {place}", it.uid)),
        None => Ok(()),
    }
}

/// Whether all members of the data centre count for a decision that are up, and besides them only
/// those that are on their way from there. Of those that it names nothing is said: they are down.
fn judge_counted(writing: &Writing, decision: &Decision) -> Result<(), String> {
    use Status::{Leaving, PreparingForShutdown, ReadyForShutdown, Up};
    let is_named = |uid: Uid| decision.down.iter().any(|node| node.uid == uid);
    let members = decision.explanation.members.iter();
    let counted = members.filter(|it| it.is_counted).map(|it| it.node.uid);
    let counted: BTreeSet<Uid> = counted.filter(|uid| !is_named(*uid)).collect();
    let of = |statuses: &[Status]| -> BTreeSet<Uid> {
        let members = writing.members.iter();
        let members = members.filter(|it| statuses.contains(&it.status));
        members.map(|it| it.uid).collect()
    };
    // Who leaves may never have been up, and does not count then.
    let has_to = of(&[Up]);
    let may = of(&[Up, Leaving, PreparingForShutdown, ReadyForShutdown]);
    match has_to.is_subset(&counted) && counted.is_subset(&may) {
        true => Ok(()),
        false => Err(format!("{counted:?} count, of {may:?} with {has_to:?}")),
    }
}

/// Whether whoever decides has the lease by which it does.
fn judge_lease(world: &World<Participant>, own: Uid, decision: &Decision) -> Result<(), String> {
    let Some(token) = decision.token.filter(|_| decision.why == Why::Leased) else {
        return Err(format!("no lease, it was {}", decision.why.label()));
    };
    let members = decision.explanation.members.iter();
    let mut nodes = members.map(|it| &it.node).filter(|it| it.uid == own);
    let mut running = world.running();
    let decider = running.find(|it| world.uid(*it) == Some(own));
    let Some(machine) = decider.and_then(|it| world.machine(it)) else {
        return Err("it does not run".to_owned());
    };
    let lease = lease(machine.control().topology().data_centre());
    let has = |node| world.store().has(world.now(), &lease, node, token);
    match nodes.next().is_some_and(has) {
        true => Ok(()),
        false => Err(format!("it does not have the lease by {token}")),
    }
}

impl Invariant<Participant> for Downed {
    fn name(&self) -> &'static str {
        "downed"
    }

    fn observe(
        &mut self,
        world: &World<Participant>,
        happening: &Happening,
    ) -> Result<u64, String> {
        let Some((node, own, writings)) = self.writings.read(world, happening) else {
            return Ok(0);
        };
        let mut judged = writings.iter().map(|it| self.judge(world, (node, own), it));
        judged.try_fold(0, |sum, checked| Ok(sum + checked?))
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let viewers = viewers(world);
        let is_down = |uid: Uid| {
            self.downed.get(&uid).is_some_and(|by| {
                let knows = |it: &Viewer<'_>| {
                    let status = it.view.member(uid).map(Member::status);
                    let is_held_down = status == Some(Status::Down) && !it.view.has_resigned(uid);
                    it.view.tombstone(uid).is_some() || is_held_down
                };
                viewers.iter().any(|it| by.contains(&it.uid) || knows(it))
            })
        };
        for viewer in &viewers {
            let node = viewer.node;
            if is_down(viewer.uid) {
                return Err(format!("node {node} was given up, and runs"));
            }
            let mut members = viewer.view.members().map(|it| it.uid());
            if let Some(uid) = members.find(|uid| is_down(*uid)) {
                return Err(format!(
                    "{uid} was given up, and is a member at node {node}"
                ));
            }
        }
        Ok(self.downed.len() as u64)
    }
}
