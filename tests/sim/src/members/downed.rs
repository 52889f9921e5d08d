//! Invariant 8: nobody is given up without the consent it takes, and whoever is given up goes.

use std::collections::BTreeSet;

use ringmesh_cluster::membership::Status;
use ringmesh_cluster::resolver::{Answer, Decision, Why};
use ringmesh_proto::address::Uid;

use super::Participant;
use super::downing::{Downing, lease};
use super::views::viewers;
use super::writing::{Move, Told, Writing, Writings};
use crate::happening::Happening;
use crate::invariant::Invariant;
use crate::world::World;

/// Whoever gives others up does so by a decision that names them, for which, if the strategy is
/// voted, a quorum is on record whose members have agreed, as they say themselves, and if it takes
/// a lease, whoever decides has that, as the store says; or because its
/// user wants it, or because another process was started at their address, and theirs is gone.
/// Whoever was given up is a member nowhere in the end, and does not run. By a lease a side may go
/// on that is so small that it is gone before anybody else hears of it: then it is as if it had
/// given nobody up.
#[derive(Debug)]
pub struct Downed {
    downing: Downing,
    writings: Writings,
    downed: BTreeSet<Uid>,
}

impl Downed {
    /// Where this decides which side goes on.
    pub fn by(downing: Downing) -> Self {
        Self {
            downing,
            writings: Writings::default(),
            downed: BTreeSet::new(),
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
            self.downed.insert(it.uid);
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
            return match self.downing {
                _ if is_own => Ok(()),
                Downing::LeaseMajority => judge_lease(world, own, decision),
                downing if downing.is_voted() => self.judge_votes(world, own, decision),
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

/// Whether whoever decides has the lease by which it does.
fn judge_lease(world: &World<Participant>, own: Uid, decision: &Decision) -> Result<(), String> {
    let Some(token) = decision.token.filter(|_| decision.why == Why::Leased) else {
        return Err(format!("no lease, it was {}", decision.why.label()));
    };
    let members = decision.explanation.members.iter();
    let mut nodes = members.map(|it| &it.node).filter(|it| it.uid == own);
    let has = |node| world.store().has(world.now(), &lease(), node, token);
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
        let is_known = |uid: &Uid| {
            let mut others = viewers.iter().filter(|it| it.uid != *uid);
            others.any(|it| it.view.tombstone(*uid).is_some())
        };
        let is_leased = self.downing == Downing::LeaseMajority;
        let is_downed = |uid: &Uid| self.downed.contains(uid) && (!is_leased || is_known(uid));
        for viewer in &viewers {
            let node = viewer.node;
            if is_downed(&viewer.uid) {
                return Err(format!("node {node} was given up, and runs"));
            }
            let mut members = viewer.view.members().map(|it| it.uid());
            if let Some(uid) = members.find(is_downed) {
                return Err(format!(
                    "{uid} was given up, and is a member at node {node}"
                ));
            }
        }
        Ok(self.downed.len() as u64)
    }
}
