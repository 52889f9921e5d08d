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
    /// Members that are not known to hold it.
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
        if is_converged {
            self.unconverged = None;
        } else {
            self.unconverged.get_or_insert(cx.now);
        }
        if self.ending.is_some() || !self.leads() {
            return false;
        }
        let moves = if is_converged {
            self.moves()
        } else {
            self.weak_moves(cx.now)
        };
        self.carry_out(cx, moves)
    }

    /// What the leader does in a view that all hold.
    fn moves(&self) -> Moves {
        let part = self.part();
        let mut moves = Moves::default();
        let may_enter = self.may_enter() && self.may_be_first(&part);
        let accused = part.accused();
        let may_go = |uid: Uid| self.confirmed.contains(&uid) || accused.contains(&uid);
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
                Status::Exiting if uid != self.uid() && may_go(uid) => {
                    moves.removed.push(member.node().clone());
                }
                _ => {}
            }
        }
        self.clear_away(&part, &mut moves);
        self.by_address(&mut moves.up);
        moves
    }

    /// Those that are given up of data centres that have nobody left to remove them. The first
    /// data centre that has does it.
    fn clear_away(&self, home: &Part<'_>, moves: &mut Moves) {
        let names = self.view.members().map(|it| it.roles().data_centre());
        let names: BTreeSet<&str> = names.collect();
        let lives = |name: &&str| {
            let mut members = Part::new(&self.view, name).members();
            members.any(|it| !it.status().is_departing())
        };
        if names.iter().copied().find(|name| lives(name)) != Some(home.data_centre()) {
            return;
        }
        for name in names.into_iter().filter(|name| !lives(name)) {
            let gone = Part::new(&self.view, name).members();
            moves.removed.extend(gone.map(|it| it.node().clone()));
        }
    }

    /// What the leader does while not all hold the view, or can be reached.
    fn weak_moves(&self, now: Instant) -> Moves {
        let is_late = |since: Instant| {
            let after = self.settings.weakly_up_after;
            after.is_some_and(|after| now - since >= after)
        };
        let mut moves = Moves::default();
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
        moves
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

    /// Whether the first member of a data centre may be numbered: all of the whole cluster have to
    /// know of it then, so that the first number is given once.
    fn may_be_first(&self, part: &Part<'_>) -> bool {
        let has_seen = |it: &Member| it.status().is_departing() || self.view.is_seen_by(it.uid());
        let is_first = !part.members().any(|it| it.up_number().is_given());
        !is_first || self.view.members().all(has_seen)
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
