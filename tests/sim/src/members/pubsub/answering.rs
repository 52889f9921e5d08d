//! Publishes that are to say whom they have reached, and the answers to those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_cluster::pubsub::{
    ANSWER_BYTES, AnswerTo, Came, Outcome, Policy, Publishing, Reached,
};
use ringmesh_cluster::registry::{Snapshot, Standing};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::time::Instant;

use super::journal::{Entry, Exercise};
use super::{ANSWER_TAG, Parcel, Room, Spot};
use crate::canary::Canary;
use crate::machine::Outbox;

/// The publishes of a core that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Asked {
    publishing: Publishing,
    /// By which number of the journal each is known, by its own.
    numbers: BTreeMap<u64, u64>,
}

impl Asked {
    /// A number for a publish, if that can wait for answers.
    pub(super) fn reserve(&mut self) -> Option<u64> {
        self.publishing.reserve().ok()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.publishing.poll_timeout()
    }

    /// Nobody of those that cannot be reached any more answers. Which publishes are over with that.
    fn follow(&mut self, own: Uid, snapshot: &Snapshot) -> Vec<u64> {
        let mut over = Vec::new();
        let may_answer = |node: Uid| {
            let standing = snapshot.listing(node).map(|it| it.standing());
            node == own || standing.is_some_and(|it| it != Standing::Unreachable)
        };
        self.publishing
            .retain_nodes(may_answer, |number| over.push(number));
        over
    }
}

impl Room {
    /// A publish has left for nodes, not to all of which there is a way, and waits for so long.
    pub(super) fn ask(
        &mut self,
        spot: Spot,
        (answer, publish): ((u64, Policy), u64),
        time: Duration,
        (stops, unsent): (&[(Uid, u16)], &[Uid]),
    ) {
        let own = self.own.uid;
        let Asked {
            publishing,
            numbers,
        } = &mut self.cores[spot.core].asked;
        let nodes = stops.iter().map(|it| it.0);
        publishing.begin(answer, spot.now + time, own, nodes);
        unsent
            .iter()
            .for_each(|it| publishing.handle_unsent(answer.0, *it));
        numbers.insert(answer.0, publish);
    }

    /// So many subscribers of the core have a publish of it, and so many other cores were given it.
    pub(super) fn note_reached_here(
        &mut self,
        spot: Spot,
        publish: u64,
        (subscribers, cores): (u32, u16),
    ) {
        let reached = Reached {
            publish,
            came: Came::Sent { cores },
            sent_on: 0,
            subscribers,
        };
        self.note_reached(spot.core, self.own.uid, &reached);
    }

    /// Says what a publish has reached here.
    pub(super) fn answer<E>(
        &mut self,
        spot: Spot,
        to: AnswerTo,
        mut reached: Reached,
        out: &mut Outbox<E>,
    ) {
        reached.subscribers += u32::from(self.is_wrong(Canary::AnswerMore));
        let (bytes, from) = (reached.to_bytes(), self.own.uid);
        if to.node == from {
            return self.put(to.core.0.into(), Parcel::Answer { from, bytes }, out);
        }
        let listing = self.cores[spot.core].snapshot.listing(to.node);
        if let Some(node) = listing.map(|it| it.owner().clone()) {
            let mut body = vec![ANSWER_TAG];
            body.extend(to.core.0.to_le_bytes());
            body.extend(bytes);
            out.send(node, body);
        }
    }

    /// A link brought an answer.
    pub(super) fn receive_answer<E>(&mut self, from: Uid, bytes: &[u8], out: &mut Outbox<E>) {
        let (core, bytes) = bytes.split_first_chunk().expect("its core");
        let core = CoreId(u16::from_le_bytes(*core));
        let bytes: [u8; ANSWER_BYTES] = bytes.try_into().expect("an answer");
        self.put(core.0.into(), Parcel::Answer { from, bytes }, out);
    }

    /// A core of a node says what a publish of this one has reached there.
    pub(super) fn hear(&mut self, core: usize, from: Uid, bytes: &[u8]) {
        let reached = Reached::parse(bytes).expect("it was written well");
        self.note_reached(core, from, &reached);
    }

    fn note_reached(&mut self, core: usize, from: Uid, reached: &Reached) {
        let publishing = &mut self.cores[core].asked.publishing;
        let before = publishing.unwanted();
        let is_over = publishing.handle_reached(from, reached);
        let late = publishing.unwanted() - before;
        self.count(Exercise::AnsweredLate, late);
        if is_over {
            self.end_one(core, reached.publish);
        }
    }

    /// A core has read who can be reached.
    pub(super) fn follow_asked(&mut self, core: usize) {
        let own = self.own.uid;
        let place = &mut self.cores[core];
        let over = place.asked.follow(own, &place.snapshot);
        over.into_iter().for_each(|it| self.end_one(core, it));
    }

    /// Whatever was waited for long enough is over.
    pub(super) fn end_asked(&mut self, spot: Spot) {
        while let Some((number, outcome)) = {
            let asked = &mut self.cores[spot.core].asked;
            asked.publishing.poll_outcome(spot.now)
        } {
            self.say(spot.core, number, outcome);
        }
    }

    fn end_one(&mut self, core: usize, number: u64) {
        let ended = self.cores[core].asked.publishing.end(number);
        if let Some(outcome) = ended {
            self.say(core, number, outcome);
        }
    }

    fn say(&mut self, core: usize, number: u64, outcome: Outcome) {
        let publish = self.cores[core].asked.numbers.remove(&number);
        let publish = publish.expect("it was asked");
        let exercise = match outcome.is_complete() {
            true => Exercise::Answered,
            false => Exercise::Unanswered,
        };
        self.count(exercise, 1);
        self.write(Entry::Answered { publish, outcome });
    }
}
