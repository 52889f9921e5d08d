//! How views spread.
//!
//! A view that changed is passed on at once to a few members that are not known to have seen it,
//! who do the same. Whoever takes it over answers with a [`Summary`] that says so, and summaries
//! are all that members with one version exchange. Each round, changed or not, one other member is
//! sent a summary; so whatever was lost is found out.
//!
//! With other data centres those speak that [speak](speaking) for this one, now and then, and begin
//! with a summary: what they have to say was often heard over there already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Counters, Membership, Phase};
use crate::context::{Context, Random};
use crate::effect::Class;
use crate::membership::clock::Relation;
use crate::membership::convergence::{Part, leader_among};
use crate::membership::data_centres::speaking;
use crate::membership::gossip::{ClusterId, Gossip, Warrant};
use crate::membership::member::Member;
use crate::membership::message::{self, Message};
use crate::membership::status::Status;
use crate::membership::summary::Summary;

/// So often, in percent, whoever has not seen the view is chosen in a round, if somebody has not.
const DIFFERENT_VIEW: u32 = 80;

/// From this size on that is less often, down to an eighth at three times as much.
const LARGE_CLUSTER: usize = 400;

/// So often, in percent, somebody of another data centre is told.
const CROSS_DATA_CENTRE: u32 = 20;

/// Members from which on changed views are passed on less often.
const SMALL_CLUSTER: u32 = 16;

/// Changes of one member that no member makes: a version with more is damaged.
const CHANGES_MAX: u64 = 1 << 48;

/// When the others are told.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Whether the view, or who has seen it, changed since it was passed on.
    pub(super) wanted: bool,
    /// Not passed on before.
    push_at: Instant,
    round_due: Instant,
    /// The latest lease of this data centre that others spoke of, and those at home were asked
    /// about. They are not asked about it again before that time.
    hearsay: Option<Warrant>,
    hearsay_due: Instant,
}

impl Rounds {
    pub(super) fn new(now: Instant, interval: Duration) -> Self {
        Self {
            wanted: false,
            push_at: now,
            round_due: now + interval,
            hearsay: None,
            hearsay_due: now,
        }
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        if self.wanted {
            self.push_at.min(self.round_due)
        } else {
            self.round_due
        }
    }
}

/// How likely, in percent, whoever has not seen the view is chosen among that many members.
const fn different_view(members: usize) -> u32 {
    let above = members.saturating_sub(LARGE_CLUSTER) as u32;
    let fall = (DIFFERENT_VIEW - DIFFERENT_VIEW / 8) * above / (2 * LARGE_CLUSTER as u32);
    let least = DIFFERENT_VIEW / 8;
    let rest = DIFFERENT_VIEW.saturating_sub(fall);
    if rest > least { rest } else { least }
}

/// How likely, in percent, somebody of a data centre of that many members speaks with another one:
/// in a small one few do, and have few to speak with at home.
const fn cross_data_centre(members: usize) -> u32 {
    match members {
        0 | 1 => 100,
        2 => 75,
        3 => 50,
        4 => 25,
        _ => CROSS_DATA_CENTRE,
    }
}

impl Membership {
    pub(super) fn handle_gossip(&mut self, cx: &mut Context<'_>, from: &NodeId, view: &Gossip) {
        let is_introduced = self.introduces(from, view);
        if !is_introduced && !self.may_speak(cx, from, view.cluster()) {
            return;
        }
        if view.tombstone(self.own.node.uid).is_some() {
            self.handle_removed(cx, from, view.cluster());
            return;
        }
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        if !active.is_legal(view, is_introduced) {
            self.counters.illegal += 1;
            return;
        }
        let was_seen = active.view.seen().len();
        let teller = active.view.member(from.uid);
        let teller = teller.or_else(|| view.member(from.uid));
        let place = teller.map_or_else(Box::default, |it| it.roles().data_centre().into());
        active.ask_at_home(cx, view, &place);
        let Ok(relation) = active.view.merge_told(view, &place) else {
            self.counters.illegal += 1;
            return;
        };
        let own = active.uid();
        let mut is_seen_by_more = active.view.seen().len() > was_seen;
        // While something is still to be written down this is taken back below, and is no news.
        is_seen_by_more |= active.view.see(own) && active.notes.are_written();
        match relation {
            Relation::Same if is_seen_by_more => active.note_seen(),
            Relation::Before | Relation::Concurrent => active.note_change(),
            Relation::Same | Relation::After => {}
        }
        active.remember(cx);
        if matches!(relation, Relation::After | Relation::Concurrent) {
            active.send_view(cx, std::slice::from_ref(from), &mut self.counters);
        } else if !view.is_seen_by(own) {
            active.send_summary(cx, from);
        }
    }

