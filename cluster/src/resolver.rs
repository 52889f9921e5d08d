//! Which side goes on when a cluster falls apart.
//!
//! While somebody cannot be reached the view does not converge, and nobody knows whether the other
//! side is dead or has only lost its way here. After a time in which nothing changed, each member
//! looks at how the view [falls apart](Split), and a [`Strategy`] says whether this side stays. If
//! not, each member goes down itself: it resigns, and whoever hears of that has lost it as it would
//! one that cannot be reached. If so, the first by address of those that stay gives up the others,
//! for all on its side; with a voted strategy only after enough of them have agreed.
//!
//! - **Inputs:** the view after each change, messages, a stall of this node, that somebody said it
//!   was removed, time.
//! - **Outputs:** [`ResolverOutput`], appended to a list of the caller's. What
//!   [`Down`](ResolverOutput::Down) names is to be down in the view, in one step, before anything
//!   else happens; the same goes for [`Note`](ResolverOutput::Note) and
//!   [`Refresh`](ResolverOutput::Refresh).
//! - **Limits:** one answer per message; [`NAMES_MAX`], [`PROPOSERS_MAX`].
//! - **Invariant:** of two members that run, never is each given up in the other's view, unless by
//!   a command or a strategy that is not voted.
//!
//! # Why no two sides go on
//!
//! A proposal is carried out when enough have agreed of those that its proposer counts, in the
//! [worst case](Split::tally) of what others may count meanwhile; and a voter agrees only to one of
//! a proposer that counts whom it counts. So of two that are carried out, however far apart, some
//! voter agreed to both. It agreed to the later one only if that names all it had agreed to before.
//! So of two that are carried out one names all that the other does. Whoever learns of the larger
//! one learns of both, for it is written into the view at once; and whoever is named in both goes
//! down when it learns of either. That leaves no two members that could each know of the other's
//! end, and not of its own.
//!
//! What that costs: a member that agreed holds every later proposal to it until it hears that it
//! came to nothing, which it is told until it answers. If that leaves too few meanwhile, this side
//! goes down as well.
//!
//! With a lease nobody votes, and it is not enough that one side has it at a time: a side that was
//! cut off, stood still, and wakes when the other has long given it back would be given it as well.
//! So the view names the last lease that is known, by its [token](crate::lease::Token), and a side
//! goes on by the next one alone. Nobody can have had one in between, so whatever was decided by
//! earlier ones is in the view of whoever decides, and will be in all that name its lease. So of
//! two decisions the later one was made by somebody who knew of the earlier, and whoever learns of
//! the later learns of both, as above. That takes no clock to be right, and no store but one that
//! never gives one token twice. Where a token was left out (somebody was given the lease, and is
//! gone) no side goes on. While nobody is lost that is made up for: the latest token is looked up,
//! and noted once all say that they hold a view from after that. For then whatever was decided by
//! it is in the view, and whoever has it and has not decided yet sees that nobody is lost.

mod ballot;
mod explain;
mod indirect;
mod lease_majority;
mod leasing;
mod message;
mod proposal;
mod settings;
mod split;
mod stability;
mod strategy;
mod voting;
mod withdrawals;

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use self::ballot::Ballot;
pub use self::ballot::PROPOSERS_MAX;
pub use self::explain::{Accuser, Decision, Explanation, LeaseStanding, Standing, Votes, Why};
pub use self::lease_majority::LeaseMajority;
use self::leasing::Leasing;
pub use self::message::{Answer, NAMES_MAX, TAGS};
use self::proposal::Proposal;
pub use self::settings::{ResolverSettings, Unstable, stable_after};
pub use self::split::{Party, Side, Split, Tally};
use self::stability::Stability;
pub use self::strategy::{
    Authority, DownAll, KeepMajority, KeepOldest, LeaseTerms, StaticQuorum, Strategy, Verdict,
};
use self::withdrawals::Withdrawals;
use crate::lease::{Ask, LeaseName, Token};
use crate::membership::convergence::Part;
use crate::membership::reachability::Reason;
use crate::membership::{Gossip, Status, Warrant};
use crate::monitor::Ring;

/// How long a node that was away takes it that it sees no quorum: if it was given up meanwhile it
/// hears of that first.
const BLIND: Duration = Duration::from_secs(2);

