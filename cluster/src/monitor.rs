//! Which members still live, as far as this one can tell.
//!
//! Members stand in a [`Ring`], and each sends heartbeats to those behind it, which answer. From
//! the answers a [detector](crate::detector) judges, and says so in the observer's own row of the
//! view: an accusation is this member's word, and it alone takes it back. Between data centres the
//! oldest members of each watch each other, more patiently.
//!
//! - **Inputs:** the view after each change, messages, what was found about a member by the way
//!   (that its process crashed, started anew, is parted by a quarantine, or said anything), time.
//! - **Outputs:** [`MonitorOutput`], appended to a list of the caller's.
//! - **Limits:** as many subjects as members, and one answer per message.
//! - **Invariants:** nobody is accused while nothing was late; a stall of this node accuses nobody;
//!   what the others say shapes an accusation and never suppresses one.

mod beating;
mod far;
mod inquiry;
mod message;
mod ring;
mod settings;
mod stall;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use self::beating::{Rhythm, is_due};
pub use self::far::FarSettings;
use self::message::Message;
pub use self::message::TAGS;
pub use self::ring::{Ring, SUBJECTS};
pub use self::settings::MonitorSettings;
use self::stall::Stalls;
pub use self::stall::{STALLS, STALLS_WITHIN};
use self::subject::{Change, Subject};
use crate::codec::CodecError;
use crate::membership::convergence::Part;
use crate::membership::reachability::{Reason, Record};
use crate::membership::settings::LEAST;
use crate::membership::{Gossip, Status};

/// How many others are asked about a member in doubt.
pub const WITNESSES: usize = 3;

/// Heartbeats that may still be answered: an answer to an older one says nothing of today.
pub const BEATS_MAX: usize = 8;

/// A member of which nothing came for so many intervals is tried over another connection ...
const MUTE: u32 = 3;

/// ... with each heartbeat, but not more of them at a time than this. The others follow.
pub const PROBES_MAX: usize = 8;

/// What a [`Monitor`] wants done.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub enum MonitorOutput {
    /// Send this to that node. Of bodies with the same first byte that wait for one node, the
    /// latest may replace the others.
    Send {
        /// The node.
        to: NodeId,
        /// The message.
        body: Vec<u8>,
    },
    /// Write into this member's own row that it cannot reach that one.
    Accuse {
        /// The member.
        subject: Uid,
        /// Why, and what others say.
        record: Record,
    },
    /// Take that back.
    Clear {
        /// The member.
        subject: Uid,
    },
    /// Nothing has come from that member for a while: try whether another connection gets through.
    Probe {
        /// The member.
        node: NodeId,
    },
    /// This node was away for that long: event `stalled`.
    Stalled {
        /// How long.
        gap: Duration,
    },
}

/// Watches members, and is watched.
#[derive(Debug)]
pub struct Monitor {
    settings: MonitorSettings,
    own: Uid,
    /// Heartbeats within the data centre: as long as it is in a cluster.
    near: Rhythm,
    /// Those to other data centres, while it speaks for its own.
    far: Rhythm,
    /// When somebody may be in doubt, or gone.
    check: Option<Instant>,
    lenient_until: Instant,
    number: u32,
    questions: u32,
    /// Who was tried last over another connection.
    probed: Option<Uid>,
    ring: Ring,
    /// Whom it watches in other data centres.
    elsewhere: Vec<NodeId>,
    statuses: BTreeMap<Uid, Status>,
    subjects: BTreeMap<Uid, Subject>,
    stalls: Stalls,
    /// Members that said that they stall.
    stalling: BTreeSet<Uid>,
    ignored: u64,
}

impl Monitor {
    /// One that watches nobody.
    pub fn new(settings: MonitorSettings, own: Uid) -> Self {
        Self {
            settings,
            own,
            near: Rhythm::default(),
            far: Rhythm::default(),
            check: None,
            lenient_until: Instant::ZERO,
            number: 0,
            questions: 0,
            probed: None,
            ring: Ring::default(),
            elsewhere: Vec::new(),
            statuses: BTreeMap::new(),
            subjects: BTreeMap::new(),
            stalls: Stalls::default(),
            stalling: BTreeSet::new(),
            ignored: 0,
        }
    }