    pub(super) fn handle_status(&mut self, cx: &mut Context<'_>, from: &NodeId, theirs: &Summary) {
        if !self.may_speak(cx, from, theirs.cluster) {
            return;
        }
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        let mine = Summary::of(&active.view);
        if !mine.is_of_version(theirs) {
            if mine.is_ahead_of(theirs) {
                active.send_view(cx, std::slice::from_ref(from), &mut self.counters);
            } else {
                active.send_summary(cx, from);
            }
            return;
        }
        let seen: Vec<Uid> = theirs.seen_of(&active.view).collect();
        let news = seen.into_iter().filter(|uid| active.view.see(*uid)).count();
        if news > 0 {
            active.note_seen();
        }
        if !theirs.knows_all_of(&mine) {
            active.send_summary(cx, from);
        }
    }

    /// Whether a member may tell this one of its view.
    fn may_speak(&mut self, cx: &mut Context<'_>, from: &NodeId, cluster: ClusterId) -> bool {
        let Phase::Active(active) = &mut self.phase else {
            self.counters.untimely += 1;
            return false;
        };
        if active.view.cluster() != cluster {
            self.refuse_foreign(cx, from, cluster);
            return false;
        }
        if active.view.node(from.uid) != Some(from) {
            self.counters.strangers += 1;
            self.answer_stranger(cx, from);
            return false;
        }
        if active.accuses(from.uid) {
            self.counters.unreachable += 1;
            return false;
        }
        true
    }
}

impl Active {
    /// Whether another member can have a view, given what this one knows: nobody knows more of this
    /// node's changes than itself. Only whoever introduces itself may never have heard of it.
    fn is_legal(&self, view: &Gossip, is_introduced: bool) -> bool {
        let own = self.uid();
        let row = |view: &Gossip| view.reachability().row(own).map_or(0, |row| row.version);
        let is_own = view.version().of(own) <= self.view.version().of(own);
        let is_known = match view.node(own) {
            Some(node) => *node == self.own.node,
            None => is_introduced,
        };
        let is_word = row(view) <= row(&self.view) && is_known;
        let mut changes = view.version().iter().map(|(_, changes)| changes);
        let mut rows = view.reachability().rows().map(|(_, row)| row.version);
        let is_numbered = |it: &Member| match it.status() {
            status if status.is_entering() => !it.up_number().is_given(),
            Status::Up | Status::PreparingForShutdown | Status::ReadyForShutdown => {
                it.up_number().is_given()
            }
            _ => true,
        };
        let is_same = |it: &Member| {
            let known = self.view.member(it.uid());
            known.is_none_or(|known| known.profile() == it.profile())
        };
        let are_good = view.members().all(|it| is_numbered(it) && is_same(it));
        let is_sane = changes.all(|it| it <= CHANGES_MAX) && rows.all(|it| it <= CHANGES_MAX);
        is_own && is_word && is_sane && are_good
    }

