//! How a proposal is made and voted on.

use std::collections::BTreeSet;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::message::{Answer, Message};
use super::proposal::Proposal;
use super::split::{Party, Side};
use super::strategy::Verdict;
use super::{Resolver, ResolverOutput, Why, staying};
use crate::codec::CodecError;
use crate::membership::{Gossip, Status};

impl Resolver {
    /// A node sent a message of this room.
    ///
    /// # Errors
    /// [`CodecError`] if it is none; nothing changed.
    pub fn handle_message(
        &mut self,
        now: Instant,
        view: &Gossip,
        from: &NodeId,
        body: &[u8],
        out: &mut Vec<ResolverOutput>,
    ) -> Result<(), CodecError> {
        let message = Message::from_bytes(body)?;
        if message.to() != self.own || self.is_over || !self.heeds(from.uid) {
            self.ignored += 1;
            return Ok(());
        }
        match message {
            Message::Proposal {
                number,
                carried,
                base,
                down,
                ..
            } => {
                let Some(answer) = self.vote(view, from.uid, (number, carried), &base, down) else {
                    self.ignored += 1;
                    return Ok(());
                };
                let mut named = BTreeSet::new();
                if answer != Answer::Yes {
                    named = self.ballot.named(from.uid);
                }
                let answer = Message::Answer {
                    to: from.uid,
                    number,
                    answer,
                    named,
                };
                out.push(send(from, &answer));
            }
            Message::Answer {
                number,
                answer,
                named,
                ..
            } => self.handle_answer(now, view, from, (number, answer, named), out),
            Message::Withdrawal {
                number, carried, ..
            } => {
                self.ballot.withdraw(from.uid, number, carried);
                let to = from.uid;
                out.push(send(from, &Message::Withdrawn { to, number }));
            }
            Message::Withdrawn { number, .. } => self.withdrawals.settle(from.uid, number),
            Message::Surrender { base, .. } => {
                if self.split.as_ref().is_some_and(|it| it.base() == base) {
                    let verdict = Verdict::Leave("too many are to go");
                    self.leave(now, verdict, Why::Surrendered, out);
                }
            }
        }
        Ok(())
    }

    /// Whether somebody has a say: a member of the own data centre that was not given up.
    fn heeds(&self, uid: Uid) -> bool {
        let mut parties = self.split.iter().flat_map(|it| it.parties());
        parties.any(|it| it.uid() == uid && it.member.status() != Status::Down)
    }

    /// Votes on a proposal, if this member has a vote.
    fn vote(
        &mut self,
        view: &Gossip,
        from: Uid,
        (number, carried): (u32, u32),
        base: &BTreeSet<Uid>,
        down: BTreeSet<Uid>,
    ) -> Option<Answer> {
        let split = self.split.as_ref()?;
        let has_vote = |it: &Party| it.uid() == self.own && !it.member.status().is_departing();
        let is_asked = split.parties().iter().any(has_vote) && !down.contains(&self.own);
        if !is_asked || self.ballot.is_late(from, number) {
            return None;
        }
        if self.ballot.has_agreed(from, number) {
            return Some(Answer::Yes);
        }
        if *base != split.base() {
            return Some(Answer::Differs);
        }
        if !down.iter().all(|uid| is_known(view, *uid)) {
            return Some(Answer::Unknown);
        }
        if !self.ballot.named(from).is_subset(&down) {
            return Some(Answer::Named);
        }
        self.ballot.agree(from, (number, carried), down);
        Some(Answer::Yes)
    }

    fn handle_answer(
        &mut self,
        now: Instant,
        view: &Gossip,
        from: &NodeId,
        (number, answer, named): (u32, Answer, BTreeSet<Uid>),
        out: &mut Vec<ResolverOutput>,
    ) {
        let Some(proposal) = self.proposal.as_mut().filter(|it| it.number == number) else {
            self.ignored += 1;
            if answer == Answer::Yes && number > self.carried && number <= self.number {
                self.withdraw_from(now, from, number, out);
            }
            return;
        };
        let Some(known) = proposal.answers.get_mut(&from.uid) else {
            self.ignored += 1;
            return;
        };
        *known = Some(answer);
        if answer == Answer::Yes {
            self.withdrawals.settle(from.uid, number);
            return self.count_votes(now, out);
        }
        let is_new = !named.is_subset(&proposal.down);
        // Whoever is not known here cannot be given up here: it will be, and then is asked again.
        if is_new && named.iter().all(|uid| is_known(view, *uid)) {
            let rounds = proposal.rounds;
            self.named.extend(named);
            self.propose(now, out);
            if let Some(proposal) = &mut self.proposal {
                proposal.rounds += rounds;
            }
        }
    }

