//! What others are asked about a member in doubt.

use std::time::Duration;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::message::Message;
use super::subject::{Doubt, Subject};
use super::{Monitor, MonitorOutput, WITNESSES, send};
use crate::membership::reachability::Witness;

impl Monitor {
    /// Asks others about members that are silent for a time that is not usual.
    pub(super) fn doubt(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        let threshold = self.settings.doubt;
        let in_doubt = self.subjects.iter().filter(|(_, it)| {
            !it.is_far && it.doubt.is_none() && !it.is_accused() && it.suspicion(now) >= threshold
        });
        let in_doubt: Vec<Uid> = in_doubt.map(|(uid, _)| *uid).collect();
        for subject in in_doubt {
            let asked = self.witnesses_of(subject);
            self.questions = self.questions.wrapping_add(1);
            let number = self.questions;
            for witness in &asked {
                let to = witness.uid;
                let question = Message::Question {
                    to,
                    number,
                    subject,
                };
                out.push(send(witness, question));
            }
            if let Some(subject) = self.subjects.get_mut(&subject) {
                subject.doubt = Some(Doubt {
                    number,
                    since: now,
                    asked: asked.into_iter().map(|node| node.uid).collect(),
                    witnesses: Vec::new(),
                });
            }
        }
    }

    /// Others that watch a member, and that this one reaches.
    fn witnesses_of(&self, subject: Uid) -> Vec<NodeId> {
        let observers = self.ring.observers_of(subject).into_iter();
        let is_fit = |uid: &Uid| {
            let is_lost = self.subjects.get(uid).is_some_and(Subject::is_accused);
            *uid != self.own && !is_lost
        };
        let spots = observers.filter(is_fit).filter_map(|it| self.ring.spot(it));
        spots.take(WITNESSES).map(|it| it.node.clone()).collect()
    }

    pub(super) fn handle_testimony(
        &mut self,
        now: Instant,
        from: Uid,
        (number, subject, silence): (u32, Uid, Option<Duration>),
        out: &mut Vec<MonitorOutput>,
    ) {
        let lately = 2 * self.settings.interval;
        let known = self.subjects.get_mut(&subject);
        let doubt = known.and_then(|it| it.doubt.as_mut());
        let doubt = doubt.filter(|it| it.number == number && it.asked.contains(&from));
        let Some(doubt) = doubt else {
            self.ignored += 1;
            return;
        };
        doubt.asked.retain(|uid| *uid != from);
        if let Some(silence) = silence {
            let hears = silence <= lately;
            let observer = from;
            doubt.witnesses.push(Witness { observer, hears });
        }
        self.settle(now, subject, out);
        self.schedule_check(now);
    }
}