    /// Somebody of another data centre says that a later lease of this one was given out than this
    /// member knows of, which does not count; but if it is so, those at home that hold that view
    /// know. They are asked before the view is taken over, or it would seem that this one knows all
    /// that they do.
    fn ask_at_home(&mut self, cx: &mut Context<'_>, view: &Gossip, place: &str) {
        let home = self.part().data_centre().to_owned();
        let heard = view.warrant(&home);
        let is_news = heard > self.view.warrant(&home);
        // What is later than that may not be heard again: whoever says it does so with a view that
        // is taken over now.
        let is_due = heard > self.rounds.hearsay || cx.now >= self.rounds.hearsay_due;
        if place == home || !is_news || !is_due {
            return;
        }
        self.rounds.hearsay = heard.max(self.rounds.hearsay);
        self.rounds.hearsay_due = cx.now + self.settings.gossip_interval;
        let may_know = |it: &&Member| {
            let uid = it.uid();
            uid != self.uid() && view.is_seen_by(uid) && !self.accuses(uid)
        };
        let at_home = self.part().members().filter(may_know);
        let at_home = at_home.map(|it| it.node().clone()).collect();
        for node in cx.random.pick(at_home, 2) {
            self.send_summary(cx, &node);
        }
    }

    /// Passes a changed view on.
    pub(super) fn push(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        if !self.rounds.wanted || cx.now < self.rounds.push_at {
            return;
        }
        self.rounds.wanted = false;
        let members = u32::try_from(self.view.members().len()).unwrap_or(u32::MAX);
        let scale = members.div_ceil(SMALL_CLUSTER).max(1);
        self.rounds.push_at = cx.now + self.settings.push_interval * scale;
        // Whoever was given up has no second chance to tell.
        let fanout = self
            .settings
            .push_fanout
            .max(if self.ending.is_some() { 5 } else { 0 });
        let (unseen, mut seen) = self.targets_at_home();
        let unseen = cx.random.pick(unseen, fanout);
        let leader = self.part().leader(self.uid()).map(Member::node).cloned();
        if let Some(leader) = leader
            && let Some(place) = seen.iter().position(|it| *it == leader)
        {
            let leader = seen.swap_remove(place);
            self.send_summary(cx, &leader);
        }
        for node in cx.random.pick(seen, fanout - unseen.len()) {
            self.send_summary(cx, &node);
        }
        self.send_view(cx, &unseen, counters);
        if let Some(elsewhere) = self.pick_elsewhere(&mut cx.random) {
            // Whoever goes may not be there any more to be asked for the view.
            let is_last_word = self.own_status().is_departing();
            match is_last_word && !self.view.is_seen_by(elsewhere.uid) {
                true => self.send_view(cx, &[elsewhere], counters),
                false => self.send_summary(cx, &elsewhere),
            }
        }
    }

    /// A round: somebody is told, though nothing changed.
    pub(super) fn gossip_round(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        if cx.now < self.rounds.round_due {
            return;
        }
        let hurry = if self.is_spreading() { 3 } else { 1 };
        self.rounds.round_due = cx.now + self.settings.gossip_interval / hurry;
        self.look_elsewhere(cx);
        if let Some(elsewhere) = self.pick_elsewhere(&mut cx.random) {
            return self.send_summary(cx, &elsewhere);
        }
        let (unseen, seen) = self.targets_at_home();
        let members = self.view.members().len();
        let wants_unseen = seen.is_empty() || cx.random.chance(different_view(members));
        if !unseen.is_empty() && wants_unseen {
            let one = cx.random.pick(unseen, 1);
            self.send_view(cx, &one, counters);
        } else if let Some(one) = cx.random.pick([unseen, seen].concat(), 1).first() {
            self.send_summary(cx, one);
        }
    }

    /// Whether much of this data centre has not seen the view, or somebody was given up.
    fn is_spreading(&self) -> bool {
        let part = self.part();
        let (mut members, mut seen) = (0, 0);
        for member in part.members() {
            members += 1;
            seen += usize::from(self.view.is_seen_by(member.uid()));
            if member.status() == Status::Down {
                return true;
            }
        }
        seen * 2 < members
    }

