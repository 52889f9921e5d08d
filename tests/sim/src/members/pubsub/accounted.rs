//! What pub-sub sends is delivered, or counted: the accounts of nodes, links, cores and queues.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::journal::{Entry, Exercise, Leg, Reader, Taken};
use crate::happening::{HalfId, Happening};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// So long a frame is under way at most when nothing is wrong.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// So long one that has come waits at most, behind others that wait for subscribers.
const WAITS: Duration = Duration::from_secs(30);

/// A frame between nodes.
#[derive(Debug)]
struct Frame {
    from: Uid,
    to: Uid,
    /// The half of the link that took it, if one did.
    half: Option<HalfId>,
    is_received: bool,
    /// Its link or its sender is gone: it may still come.
    is_given_up: bool,
    /// Since when it is under way, or has come.
    since: Instant,
}

/// Each frame is taken by a link or counted as not sent; what a link takes comes to the process
/// that it is for, once, and is done there what there is to do, unless the link or one of the
/// processes ends. A core delivers what comes to it, or counts it as a dead letter; each group that
/// is to have a member there has one, or is sent on, or is counted. A subscriber takes what it is
/// offered, or is told how much it lost.
#[derive(Debug, Default)]
pub struct Accounted {
    reader: Reader,
    /// Those that have not been taken, or come to nothing, by number.
    frames: BTreeMap<u64, Frame>,
    /// Those that no link has taken yet, by what they say as a number.
    handed: BTreeMap<u64, u64>,
    /// How much links did not take.
    not_sent: u64,
}

impl Accounted {
    fn read(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let now = world.now();
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(now, entry));
        self.reader = reader;
        checked
    }

    pub(super) fn judge(&mut self, now: Instant, entry: &Entry) -> Result<u64, String> {
        match *entry {
            Entry::Handed {
                frame,
                from,
                to,
                digest,
                ..
            }
            | Entry::Carried {
                frame,
                from,
                to,
                digest,
            } => {
                self.handed.insert(digest, frame);
                let handed = Frame {
                    from,
                    to,
                    half: None,
                    is_received: false,
                    is_given_up: false,
                    since: now,
                };
                self.frames.insert(frame, handed);
                Ok(0)
            }
            Entry::Received { frame, by } => match self.frames.get_mut(&frame) {
                Some(it) if it.to == by && it.half.is_some() && !it.is_received => {
                    it.is_received = true;
                    it.since = now;
                    Ok(1)
                }
                other => Err(format!("frame {frame} came to {by}: {other:?}")),
            },
            Entry::Taken(ref taken) => self.take(taken),
            Entry::Told {
                frame: Some(frame), ..
            } => self.take_frame(frame),
            Entry::Miscounted(ref why) => Err(why.clone()),
            Entry::Ended { .. } => Ok(1),
            _ => Ok(0),
        }
    }

    fn take(&mut self, taken: &Taken) -> Result<u64, String> {
        if let Leg::Frame(frame) = taken.leg {
            self.take_frame(frame)?;
        }
        let is_forward = taken.leg != Leg::Publish;
        let named = taken.members + taken.forwards + taken.dead_groups;
        if is_forward && taken.named != named {
            return Err(format!("the account of groups is wrong: {taken:?}"));
        }
        let somewhere = taken.delivered + taken.shared + taken.forwards;
        if is_forward && (somewhere == 0) != (taken.dead_letters == 1) {
            return Err(format!("the account of dead letters is wrong: {taken:?}"));
        }
        Ok(1)
    }

    fn take_frame(&mut self, frame: u64) -> Result<u64, String> {
        let known = self.frames.remove(&frame);
        match known.is_some_and(|it| it.is_received) {
            true => Ok(1),
            false => Err(format!("frame {frame} was not received")),
        }
    }

    /// Frames that are under way on a link that is over may come, or not.
    fn give_up(&mut self, is_of_it: impl Fn(&Frame) -> bool) -> u64 {
        let mut count = 0;
        for it in self.frames.values_mut() {
            if is_of_it(it) && !it.is_given_up {
                it.is_given_up = true;
                count += u64::from(!it.is_received);
            }
        }
        count
    }
}

impl Invariant<Participant> for Accounted {
    fn name(&self) -> &'static str {
        "accounted"
    }

    fn observe(
        &mut self,
        world: &World<Participant>,
        happening: &Happening,
    ) -> Result<u64, String> {
        match *happening {
            Happening::Sent(place) => {
                let checked = self.read(world)?;
                if let Some(frame) = self.handed.remove(&place.digest)
                    && let Some(it) = self.frames.get_mut(&frame)
                {
                    it.half = Some(place.half);
                }
                Ok(checked)
            }
            Happening::NotSent { .. } => {
                self.not_sent += 1;
                Ok(0)
            }
            Happening::LinkDown { half, .. } => {
                let given_up = self.give_up(|it| it.half == Some(half));
                self.reader.count(Exercise::GivenUp, given_up);
                Ok(0)
            }
            Happening::Ended { uid, .. } => {
                let checked = self.read(world)?;
                self.frames.retain(|_, it| it.to != uid);
                self.give_up(|it| it.from == uid);
                Ok(checked)
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let checked = self.read(world)?;
        let refused = self.handed.len() as u64;
        for frame in std::mem::take(&mut self.handed).into_values() {
            self.frames.remove(&frame);
        }
        self.reader.count(Exercise::GivenUp, refused);
        let counted = std::mem::take(&mut self.not_sent);
        match refused <= counted {
            true => Ok(checked),
            false => Err(format!("{refused} frames were not sent, {counted} counted")),
        }
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let checked = self.check(world)?;
        let now = world.now();
        let is_lost = |it: &Frame| match it.is_received {
            true => now - it.since >= WAITS,
            false => !it.is_given_up && now - it.since >= UNDER_WAY,
        };
        match self.frames.iter().find(|(_, it)| is_lost(it)) {
            Some((frame, it)) => Err(format!("frame {frame} is nowhere: {it:?}")),
            None => Ok(checked),
        }
    }
}