    /// The view has changed. Heartbeats begin with the first one that this node is a member in.
    pub fn handle_view(&mut self, now: Instant, view: &Gossip, out: &mut Vec<MonitorOutput>) {
        self.handle_turn(now, out);
        let Some(own) = view.member(self.own) else {
            self.near.due = None;
            self.far.due = None;
            self.check = None;
            self.subjects.clear();
            return;
        };
        self.near.due.get_or_insert(now);
        self.ring = Ring::of(&Part::new(view, own.roles().data_centre()));
        self.elsewhere = far::subjects_of(view, own);
        match self.elsewhere.is_empty() {
            true => self.far.due = None,
            false => drop(self.far.due.get_or_insert(now)),
        }
        let statuses = view.members().map(|it| (it.uid(), it.status()));
        self.statuses = statuses.collect();
        self.stalling.retain(|uid| view.member(*uid).is_some());
        self.rewalk(now);
        self.rest(out);
        self.greet(now, out);
        self.settle_all(now, out);
    }

    /// A node sent a message of this room. Whoever was removed is to be told so instead, before it
    /// gets here.
    ///
    /// # Errors
    /// [`CodecError`] if it is none; nothing changed.
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: &NodeId,
        body: &[u8],
        out: &mut Vec<MonitorOutput>,
    ) -> Result<(), CodecError> {
        let message = Message::from_bytes(body)?;
        self.handle_turn(now, out);
        if message.to() != self.own {
            self.ignored += 1;
            return Ok(());
        }
        self.handle_heard(now, from.uid, out);
        match message {
            Message::Heartbeat {
                number,
                is_stalling,
                ..
            } => {
                let answer = Message::Answer {
                    to: from.uid,
                    number,
                    is_stalling: self.stalls.is_stalling(now),
                };
                out.push(send(from, answer));
                self.handle_stalling(now, from.uid, is_stalling);
            }
            Message::Answer {
                number,
                is_stalling,
                ..
            } => {
                self.handle_answer(now, from.uid, number, out);
                self.handle_stalling(now, from.uid, is_stalling);
            }
            Message::Question {
                number, subject, ..
            } => {
                let silence = self.subjects.get(&subject).and_then(|it| it.silence(now));
                let testimony = Message::Testimony {
                    to: from.uid,
                    number,
                    subject,
                    silence,
                };
                out.push(send(from, testimony));
            }
            Message::Testimony {
                number,
                subject,
                silence,
                ..
            } => self.handle_testimony(now, from.uid, (number, subject, silence), out),
        }
        Ok(())
    }

    /// Anything at all came from a node: if it was thought to have crashed, it has not.
    pub fn handle_heard(&mut self, now: Instant, uid: Uid, out: &mut Vec<MonitorOutput>) {
        if let Some(subject) = self.subjects.get_mut(&uid) {
            subject.handle_heard(now);
        }
        self.settle(now, uid, out);
    }

    /// The process behind a member crashed, by the evidence of its connections. Whoever leaves ends
    /// them itself, so of it that is none.
    pub fn handle_crashed(&mut self, now: Instant, uid: Uid, out: &mut Vec<MonitorOutput>) {
        self.handle_turn(now, out);
        if let Some(subject) = self.watched(uid) {
            subject.handle_crashed();
        }
        self.settle(now, uid, out);
        self.schedule_check(now);
    }

    /// A member will never be reached again, for a [final](Reason::is_final) reason: its process
    /// was started anew, or a quarantine parts the two.
    ///
    /// # Panics
    /// If the reason is not final.
    pub fn handle_lost(
        &mut self,
        now: Instant,
        uid: Uid,
        reason: Reason,
        out: &mut Vec<MonitorOutput>,
    ) {
        assert!(reason.is_final(), "{} may pass", reason.label());
        self.handle_turn(now, out);
        if let Some(subject) = self.watched(uid) {
            subject.handle_end(reason);
        }
        self.settle(now, uid, out);
    }

    /// Heartbeats may be due, or accusations.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        self.handle_turn(now, out);
        let others = [self.far.due, self.check].map(|it| is_due(it, now));
        if self.beat_if_due(now, out) {
            self.probe(now, out);
        } else if others == [false; 2] {
            return;
        }
        self.doubt(now, out);
        self.settle_all(now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.near.due, self.far.due, self.check]
            .into_iter()
            .flatten()
            .min()
    }

    /// How sure it is that a member is gone, on the scale of the detector; `None` if it is not
    /// watched from here.
    pub fn suspicion(&self, now: Instant, uid: Uid) -> Option<f64> {
        Some(self.subjects.get(&uid)?.suspicion(now))
    }

    /// How long the last heartbeat took to a member and back.
    pub fn round_trip(&self, uid: Uid) -> Option<Duration> {
        self.subjects.get(&uid)?.round_trip()
    }

    /// Whom it watches, by process start.
    pub fn subjects(&self) -> impl ExactSizeIterator<Item = Uid> {
        self.subjects.keys().copied()
    }

    /// Whether this node was away so often lately that it asks others to watch in its place.
    pub fn is_stalling(&self, now: Instant) -> bool {
        self.stalls.is_stalling(now)
    }

    /// Messages that were for another process start, or answered what was not asked.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// A turn of this node that comes late says nothing of others: what they sent meanwhile is
    /// still on its way in here.
    fn handle_turn(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        let Some(due) = self.poll_timeout() else {
            return;
        };
        let gap = now - due;
        if gap <= self.settings.interval {
            return;
        }
        self.subjects.values_mut().for_each(|it| it.excuse(gap));
        self.lenient_until = now + self.settings.interval;
        self.stalls.note(now);
        // None of them stays overdue, or each message that waited would be a late turn again.
        self.near.due = Some(now);
        self.far.due = self.far.due.map(|_| now);
        self.check = None;
        out.push(MonitorOutput::Stalled { gap });
    }

    fn handle_answer(
        &mut self,
        now: Instant,
        from: Uid,
        number: u32,
        out: &mut Vec<MonitorOutput>,
    ) {
        let sent = self.sent_at(number);
        let (Some(sent), Some(subject)) = (sent, self.subjects.get_mut(&from)) else {
            self.ignored += 1;
            return;
        };
        subject.handle_answer(now, sent);
        self.settle(now, from, out);
        self.forget(now);
    }

    fn handle_stalling(&mut self, now: Instant, uid: Uid, is_stalling: bool) {
        let is_new = if is_stalling {
            self.ring.spot(uid).is_some() && self.stalling.insert(uid)
        } else {
            self.stalling.remove(&uid)
        };
        if is_new {
            self.rewalk(now);
        }
    }

    /// The member, watched from now on if it was not: whoever accuses has to notice the end of the
    /// reason.
    fn watched(&mut self, uid: Uid) -> Option<&mut Subject> {
        let spot = self.ring.spot(uid).filter(|_| uid != self.own)?;
        self.near.due?;
        let judge = &self.settings.judge;
        let subject = self.subjects.entry(uid).or_insert_with(|| {
            let mut subject = Subject::new(spot.node.clone(), judge);
            subject.is_in_ring = false;
            subject.handle_status(spot.status);
            subject
        });
        Some(subject)
    }

    /// Watches those behind it in the ring, and still those it accused before the ring changed.
    fn rewalk(&mut self, now: Instant) {
        let stalling = &self.stalling;
        let spots = self.ring.walk(self.own, |uid| stalling.contains(&uid));
        self.subjects
            .values_mut()
            .for_each(|it| it.is_in_ring = false);
        for spot in spots {
            let judge = &self.settings.judge;
            let subject = self.subjects.entry(spot.node.uid);
            let subject = subject.or_insert_with(|| Subject::new(spot.node.clone(), judge));
            subject.is_in_ring = true;
        }
        for node in &self.elsewhere {
            let subject = self.subjects.entry(node.uid);
            let subject = subject.or_insert_with(|| self.settings.far.subject(node.clone()));
            subject.is_in_ring = true;
        }
        self.forget(now);
    }

    /// Forgets whoever is watched for nothing.
    fn forget(&mut self, now: Instant) {
        let statuses = &self.statuses;
        self.subjects.retain(|uid, subject| {
            let Some(status) = statuses.get(uid) else {
                return false;
            };
            subject.handle_status(*status);
            subject.is_in_ring || subject.is_accused() || !subject.is_available(now)
        });
    }

    fn settle_all(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        let subjects: Vec<Uid> = self.subjects.keys().copied().collect();
        for uid in subjects {
            self.settle(now, uid, out);
        }
        self.forget(now);
        self.schedule_check(now);
    }

    fn settle(&mut self, now: Instant, subject: Uid, out: &mut Vec<MonitorOutput>) {
        let is_lenient = now < self.lenient_until;
        let wait = self.settings.testimony_wait;
        let known = self.subjects.get_mut(&subject);
        match known.and_then(|it| it.settle(now, is_lenient, wait)) {
            Some(Change::Accuse(record)) => out.push(MonitorOutput::Accuse { subject, record }),
            Some(Change::Clear) => out.push(MonitorOutput::Clear { subject }),
            None => {}
        }
    }

    fn schedule_check(&mut self, now: Instant) {
        let MonitorSettings {
            doubt,
            testimony_wait,
            ..
        } = self.settings;
        let subjects = self.subjects.values();
        let due = subjects.filter_map(|it| it.next_look(doubt, testimony_wait));
        // Before that nobody is accused; and what is due already has just been looked at.
        let earliest = self.lenient_until.max(now + LEAST);
        self.check = due.min().map(|due| due.max(earliest));
    }
}

fn send(to: &NodeId, message: Message) -> MonitorOutput {
    MonitorOutput::Send {
        to: to.clone(),
        body: message.to_bytes(),
    }
}

#[cfg(test)]
mod tests;