/// What a [`Resolver`] wants done.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum ResolverOutput {
    /// Send this to that node.
    Send {
        /// The node.
        to: NodeId,
        /// The message.
        body: Vec<u8>,
    },
    /// Event: it was decided. What follows from it comes next.
    Decided(Box<Decision>),
    /// Make these members down, all in one step, and call
    /// [`handle_view`](Resolver::handle_view) with the view that has them so.
    Down {
        /// The members, this one or such that it gives up.
        uids: Vec<Uid>,
        /// The lease by which it does, to be named in the view with them.
        warrant: Option<Warrant>,
    },
    /// Ask this of whoever gives leases, and call [`handle_lease`](Resolver::handle_lease) with the
    /// answer, if one comes.
    Ask(Ask),
    /// Name this lease in the view, by which nobody was given up.
    Note {
        /// The lease.
        warrant: Warrant,
    },
    /// Make a new version of the view, which nobody else has seen.
    Refresh,
    /// Event: a store gives smaller tokens than before, so no side can go on by it.
    Fallen {
        /// The lease.
        lease: LeaseName,
        /// The last token that is known.
        known: Token,
        /// That of the store, not larger.
        last: Token,
    },
}

/// Decides which side goes on.
#[derive(Debug)]
pub struct Resolver {
    settings: ResolverSettings,
    strategy: Box<dyn Strategy>,
    own: Uid,
    split: Option<Split>,
    stability: Stability,
    ballot: Ballot,
    proposal: Option<Proposal>,
    withdrawals: Withdrawals,
    /// If the strategy needs a lease.
    leasing: Option<Leasing>,
    /// The number of the last proposal, and that of the last one that was carried out.
    number: u32,
    carried: u32,
    /// Whom voters named for the proposal.
    named: BTreeSet<Uid>,
    /// Whether every host of a lost member refuses.
    is_fast: bool,
    /// Whether nothing can be decided until something changes.
    has_looked: bool,
    /// Whether this member goes down.
    is_over: bool,
    quorum: bool,
    blind_until: Option<Instant>,
    last: Option<Box<Decision>>,
    ignored: u64,
}

impl Resolver {
    /// One that knows no view.
    pub fn new(settings: ResolverSettings, strategy: Box<dyn Strategy>, own: Uid) -> Self {
        let leasing = match strategy.authority() {
            Authority::Lease(terms) => Some(Leasing::new(terms)),
            Authority::Vote | Authority::Sight => None,
        };
        Self {
            settings,
            strategy,
            own,
            split: None,
            stability: Stability::default(),
            ballot: Ballot::default(),
            proposal: None,
            withdrawals: Withdrawals::default(),
            leasing,
            number: 0,
            carried: 0,
            named: BTreeSet::new(),
            is_fast: false,
            has_looked: false,
            is_over: false,
            quorum: false,
            blind_until: None,
            last: None,
            ignored: 0,
        }
    }

    /// The view has changed.
    pub fn handle_view(&mut self, now: Instant, view: &Gossip, out: &mut Vec<ResolverOutput>) {
        let Some(split) = Split::of(view, self.own) else {
            self.split = None;
            self.proposal = None;
            self.quorum = false;
            return self.drop_lease(now, out);
        };
        let own = view.member(self.own);
        self.is_over |= own.is_none_or(|it| it.status() == Status::Down);
        let is_known = |uid| view.member(uid).is_some() || view.tombstone(uid).is_some();
        self.ballot.retain(is_known);
        self.named.retain(|uid| is_known(*uid));
        self.withdrawals.retain(|uid| {
            let member = view.member(uid);
            member.is_some_and(|it| it.status() != Status::Down)
        });
        let data_centre = own.map_or("", |it| it.roles().data_centre());
        let part = Part::new(view, data_centre);
        let is_converged = part.blockers(&BTreeSet::new()).is_empty();
        self.stability.update(now, &split, is_converged);
        self.is_fast = split.is_split() && is_fast(&split, &Ring::of(&part));
        self.quorum = !self.is_over && self.sees_quorum(&split);
        self.has_looked = false;
        let is_over = self.is_over;
        let is_void = |it: &mut Proposal| is_over || !it.is_of(&split);
        let void = self.proposal.take_if(is_void);
        self.split = Some(split);
        if let Some(void) = void {
            self.withdraw(now, void, out);
        }
        self.follow_lease(now, view, is_converged, out);
        self.count_votes(now, out);
    }

    /// This node was away for as long as that: what it knows may be old, and others may have given
    /// it up.
    pub fn handle_stalled(&mut self, now: Instant, gap: Duration, out: &mut Vec<ResolverOutput>) {
        self.stability.restart(now);
        self.has_looked = false;
        if let Some(proposal) = self.proposal.take() {
            self.withdraw(now, proposal, out);
        }
        self.drop_claim(now, out);
        if gap >= BLIND {
            self.blind_until = Some(now + BLIND);
        }
    }

