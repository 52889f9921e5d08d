//! How a member leaves in good order, and how the whole cluster gets ready to be shut down.
//!
//! Once all know that it leaves it is exiting, and ends its work. Then it tells the two members
//! that are the next to lead, so that one of them removes it, and waits a little to hear that. The
//! last of a data centre tells those of another one, which removes it.

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::{Class, StopReason};
use crate::membership::command::CommandError;
use crate::membership::convergence::{Part, leader_rank};
use crate::membership::member::Member;
use crate::membership::message::Message;
use crate::membership::status::Status;

/// How many members are told that this one may be removed.
const NEXT_LEADERS: usize = 2;

/// A node that all know to leave.
#[derive(Debug)]
pub(super) struct Exiting {
    /// Whether its work has ended.
    is_done: bool,
    /// When it goes on, whatever it waits for.
    pub(super) deadline: Instant,
    give_up: Instant,
}

impl Membership {
    pub(super) fn leave(
        &mut self,
        cx: &mut Context<'_>,
        address: Option<&Address>,
    ) -> Result<(), CommandError> {
        let own = &self.own.node.address;
        let is_own = address.is_none_or(|address| address == own);
        match &mut self.phase {
            Phase::Active(active) => {
                let own = own.clone();
                if is_own {
                    // They are to have heard of it before one says that it knows no such node.
                    let due = cx.now + self.settings.join_retry;
                    active.rejoin_due = active.rejoin_due.max(due);
                }
                active.move_at(address.unwrap_or(&own), Status::Leaving)
            }
            _ if is_own => {
                self.end(cx, StopReason::Left);
                Ok(())
            }
            _ => Err(CommandError::NotMember),
        }
    }

    pub(super) fn prepare_for_full_shutdown(
        &mut self,
        _: &mut Context<'_>,
    ) -> Result<(), CommandError> {
        let Phase::Active(active) = &mut self.phase else {
            return Err(CommandError::NotMember);
        };
        let up = active.view.members().filter(|it| it.status() == Status::Up);
        let up: Vec<Uid> = up.map(Member::uid).collect();
        for uid in &up {
            if let Some(member) = active.view.member_mut(*uid) {
                member.become_next(Status::PreparingForShutdown);
            }
        }
        if !up.is_empty() {
            active.touch();
        }
        Ok(())
    }

    pub(super) fn exited(&mut self, cx: &mut Context<'_>) -> Result<(), CommandError> {
        let Phase::Active(active) = &mut self.phase else {
            return Err(CommandError::NotMember);
        };
        let status = active.own_status();
        let Some(exiting) = &mut active.exiting else {
            return Err(CommandError::TooLate { status });
        };
        exiting.end_work(cx.now, &active.settings);
        active.confirm_exit(cx);
        Ok(())
    }

    pub(super) fn handle_exiting_confirmed(&mut self, from: &NodeId) {
        let Phase::Active(active) = &mut self.phase else {
            self.counters.untimely += 1;
            return;
        };
        let member = active.view.member(from.uid);
        match member.map(Member::status) {
            Some(Status::Exiting | Status::Leaving) => {
                active.confirmed.insert(from.uid);
            }
            Some(_) => self.counters.untimely += 1,
            None => self.counters.strangers += 1,
        }
    }
}

impl Exiting {
    fn end_work(&mut self, now: Instant, settings: &crate::membership::settings::Settings) {
        if !self.is_done {
            self.is_done = true;
            self.give_up = now + settings.removal_timeout;
            self.deadline = now;
        }
    }
}

impl Active {
    /// Moves the member at an address on.
    pub(super) fn move_at(&mut self, address: &Address, next: Status) -> Result<(), CommandError> {
        let members = self.view.members_at(address);
        let member = members.min_by_key(|it| it.status().is_departing());
        let Some((uid, status)) = member.map(|it| (it.uid(), it.status())) else {
            let address = address.clone();
            return Err(CommandError::NoSuchMember { address });
        };
        if next == Status::Down {
            if self.view.give_up(uid) {
                self.touch();
            }
            return Ok(());
        }
        if status == next {
            return Ok(());
        }
        if !status.may_become(next) {
            return Err(CommandError::TooLate { status });
        }
        if let Some(member) = self.view.member_mut(uid) {
            member.become_next(next);
            self.touch();
        }
        Ok(())
    }

    /// Goes on with the end of this node's part, if all know that it leaves.
    pub(super) fn depart(&mut self, cx: &mut Context<'_>) {
        self.quarantine_departed(cx);
        self.note_down(cx);
        if self.own_status() != Status::Exiting {
            return;
        }
        let settings = std::sync::Arc::clone(&self.settings);
        let begun = Exiting {
            is_done: false,
            deadline: cx.now + settings.exit_timeout,
            give_up: cx.now + settings.exit_timeout,
        };
        let exiting = self.exiting.get_or_insert(begun);
        if cx.now < exiting.deadline {
            return;
        }
        exiting.end_work(cx.now, &settings);
        self.confirm_exit(cx);
    }

    /// Tells the next leaders that this node may be removed. Repeated: a word may be lost.
    fn confirm_exit(&mut self, cx: &mut Context<'_>) {
        let next = self.next_leaders();
        let Some(exiting) = &mut self.exiting else {
            return;
        };
        exiting.deadline = (cx.now + self.settings.join_retry).min(exiting.give_up);
        if next.is_empty() {
            exiting.give_up = cx.now;
        }
        if cx.now >= exiting.give_up {
            return;
        }
        for node in next {
            let body = Message::ExitingConfirmed.encode(Some(node.uid), cx.now);
            cx.out.send(&node, Class::Message, body);
        }
    }

    fn next_leaders(&self) -> Vec<NodeId> {
        let home = self.part();
        let data_centre = match self.lives(home.data_centre()) {
            true => home.data_centre(),
            false => self.caretaker().unwrap_or_else(|| home.data_centre()),
        };
        let accused = home.accused();
        let is_fit = |it: &&Member| {
            let is_there = it.uid() != self.uid() && !accused.contains(&it.uid());
            is_there && it.status() != Status::Down
        };
        let next = Part::new(&self.view, data_centre).members();
        let mut fit: Vec<&Member> = next.filter(is_fit).collect();
        fit.sort_by(|a, b| {
            leader_rank(a)
                .cmp(&leader_rank(b))
                .then_with(|| a.by_address(b))
        });
        let next = fit.into_iter().take(NEXT_LEADERS);
        next.map(|it| it.node().clone()).collect()
    }

    /// Leaves without waiting for anybody.
    pub(super) fn exit_now(&mut self, now: Instant) {
        self.exiting = Some(Exiting {
            is_done: true,
            deadline: now,
            give_up: now,
        });
    }

    /// Whether this node has left as far as it can.
    pub(super) fn has_left(&self, now: Instant) -> bool {
        let exiting = self.exiting.as_ref();
        exiting.is_some_and(|it| it.is_done && now >= it.give_up)
    }
}
