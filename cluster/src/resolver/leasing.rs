//! How a side gets the lease by which it goes on, what it is kept for, and how it is known whether
//! others had it.
//!
//! Whoever acts for its side asks for the lease when it is time to decide. The members beside it
//! follow what it writes into the view, or its [`Surrender`](super::message::Message::Surrender),
//! or its going; and if they hear of none of that, they lose it, decide anew, and ask themselves.
//!
//! While nobody is lost the first by address looks up the last token and notes it in the view: what
//! [follows](Warrant) upon that is known from then on. It has the lease for that at no time, so
//! whoever is cut off meanwhile goes by what was noted before, and no number is left out.

mod counting;

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::split::{Party, Side, Split};
use super::strategy::{LeaseTerms, Verdict};
use super::{LeaseStanding, Resolver, ResolverOutput, Why};
use crate::lease::{self, Holder, HolderOutput, LEASE_OWNER_BYTES_MAX, Token};
use crate::membership::reachability::Reason;
use crate::membership::{Gossip, Warrant};

/// How much longer a lease is asked for than until it is free if whoever has it is dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lease of a strategy, as this member sees it.
#[derive(Debug)]
pub(super) struct Leasing {
    terms: LeaseTerms,
    /// So long a store may keep it from others when whoever has it dies.
    free_after: Duration,
    /// As soon as it is known who this member is.
    holder: Option<Holder>,
    purpose: Purpose,
    /// The last lease that its view knows of, and how often this member had changed the view.
    known: Option<Warrant>,
    changes: u64,
    /// Whether there may have been a later one since; if not, when that is looked up once more.
    is_stale: bool,
    looks_at: Option<Instant>,
    /// Whether nobody is lost and this member acts for all.
    is_calm: bool,
    /// The last token of a store that gave a larger one before.
    fallen: Option<Token>,
    /// The last one that this member was given and decided nothing by, until it is noted.
    unused: Option<Token>,
    has_view: bool,
    /// What was heard of it last.
    heard: Option<Box<str>>,
}

/// What the lease is wanted for.
#[derive(Debug)]
enum Purpose {
    Nothing,
    /// To go on without others.
    Claim(Claim),
    /// To have those refused that were given up by it.
    Keep {
        downed: BTreeSet<Uid>,
        /// Since when all of them are removed.
        gone_since: Option<Instant>,
    },
    /// Nothing but to know its last token, while nobody is lost.
    Count,
    /// That is known. Before it is noted all have to say that they hold a view of this member that
    /// is later than so many changes: then what was decided by others is in it, and whoever was
    /// about to decide by that lease does not any more.
    Counted {
        token: Token,
        changes: u64,
    },
}

#[derive(Debug)]
struct Claim {
    going: BTreeSet<Uid>,
    base: BTreeSet<Uid>,
    begins: Instant,
    gives_up: Instant,
    has_asked: bool,
}

impl Claim {
    /// Whether it is still what this member would claim.
    fn is_of(&self, split: &Split) -> bool {
        let is_speaker = split.speaker().is_some_and(|it| it.uid == split.own());
        is_speaker && self.going == going(split) && self.base == split.base()
    }
}

fn going(split: &Split) -> BTreeSet<Uid> {
    split.going().map(Party::uid).collect()
}

/// By what name a member asks: a process start has one that no other has.
fn owner(node: &NodeId) -> String {
    let name = node.to_string();
    match name.len() <= LEASE_OWNER_BYTES_MAX {
        true => name,
        false => node.uid.to_string(),
    }
}

/// Whether all hold the view, those that do not count among them.
fn hold_it(view: &Gossip, split: &Split) -> bool {
    let mut there = split.parties().iter().filter(|it| it.side == Side::Here);
    there.all(|it| view.is_seen_by(it.uid()))
}