    /// A node said that this one was removed, or is in quarantine. Of a member of the view that is
    /// believed.
    pub fn handle_expelled(
        &mut self,
        now: Instant,
        view: &Gossip,
        by: Uid,
        out: &mut Vec<ResolverOutput>,
    ) {
        if view.member(by).is_some() && view.member(self.own).is_some() {
            self.leave(
                now,
                Verdict::Leave("given up by another member"),
                Why::Expelled,
                out,
            );
        } else {
            self.ignored += 1;
        }
    }

    /// It may be time to decide, or to ask voters again.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        self.blind_until = self.blind_until.filter(|until| *until > now);
        self.repeat_withdrawals(now, out);
        self.lease_timeout(now, out);
        if self.unstable_at().is_some_and(|at| at <= now) {
            let verdict = Verdict::Leave("things kept changing");
            return self.leave(now, verdict, Why::Unstable, out);
        }
        if self.proposal.is_some() {
            self.next_round(now, out);
        } else if self.due().is_some_and(|due| due <= now) {
            self.look(now, out);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let round = self.proposal.as_ref().map(|it| it.next_round);
        let lease = self.leasing.as_ref().and_then(Leasing::poll_timeout);
        let others = [self.blind_until, self.withdrawals.poll_timeout(), lease];
        let times = [self.due(), self.unstable_at(), round]
            .into_iter()
            .chain(others);
        times.flatten().min()
    }

    /// Whether this node is on a side that would go on: what may be done once in a cluster is done
    /// only then.
    pub fn has_quorum(&self, now: Instant) -> bool {
        self.quorum && !self.is_over && self.blind_until.is_none_or(|until| until <= now)
    }

    /// What it sees, and what it would do.
    pub fn explain(&self, now: Instant) -> Explanation {
        let split = self.split.as_ref();
        let would = |split: &Split| self.strategy.decide(split, &staying(split));
        Explanation {
            strategy: self.strategy.name(),
            own: self.own,
            verdict: split.filter(|it| it.is_split()).map(would),
            speaker: split.and_then(Split::speaker).cloned(),
            members: split.map(Standing::all).unwrap_or_default(),
            stable_after: self.settings.stable_after(self.stability.members),
            stable_for: now - self.stability.since,
            is_fast: self.is_fast,
            due_in: self.due().map(|due| due - now),
            votes: self.proposal.as_ref().map(Proposal::votes),
            lease: self.leasing.as_ref().map(|it| it.standing(now)),
        }
    }

    /// Whether it has agreed to that proposal of another member, or its own, and is held to it.
    pub fn has_agreed(&self, proposer: Uid, number: u32) -> bool {
        self.ballot.has_agreed(proposer, number)
    }

    /// What it decided last.
    pub fn last_decision(&self) -> Option<&Decision> {
        self.last.as_deref()
    }

    /// Messages that were for another process start, of nobody who has a say, or too late.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// When it decides if nothing changes.
    fn due(&self) -> Option<Instant> {
        let is_split = self.split.as_ref().is_some_and(Split::is_split);
        let is_claiming = self.leasing.as_ref().is_some_and(Leasing::is_claiming);
        let is_deciding = is_claiming || self.proposal.is_some();
        if !is_split || self.has_looked || self.is_over || is_deciding {
            return None;
        }
        let members = self.stability.members;
        let since = match self.quorum {
            true => self.stability.since,
            // Of a side that cannot go on all go at once, and not one behind the other.
            false => self.stability.since_but_downs,
        };
        let due = since + self.settings.stable_after(members);
        let fast = self.settings.fast_stable_after.filter(|_| self.is_fast);
        let fast = fast.map(|it| self.stability.quiet_since + it);
        let rash = self.unstable_since().filter(|_| self.leasing.is_some());
        [Some(due), fast, rash].into_iter().flatten().min()
    }

    /// From when on things have kept changing for too long.
    fn unstable_since(&self) -> Option<Instant> {
        let after = self.settings.unstable_after(self.stability.members)?;
        Some(self.stability.lost_since? + after)
    }

