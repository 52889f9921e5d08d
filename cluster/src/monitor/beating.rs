//! When heartbeats are sent, and to whom.

use std::collections::VecDeque;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::message::Message;
use super::subject::Subject;
use super::{BEATS_MAX, Monitor, MonitorOutput, PROBES_MAX, send};

/// Heartbeats at regular times: those within the data centre, or those to others.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    /// When the next is due; `None` while there is nobody to send any to.
    pub(super) due: Option<Instant>,
    /// The last ones, with when they were sent.
    pub(super) sent: VecDeque<(u32, Instant)>,
}

impl Rhythm {
    /// When a heartbeat was sent, if it may still be answered.
    fn sent_at(&self, number: u32) -> Option<Instant> {
        let beat = self.sent.iter().find(|(it, _)| *it == number);
        beat.map(|(_, sent)| *sent)
    }

    /// The number of the last one, if the next is not due.
    fn last(&self, now: Instant) -> Option<u32> {
        let is_due = self.due.is_none_or(|due| due <= now);
        let last = self.sent.back().filter(|_| !is_due);
        last.map(|(number, _)| *number)
    }

    fn note(&mut self, number: u32, now: Instant) {
        if self.sent.len() >= BEATS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((number, now));
    }
}

/// Whether something is due.
pub(super) fn is_due(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}

impl Monitor {
    /// When a heartbeat was sent, if it may still be answered.
    pub(super) fn sent_at(&self, number: u32) -> Option<Instant> {
        self.near
            .sent_at(number)
            .or_else(|| self.far.sent_at(number))
    }

    /// Whoever is watched newly is asked at once, with the number of the last heartbeat.
    pub(super) fn greet(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        let is_stalling = self.stalls.is_stalling(now);
        let (near, far) = (self.near.last(now), self.far.last(now));
        for (uid, subject) in &mut self.subjects {
            let last = if subject.is_far { far } else { near };
            if let Some(number) = last
                && subject.greet(now)
            {
                let heartbeat = Message::Heartbeat {
                    to: *uid,
                    number,
                    is_stalling,
                };
                out.push(send(&subject.node, heartbeat));
            }
        }
    }

    /// Sends what is due. Says whether the heartbeats within the data centre were.
    pub(super) fn beat_if_due(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) -> bool {
        let (near, far) = (is_due(self.near.due, now), is_due(self.far.due, now));
        // The next come only from here on, so that after a time away there are not several at once.
        if near {
            self.near.due = Some(now + self.settings.interval);
            self.beat(now, false, out);
        }
        if far {
            self.far.due = Some(now + self.settings.far.interval);
            self.beat(now, true, out);
        }
        near
    }

    fn beat(&mut self, now: Instant, is_far: bool, out: &mut Vec<MonitorOutput>) {
        self.number = self.number.wrapping_add(1);
        let rhythm = if is_far {
            &mut self.far
        } else {
            &mut self.near
        };
        rhythm.note(self.number, now);
        let is_stalling = self.stalls.is_stalling(now);
        let subjects = self.subjects.iter_mut();
        for (uid, subject) in subjects.filter(|(_, it)| it.is_far == is_far) {
            if subject.beat(now) {
                let heartbeat = Message::Heartbeat {
                    to: *uid,
                    number: self.number,
                    is_stalling,
                };
                out.push(send(&subject.node, heartbeat));
            }
        }
    }

    /// Tries those of which nothing comes, in turn.
    pub(super) fn probe(&mut self, now: Instant, out: &mut Vec<MonitorOutput>) {
        let settings = &self.settings;
        let is_mute = |it: &Subject| {
            let interval = if it.is_far {
                settings.far.interval
            } else {
                settings.interval
            };
            it.is_mute(now, super::MUTE * interval)
        };
        let is_behind = |uid: Uid| self.probed.is_none_or(|last| uid > last);
        let mute = self.subjects.iter().filter(|it| is_mute(it.1));
        let mut mute: Vec<(&Uid, &Subject)> = mute.collect();
        mute.sort_by_key(|(uid, _)| (!is_behind(**uid), **uid));
        mute.truncate(PROBES_MAX);
        let nodes = mute.iter().map(|it| it.1.node.clone());
        out.extend(nodes.map(|node| MonitorOutput::Probe { node }));
        self.probed = mute.last().map(|it| *it.0);
    }
}
