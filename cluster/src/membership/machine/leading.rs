//! What the leader does, and why it does not.

use std::collections::BTreeSet;
use std::fmt;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Revision};
use crate::context::Context;
use crate::effect::Class;
use crate::membership::convergence::Part;
use crate::membership::member::{Member, UpNumber};
use crate::membership::message::Message;
use crate::membership::status::Status;

/// What the leader goes by, but for the time: while it is the same there is nothing new to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ground {
    revision: Revision,
    confirmed: usize,
    is_written: bool,
}

/// What the leader does in one step.
#[derive(Debug, Default)]
struct Moves {
    next: Vec<(Uid, Status)>,
    up: Vec<Uid>,
    removed: Vec<NodeId>,
}

/// Whether all members that count hold this node's view; if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhyNotConverged {
    /// Members that are not known to hold it, of those that decide in the own data centre, or enter
    /// at an address where another one is; or of all while nobody decides in it.
    pub not_seen: Vec<NodeId>,
    /// Members that somebody cannot reach, and who says so; or that gave themselves up.
    pub blocking: Vec<(Member, Vec<NodeId>)>,
}

impl WhyNotConverged {
    /// Whether it is converged.
    pub fn is_converged(&self) -> bool {
        self.not_seen.is_empty() && self.blocking.is_empty()
    }
}

impl fmt::Display for WhyNotConverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_converged() {
            return f.write_str("all members that count hold this view, and all are reached");
        }
        let names = |nodes: &[NodeId]| {
            let names: Vec<String> = nodes.iter().map(|it| it.address.to_string()).collect();
            names.join(", ")
        };
        let mut separator = "";
        if !self.not_seen.is_empty() {
            write!(f, "not known to hold this view: {}", names(&self.not_seen))?;
            separator = "; ";
        }
        for (member, observers) in &self.blocking {
            let (address, status) = (member.address(), member.status());
            let by = names(observers);
            write!(f, "{separator}{address} ({status}) ")?;
            match observers.is_empty() {
                true => f.write_str("gave itself up, and nobody else has so far")?,
                false => write!(f, "is not reached by {by}")?,
            }
            separator = "; ";
        }
        Ok(())
    }
}

impl Active {
    pub(super) fn why_not_converged(&self) -> WhyNotConverged {
        let mut blockers = self.part().blockers(&self.confirmed);
        let own = self.uid();
        if !self.notes.are_written() && !blockers.not_seen.contains(&own) {
            blockers.not_seen.push(own);
        }
        let unaware = self.unaware(&self.part()).into_iter();
        let unaware: Vec<Uid> = unaware
            .filter(|it| !blockers.not_seen.contains(it))
            .collect();
        blockers.not_seen.extend(unaware);
        let nodes = |uids: &[Uid]| {
            let nodes = uids.iter().filter_map(|uid| self.view.node(*uid).cloned());
            nodes.collect::<Vec<NodeId>>()
        };
        let blocking = blockers.unreachable.iter().filter_map(|(uid, observers)| {
            let member = self.view.member(*uid)?.clone();
            Some((member, nodes(observers)))
        });
        WhyNotConverged {
            not_seen: nodes(&blockers.not_seen),
            blocking: blocking.collect(),
        }
    }

    /// Does what the leader has to do, if this node leads.
    pub(super) fn lead(&mut self, cx: &mut Context<'_>) {
        // Each step moves somebody on, and nobody moves back.
        while self.led != Some(self.ground()) && self.lead_on(cx) {}
    }

    fn ground(&self) -> Ground {
        Ground {
            revision: self.revision,
            confirmed: self.confirmed.len(),
            is_written: self.notes.are_written(),
        }
    }

    fn lead_on(&mut self, cx: &mut Context<'_>) -> bool {
        self.remember(cx);
        self.confirmed
            .retain(|uid| self.view.member(*uid).is_some());
        self.led = Some(self.ground());
        let has_all = self.part().blockers(&self.confirmed).is_empty();
        let is_converged = has_all && self.notes.are_written();
        let may_enter = is_converged && self.unaware(&self.part()).is_empty();
        if may_enter {
            self.unconverged = None;
        } else {
            self.unconverged.get_or_insert(cx.now);
        }
        if self.ending.is_some() || !self.leads() {
            return false;
        }
        let mut moves = if is_converged {
            self.moves(may_enter)
        } else {
            Moves::default()
        };
        if !may_enter {
            self.add_weak_moves(cx.now, &mut moves);
        }
        self.carry_out(cx, moves)
    }

    /// What the leader does in a view that all hold.
    fn moves(&self, may_enter: bool) -> Moves {
        let part = self.part();
        let mut moves = Moves::default();
        let may_enter = may_enter && self.may_enter();
        for member in part.members() {
            let uid = member.uid();
            match member.status() {
                Status::Joining | Status::WeaklyUp if may_enter && self.is_in(uid) => {
                    moves.up.push(uid);
                }
                Status::Leaving => moves.next.push((uid, Status::Exiting)),
                Status::PreparingForShutdown => {
                    moves.next.push((uid, Status::ReadyForShutdown));
                }
                // Whoever was given up is told so, and goes whether it heard it or not.
                Status::Down if uid != self.uid() => moves.removed.push(member.node().clone()),
                Status::Exiting if uid != self.uid() && self.may_go(&part, member) => {
                    moves.removed.push(member.node().clone());
                }
                _ => {}
            }
        }
        self.clear_away(&part, &mut moves);
        self.by_address(&mut moves.up);
        moves
    }