impl Leasing {
    pub(super) fn new(terms: &LeaseTerms) -> Self {
        Self {
            terms: terms.clone(),
            free_after: terms.time_to_live,
            holder: None,
            purpose: Purpose::Nothing,
            known: None,
            changes: 0,
            is_stale: true,
            looks_at: None,
            is_calm: false,
            fallen: None,
            unused: None,
            has_view: false,
            heard: None,
        }
    }

    pub(super) fn is_claiming(&self) -> bool {
        matches!(self.purpose, Purpose::Claim(_))
    }

    pub(super) fn set_free_after(&mut self, time: Duration) {
        self.free_after = time.max(self.terms.time_to_live);
    }

    /// How long a side asks for the lease.
    pub(super) fn patience(&self) -> Duration {
        self.free_after + PATIENCE
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.purpose {
            Purpose::Claim(claim) if claim.has_asked => Some(claim.gives_up),
            Purpose::Claim(claim) => Some(claim.begins),
            Purpose::Keep { gone_since, .. } => {
                gone_since.map(|since| since + self.terms.release_after)
            }
            Purpose::Nothing => self.looks_at.filter(|_| self.is_calm),
            Purpose::Count | Purpose::Counted { .. } => None,
        };
        let holder = self.holder.as_ref().and_then(Holder::poll_timeout);
        own.into_iter().chain(holder).min()
    }

    pub(super) fn held(&self, now: Instant) -> Option<Token> {
        let held = self.holder.as_ref()?.held(now)?;
        Some(held.0)
    }

    pub(super) fn standing(&self, now: Instant) -> LeaseStanding {
        LeaseStanding {
            name: self.terms.name.clone(),
            known: self.known.map(|it| it.token),
            held: self.held(now),
            is_wanted: self.holder.as_ref().is_some_and(Holder::is_wanting),
            fallen: self.fallen,
            heard: self.heard.clone(),
        }
    }

    /// Takes in what the view says of the lease.
    fn read(&mut self, view: &Gossip, split: &Split) {
        let own = view.member(split.own());
        let data_centre = own.map_or("", |it| it.roles().data_centre());
        let known = view.warrant(data_centre);
        // A newcomer does not know what was before it.
        let is_news = self.has_view && known > self.known;
        self.is_stale = split.is_split() || (self.is_stale && !is_news);
        self.known = known.max(self.known);
        self.changes = view.version().of(split.own());
        self.has_view = true;
        if self.holder.is_none()
            && let Some(own) = own
        {
            let (name, owner) = (self.terms.name.clone(), owner(own.node()));
            self.holder = Some(Holder::new(name, &owner, self.terms.time_to_live));
        }
    }

    /// Whether the lease is not wanted any more for what it was.
    fn is_void(&mut self, now: Instant, view: &Gossip, split: &Split) -> bool {
        match &mut self.purpose {
            Purpose::Nothing => false,
            Purpose::Claim(claim) => !claim.is_of(split),
            Purpose::Keep { downed, gone_since } => {
                downed.retain(|uid| view.member(*uid).is_some());
                if downed.is_empty() {
                    gone_since.get_or_insert(now);
                }
                // What is decided next takes another token; and who leaves gives it back in time.
                let own = view.member(split.own());
                split.is_split() || own.is_none_or(|it| it.status().is_departing())
            }
            Purpose::Count | Purpose::Counted { .. } => {
                let is_speaker = split.speaker().is_some_and(|it| it.uid == split.own());
                split.is_split() || !is_speaker
            }
        }
    }
}

impl Resolver {
    /// What came of an [`Ask`](ResolverOutput::Ask), which its number names.
    pub fn handle_lease(
        &mut self,
        now: Instant,
        number: u64,
        answer: lease::Answer,
        out: &mut Vec<ResolverOutput>,
    ) {
        self.with_holder(now, out, |it, said| {
            it.handle_answer(now, number, answer, said);
        });
    }

    /// The token of the lease, if this member holds it at that time.
    pub fn holds(&self, now: Instant) -> Option<Token> {
        self.leasing.as_ref()?.held(now)
    }