    /// When all members go down if nothing was decided.
    fn unstable_at(&self) -> Option<Instant> {
        let more = match (self.strategy.authority(), &self.leasing) {
            (Authority::Sight, _) => Duration::ZERO,
            // The lease is asked for meanwhile: once, and once more if that was interrupted.
            (Authority::Lease(_), Some(leasing)) => 2 * leasing.patience(),
            _ => return None,
        };
        let since = self.unstable_since().filter(|_| !self.is_over)?;
        Some(since + more)
    }

    /// Which lease the strategy needs.
    pub fn lease_terms(&self) -> Option<&LeaseTerms> {
        match self.strategy.authority() {
            Authority::Lease(terms) => Some(terms),
            Authority::Vote | Authority::Sight => None,
        }
    }

    /// A store may keep the lease from others for so long when whoever has it dies: longer than it
    /// lives, where that is so. A side that wants it goes down if it does not get it in that time,
    /// and a little more.
    pub fn set_lease_free_after(&mut self, time: Duration) {
        if let Some(leasing) = &mut self.leasing {
            leasing.set_free_after(time);
        }
    }

    fn sees_quorum(&self, split: &Split) -> bool {
        if !split.is_split() {
            return self.strategy.is_viable(split);
        }
        if matches!(self.strategy.authority(), Authority::Lease(_)) {
            // Either side may get it.
            return false;
        }
        let verdict = self.strategy.decide(split, &staying(split));
        split.stays(self.own) && verdict == Verdict::Stay
    }

    /// Nothing has changed for long enough.
    fn look(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        self.has_looked = true;
        let Some(split) = &self.split else {
            return;
        };
        let verdict = self.strategy.decide(split, &staying(split));
        if verdict != Verdict::Stay {
            return self.leave(now, verdict, Why::Outvoted, out);
        }
        if split.is_cut_off() {
            // Nobody is left that could tell it what the others decide.
            let verdict = Verdict::Leave("none of those that stay is reached");
            return self.leave(now, verdict, Why::Outvoted, out);
        }
        if split.speaker().is_none_or(|it| it.uid != self.own) {
            return;
        }
        match self.strategy.authority() {
            Authority::Vote => self.propose(now, out),
            Authority::Lease(_) => self.claim(now, out),
            Authority::Sight => {
                let going = split.going().map(|it| it.member.node().clone()).collect();
                self.decide(now, Verdict::Stay, (Why::Unvoted, None), going, out);
            }
        }
    }

    /// This member goes down.
    fn leave(&mut self, now: Instant, verdict: Verdict, why: Why, out: &mut Vec<ResolverOutput>) {
        if self.is_over {
            return;
        }
        if let Some(proposal) = self.proposal.take() {
            self.withdraw(now, proposal, out);
        }
        self.drop_lease(now, out);
        let parties = self.split.iter().flat_map(Split::parties);
        let own = parties.filter(|it| it.uid() == self.own);
        let own = own.map(|it| it.member.node().clone()).collect();
        self.decide(now, verdict, (why, None), own, out);
        self.is_over = true;
        self.quorum = false;
    }

    fn decide(
        &mut self,
        now: Instant,
        verdict: Verdict,
        (why, warrant): (Why, Option<Warrant>),
        down: Vec<NodeId>,
        out: &mut Vec<ResolverOutput>,
    ) {
        let uids = down.iter().map(|it| it.uid).collect();
        let decision = Box::new(Decision {
            strategy: self.strategy.name(),
            verdict,
            down,
            why,
            token: warrant.map(|it| it.token),
            explanation: self.explain(now),
        });
        self.last = Some(decision.clone());
        out.push(ResolverOutput::Decided(decision));
        out.push(ResolverOutput::Down { uids, warrant });
    }
}

/// Who agrees, if all do that may.
fn staying(split: &Split) -> BTreeSet<Uid> {
    split.voters().map(Party::uid).collect()
}

/// Whether each that is lost resigned, or its host refuses connections, as all say that watch it
/// from this side, of whom there are two at least. Two members alone never decide by that.
fn is_fast(split: &Split, ring: &Ring) -> bool {
    let has_crashed = |party: &Party| {
        let observers = ring.observers_of(party.uid()).into_iter();
        let here: Vec<Uid> = observers.filter(|it| split.stays(*it)).collect();
        let is_refused = |observer: &Uid| {
            let mut accusers = party.accusers.iter();
            accusers.any(|(by, record)| by == observer && record.reason == Reason::Refused)
        };
        let is_dead = party.side == Side::Lost && here.len() >= 2 && here.iter().all(is_refused);
        is_dead || party.side == Side::Resigned
    };
    split.counted().count() > 2 && split.going().all(has_crashed)
}

#[cfg(test)]
mod tests;