    /// Whether one that is exiting has said that it may be removed, or is not there to say so, as
    /// those say that watch it.
    fn may_go(&self, home: &Part<'_>, exiting: &Member) -> bool {
        let uid = exiting.uid();
        self.confirmed.contains(&uid) || !home.is_reachable(uid)
    }

    /// Those that are given up, or have left, of data centres that have nobody left to remove them.
    /// The [first](Self::caretaker) that has does it.
    fn clear_away(&self, home: &Part<'_>, moves: &mut Moves) {
        if self.caretaker() != Some(home.data_centre()) {
            return;
        }
        let away = self.view.members();
        let away = away.filter(|it| it.roles().data_centre() != home.data_centre());
        for member in away.filter(|it| !self.lives(it.roles().data_centre())) {
            // Whoever was never up is watched by nobody.
            let is_watched = member.up_number().is_given();
            let is_at_work = member.status() == Status::Exiting && is_watched;
            if !is_at_work || self.may_go(home, member) {
                moves.removed.push(member.node().clone());
            }
        }
    }

    /// Whether a data centre has somebody that may remove others.
    pub(super) fn lives(&self, data_centre: &str) -> bool {
        let mut members = Part::new(&self.view, data_centre).members();
        members.any(|it| !it.status().is_departing())
    }

    /// The data centre that does what those cannot that have nobody left: the first by name.
    pub(super) fn caretaker(&self) -> Option<&str> {
        let names = self.view.members().map(|it| it.roles().data_centre());
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().find(|name| self.lives(name))
    }

    /// What the leader does while not all hold the view, or can be reached; or while not all of the
    /// other data centres have heard of this one, in which nobody decides yet.
    fn add_weak_moves(&self, now: Instant, moves: &mut Moves) {
        let is_late = |since: Instant| {
            let after = self.settings.weakly_up_after;
            after.is_some_and(|after| now - since >= after)
        };
        if self.unconverged.is_some_and(is_late) && self.may_enter() {
            let part = self.part();
            let accused = part.accused();
            let is_there = |uid: Uid| self.is_in(uid) && !accused.contains(&uid);
            let enters = |it: &&Member| it.status() == Status::Joining && is_there(it.uid());
            let joining = part.members().filter(enters);
            moves
                .next
                .extend(joining.map(|it| (it.uid(), Status::WeaklyUp)));
        }
    }

    /// Whether a newcomer knows that it was let in. One that does not still seeks a cluster, and
    /// may find another one: it must not count in this one by then.
    fn is_in(&self, newcomer: Uid) -> bool {
        self.view.is_seen_by(newcomer)
    }

    /// Whether there are enough members, and the cluster is not being shut down.
    fn may_enter(&self) -> bool {
        let is_staying = |it: &&Member| it.status() <= Status::Up;
        let is_closing = |it: &Member| {
            matches!(
                it.status(),
                Status::PreparingForShutdown | Status::ReadyForShutdown
            )
        };
        let staying = || self.view.members().filter(is_staying);
        let mut of_roles = self.settings.members_min_of_role.iter();
        staying().count() >= self.settings.members_min
            && of_roles
                .all(|(role, least)| staying().filter(|it| it.roles().has(role)).count() >= *least)
            && !self.view.members().any(is_closing)
    }

    /// Who has not heard of a data centre in which nobody decides, for none was ever a member in
    /// full, or those that were have left. All of the whole cluster have to before the first one is
    /// numbered: others may have been let in elsewhere, each for the first, and a number is given
    /// once.
    fn unaware(&self, part: &Part<'_>) -> Vec<Uid> {
        let decides = |it: &Member| it.status().is_deciding() && it.up_number().is_given();
        if part.members().any(decides) {
            return Vec::new();
        }
        let has_seen = |it: &&Member| it.status().is_departing() || self.view.is_seen_by(it.uid());
        let unaware = self.view.members().filter(|it| !has_seen(it));
        unaware.map(Member::uid).collect()
    }

    fn by_address(&self, uids: &mut [Uid]) {
        uids.sort_by_key(|uid| self.view.node(*uid).cloned());
    }

    /// Says whether anything was to do.
    fn carry_out(&mut self, cx: &mut Context<'_>, moves: Moves) -> bool {
        let numbers = self.part().members().map(Member::up_number);
        let given = numbers.filter(|it| it.is_given()).map(|it| it.0);
        let mut number = given.max().unwrap_or(0);
        let mut is_done = false;
        for uid in moves.up {
            if let Some(member) = self.view.member_mut(uid) {
                number += 1;
                member.become_up(UpNumber(number));
                is_done = true;
            }
        }
        for (uid, next) in moves.next {
            if let Some(member) = self.view.member_mut(uid) {
                member.become_next(next);
                is_done = true;
            }
        }
        let cluster = self.view.cluster();
        for node in &moves.removed {
            if self.view.remove(cx.now, node.uid).is_some() {
                // The last word it hears: whoever left ends by it.
                let body = Message::Removed { cluster }.encode(Some(node.uid), cx.now);
                cx.out.send(node, Class::Message, body);
                is_done = true;
            }
        }
        if is_done {
            self.touch();
        }
        is_done
    }
}