    /// The view has changed.
    pub(super) fn follow_lease(
        &mut self,
        now: Instant,
        view: &Gossip,
        is_converged: bool,
        out: &mut Vec<ResolverOutput>,
    ) {
        let (Some(split), Some(leasing)) = (&self.split, &mut self.leasing) else {
            return;
        };
        leasing.read(view, split);
        if let Some(token) = leasing.take_unused() {
            self.note(token, out);
        }
        let (Some(split), Some(leasing)) = (&self.split, &mut self.leasing) else {
            return;
        };
        let is_whole = is_converged && !split.is_split() && !self.is_over;
        let leads = split.speaker().is_some_and(|it| it.uid == self.own);
        if leasing.is_void(now, view, split) || self.is_over {
            self.drop_lease(now, out);
        } else if let Purpose::Counted { token, changes } = leasing.purpose
            && is_whole
            && leasing.changes > changes
            && hold_it(view, split)
        {
            leasing.purpose = Purpose::Nothing;
            self.note(token, out);
        }
        if let Some(leasing) = &mut self.leasing {
            leasing.is_calm = is_whole && leads;
        }
        self.look_up(now, out);
    }

    /// Wants the lease, to go on without those that go.
    pub(super) fn claim(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let (Some(split), Some(leasing)) = (&self.split, &mut self.leasing) else {
            return;
        };
        let begins = now + self.strategy.hesitation(split);
        leasing.purpose = Purpose::Claim(Claim {
            going: going(split),
            base: split.base(),
            begins,
            gives_up: begins + leasing.patience(),
            has_asked: false,
        });
        self.pursue(now, out);
    }

    /// The lease is wanted for nothing any more.
    pub(super) fn drop_lease(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        if let Some(leasing) = &mut self.leasing {
            leasing.purpose = Purpose::Nothing;
            self.with_holder(now, out, |it, said| it.release(now, said));
        }
    }

    /// A claim that was not granted yet is made anew, when it is time again.
    pub(super) fn drop_claim(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        if self.leasing.as_ref().is_some_and(Leasing::is_claiming) {
            self.drop_lease(now, out);
        }
    }

    /// It may be time to ask for the lease, to renew it, or to give it up.
    pub(super) fn lease_timeout(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        self.with_holder(now, out, |it, said| it.handle_timeout(now, said));
        let Some(leasing) = &self.leasing else {
            return;
        };
        match &leasing.purpose {
            Purpose::Claim(claim) if claim.gives_up <= now => {
                self.concede(now, "the lease was not to be had", out);
            }
            Purpose::Claim(_) => self.pursue(now, out),
            Purpose::Keep { gone_since, .. } => {
                let after = leasing.terms.release_after;
                if gone_since.is_some_and(|since| since + after <= now) {
                    self.drop_lease(now, out);
                    // The view may stay as it is for long.
                    self.look_up(now, out);
                }
            }
            Purpose::Nothing => self.look_up(now, out),
            Purpose::Count | Purpose::Counted { .. } => {}
        }
    }

    /// Asks for the lease that is claimed, once that is time.
    fn pursue(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        if let Some(leasing) = &mut self.leasing
            && let Purpose::Claim(claim) = &mut leasing.purpose
            && !claim.has_asked
            && claim.begins <= now
        {
            claim.has_asked = true;
            leasing.heard = None;
            let known = leasing.known.map_or(Token(0), |it| it.token);
            self.with_holder(now, out, |it, said| {
                it.know(known);
                it.acquire(now, said);
            });
        }
    }

    fn with_holder(
        &mut self,
        now: Instant,
        out: &mut Vec<ResolverOutput>,
        call: impl FnOnce(&mut Holder, &mut Vec<HolderOutput>),
    ) {
        let mut said = Vec::new();
        let leasing = self.leasing.as_mut();
        if let Some(holder) = leasing.and_then(|it| it.holder.as_mut()) {
            call(holder, &mut said);
        }
        for output in said {
            self.hear(now, output, out);
        }
    }