    /// Whom to tell at home: those who have not seen the view, and those who have.
    fn targets_at_home(&self) -> (Vec<NodeId>, Vec<NodeId>) {
        let told = self.part().members().filter(|it| self.is_told(it));
        let (seen, unseen): (Vec<&Member>, Vec<&Member>) =
            told.partition(|it| self.view.is_seen_by(it.uid()));
        let nodes = |members: Vec<&Member>| members.iter().map(|it| it.node().clone()).collect();
        (nodes(unseen), nodes(seen))
    }

    /// Another member that this one reaches, as it says.
    fn is_told(&self, member: &Member) -> bool {
        member.uid() != self.uid() && !self.accuses(member.uid())
    }

    /// Those who speak for a data centre: whoever is in it, while none of them is up yet.
    fn speaking<'a>(&'a self, data_centre: &'a str) -> Vec<&'a Member> {
        speaking(|| Part::new(&self.view, data_centre).members())
    }

    /// At times somebody who speaks for another data centre, if this member speaks for its own.
    fn pick_elsewhere(&self, random: &mut Random) -> Option<NodeId> {
        let home = self.part();
        let names = self.view.members().map(|it| it.roles().data_centre());
        let others: BTreeSet<&str> = names.filter(|name| *name != home.data_centre()).collect();
        if others.is_empty() || !random.chance(cross_data_centre(home.members().count())) {
            return None;
        }
        let is_own = |it: &&Member| it.uid() == self.uid();
        if !self.speaking(home.data_centre()).iter().any(is_own) {
            return None;
        }
        let told = |name| -> Vec<&Member> {
            let members = self.speaking(name).into_iter();
            members.filter(|it| self.is_told(it)).collect()
        };
        let others = others.into_iter().map(told).filter(|it| !it.is_empty());
        let told = random.pick(others.collect(), 1).pop()?;
        let (seen, unseen): (Vec<&Member>, Vec<&Member>) = told
            .into_iter()
            .partition(|it| self.view.is_seen_by(it.uid()));
        let members = self.view.members().len();
        let wants_unseen = seen.is_empty() || random.chance(different_view(members));
        let group = match !unseen.is_empty() && wants_unseen {
            true => unseen,
            false => [unseen, seen].concat(),
        };
        random.pick(group, 1).first().map(|it| it.node().clone())
    }

    /// Sends the view, unless it is too long for that.
    pub(super) fn send_view(&self, cx: &mut Context<'_>, to: &[NodeId], counters: &mut Counters) {
        if to.is_empty() {
            return;
        }
        let body = message::encode_gossip(&self.view, false, cx.now);
        if body.len() > message::BODY_BYTES_MAX {
            counters.too_long += to.len() as u64;
            return;
        }
        for node in to {
            let body = message::addressed(&body, node.uid);
            cx.out.send(node, Class::Gossip, body);
        }
    }

    pub(super) fn send_summary(&self, cx: &mut Context<'_>, to: &NodeId) {
        let status = Message::Status(Summary::of(&self.view));
        let body: Arc<[u8]> = status.encode(Some(to.uid), cx.now).into();
        cx.out.send(to, Class::Gossip, body);
    }

    /// The member who leads, as this node sees it.
    pub(super) fn leads(&self) -> bool {
        let part = self.part();
        let accused = part.accused();
        let leader = leader_among(part.members(), self.uid(), &accused, |_| true);
        leader.is_some_and(|it| it.uid() == self.uid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference takes the threshold of large clusters for the probability, so that it is 1.
    #[test]
    fn whoever_has_not_seen_the_view_is_preferred_less_in_large_clusters() {
        let known = [(2, 80), (400, 80), (800, 45), (1200, 10), (5000, 10)];
        for (members, percent) in known {
            assert_eq!(different_view(members), percent, "{members} members");
        }
    }

    #[test]
    fn small_data_centres_speak_with_others_more_often() {
        let likely = [1, 2, 3, 4, 5, 100].map(cross_data_centre);
        assert_eq!(likely, [100, 75, 50, 25, 20, 20]);
    }
}