    /// Proposes that those go that are lost, and all that voters named, in place of what it
    /// proposed before.
    pub(super) fn propose(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let Some(split) = &self.split else {
            return;
        };
        let going: BTreeSet<Uid> = split.going().map(Party::uid).collect();
        let are_down = split.parties().iter().filter(|it| it.side == Side::Down);
        let mut down: BTreeSet<Uid> = are_down.map(Party::uid).collect();
        down.extend(&going);
        down.extend(self.ballot.named(self.own));
        down.extend(&self.named);
        let without = split.without(&down);
        let verdict = self.strategy.decide(&without, &staying(&without));
        if verdict != Verdict::Stay {
            self.surrender(out);
        }
        if verdict != Verdict::Stay || down.contains(&self.own) {
            let verdict = Verdict::Leave("too many are to go");
            return self.leave(now, verdict, Why::TooManyNamed, out);
        }
        self.number = self.number.saturating_add(1);
        let numbers = (self.number, self.carried);
        self.ballot.agree(self.own, numbers, down.clone());
        let proposal = Proposal::new(self.number, &without, down, going, now);
        self.proposal = Some(proposal);
        self.next_round(now, out);
        self.count_votes(now, out);
    }

    /// Asks those again that have not agreed, if that is due.
    pub(super) fn next_round(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let (Some(split), Some(proposal)) = (&self.split, &mut self.proposal) else {
            return;
        };
        if proposal.next_round > now {
            return;
        }
        if proposal.rounds >= self.settings.rounds_max {
            if let Some(proposal) = self.proposal.take() {
                self.withdraw(now, proposal, out);
            }
            self.stability.restart(now);
            self.has_looked = false;
            return;
        }
        proposal.next_round = now + self.settings.round;
        let split = split.without(&proposal.down);
        let messages = proposal.round(&split, self.carried);
        out.extend(messages.iter().map(|(to, message)| send(to, message)));
    }

    /// Carries the proposal out if enough agree.
    pub(super) fn count_votes(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let (Some(split), Some(proposal)) = (&self.split, &self.proposal) else {
            return;
        };
        let without = split.without(&proposal.down);
        let consenting = proposal.consenting(self.own);
        if self.strategy.decide(&without, &consenting) != Verdict::Stay {
            return;
        }
        let going = without.going().map(|it| it.member.node().clone()).collect();
        self.carried = proposal.number;
        self.has_looked = true;
        self.decide(now, Verdict::Stay, (Why::Voted, None), going, out);
        self.proposal = None;
        self.named.clear();
    }

    /// A proposal comes to nothing: whoever agreed is held to it no more.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        proposal: Proposal,
        out: &mut Vec<ResolverOutput>,
    ) {
        self.named.clear();
        self.ballot
            .withdraw(self.own, proposal.number, self.carried);
        let parties = self.split.iter().flat_map(|it| it.parties());
        let asked = parties.filter(|it| proposal.answers.contains_key(&it.uid()));
        let asked: Vec<NodeId> = asked.map(|it| it.member.node().clone()).collect();
        for to in &asked {
            self.withdraw_from(now, to, proposal.number, out);
        }
    }

    fn withdraw_from(
        &mut self,
        now: Instant,
        to: &NodeId,
        number: u32,
        out: &mut Vec<ResolverOutput>,
    ) {
        let (numbers, next_round) = ((number, self.carried), now + self.settings.round);
        let withdrawal = self.withdrawals.add(to, numbers, next_round);
        out.push(send(to, &withdrawal));
    }

    /// Tells those again that have not answered a withdrawal, if that is due.
    pub(super) fn repeat_withdrawals(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let parties = self.split.iter().flat_map(|it| it.parties());
        let lost = parties.filter(|it| it.side == Side::Lost);
        let lost: BTreeSet<Uid> = lost.map(Party::uid).collect();
        let is_in_reach = |voter| !lost.contains(&voter);
        let again = self
            .withdrawals
            .round(now, self.settings.round, is_in_reach);
        out.extend(again.iter().map(|(to, message)| send(to, message)));
    }

    /// Tells this side that it has to go down.
    pub(super) fn surrender(&self, out: &mut Vec<ResolverOutput>) {
        let Some(split) = &self.split else {
            return;
        };
        let others = split.voters().map(|it| it.member.node());
        for to in others.filter(|it| it.uid != self.own) {
            let surrender = Message::Surrender {
                to: to.uid,
                base: split.base(),
            };
            out.push(send(to, &surrender));
        }
    }
}

fn is_known(view: &Gossip, uid: Uid) -> bool {
    view.member(uid).is_some() || view.tombstone(uid).is_some()
}

fn send(to: &NodeId, message: &Message) -> ResolverOutput {
    ResolverOutput::Send {
        to: to.clone(),
        body: message.to_bytes(),
    }
}