    fn hear(&mut self, now: Instant, said: HolderOutput, out: &mut Vec<ResolverOutput>) {
        let Some(leasing) = &mut self.leasing else {
            return;
        };
        match said {
            HolderOutput::Ask(ask) => out.push(ResolverOutput::Ask(ask)),
            HolderOutput::Held { token } => self.take_lease(now, token, out),
            HolderOutput::Last { token } => leasing.count(now, token, out),
            HolderOutput::Lost { .. } => {
                if matches!(leasing.purpose, Purpose::Keep { .. }) {
                    leasing.purpose = Purpose::Nothing;
                }
            }
            HolderOutput::Declined { token } => self.pass(token, out),
            HolderOutput::HeldBy { owner } => {
                leasing.heard = Some(format!("{owner} has it").into());
                if leasing.is_claiming() && self.is_denied_by(&owner) {
                    self.concede(now, "another side has the lease", out);
                }
            }
            HolderOutput::Failed { why } => leasing.heard = Some(why),
        }
    }

    /// The lease was given to this member.
    fn take_lease(&mut self, now: Instant, token: Token, out: &mut Vec<ResolverOutput>) {
        let Some(leasing) = &mut self.leasing else {
            return;
        };
        leasing.heard = None;
        let has_fallen = leasing.is_fallen(token, out);
        let follows = leasing.follows(token);
        match leasing.purpose {
            Purpose::Claim(_) if follows && leasing.held(now).is_some() => {
                self.go_on(now, token, out);
            }
            Purpose::Claim(_) if has_fallen => {
                self.concede(now, "the store gives smaller tokens than before", out);
            }
            Purpose::Claim(_) => {
                self.concede(now, "another side may have had the lease", out);
            }
            _ => {
                self.drop_lease(now, out);
                self.pass(token, out);
            }
        }
    }

    /// This side goes on without those that go.
    fn go_on(&mut self, now: Instant, token: Token, out: &mut Vec<ResolverOutput>) {
        let (Some(split), Some(leasing)) = (&self.split, &mut self.leasing) else {
            return;
        };
        let going = split.going().map(|it| it.member.node().clone());
        let going: Vec<_> = going.collect();
        let holder = Some(self.own);
        let warrant = Warrant { token, holder };
        leasing.known = Some(warrant);
        leasing.is_stale = false;
        leasing.purpose = Purpose::Keep {
            downed: going.iter().map(|it| it.uid).collect(),
            gone_since: None,
        };
        self.has_looked = true;
        let authority = (Why::Leased, Some(warrant));
        self.decide(now, Verdict::Stay, authority, going, out);
    }

    /// This side does not get the lease.
    fn concede(&mut self, now: Instant, why: &'static str, out: &mut Vec<ResolverOutput>) {
        self.surrender(out);
        self.leave(now, Verdict::Leave(why), Why::Denied, out);
    }

    /// Whether another side has the lease, by which it goes on. That is not so of whoever stays
    /// with this side, is gone, or had it before: then it will be free soon.
    fn is_denied_by(&self, owner: &str) -> bool {
        let (Some(split), Some(leasing)) = (&self.split, &self.leasing) else {
            return false;
        };
        let had_it = |uid: Uid| leasing.known.is_some_and(|it| it.holder == Some(uid));
        let is_gone = |record: &Reason| matches!(record, Reason::Refused | Reason::Restarted);
        let is_another = |it: &Party| match it.side {
            Side::Lost | Side::Indirect | Side::Named => {
                let mut reasons = it.accusers.iter().map(|(_, record)| &record.reason);
                let is_dead = !it.accusers.is_empty() && reasons.all(is_gone);
                !is_dead && !had_it(it.uid())
            }
            Side::Here | Side::Resigned | Side::Down => false,
        };
        let mut parties = split.parties().iter();
        let party = parties.find(|it| self::owner(it.member.node()) == owner);
        party.is_some_and(is_another)
    }
}
