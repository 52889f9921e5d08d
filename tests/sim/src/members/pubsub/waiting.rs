//! Whatever waits for room on a core: frames of other nodes and cores, and publishes of its own.
//!
//! What links bring and what other cores share are a line each, as in the engine the mediator and
//! the sharer of a core are an actor each: of either one frame is dealt with at a time, and those
//! behind it wait in their order. A frame of the links may wait for room at other cores; what these
//! share waits for subscribers alone, so no two cores wait for each other.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::pubsub::{AnswerTo, Came, Hop, Reached, SubscriptionId};
use ringmesh_proto::address::CoreId;
use ringmesh_proto::time::Instant;

use super::held::Offer;
use super::journal::{Entry, Exercise, Leg, Taken};
use super::publishing::Message;
use super::{Room, Spot};
use crate::machine::{Act, Outbox};

/// How long a frame that has come waits for room at another core of its node.
const SHARE_PATIENCE: Duration = Duration::from_secs(5);

/// So many messages a subscriber reads that is waited for, if it does.
const READ: usize = 3;

/// The most frames that wait behind another one. The users of a world never have so many under way.
const PARKED_MAX: usize = 1024;

/// Until when something waits, and which wait of the journal that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    pub(super) deadline: Instant,
    number: u64,
    /// When whoever is waited for reads what waits for it, if it does before.
    reads: Option<Instant>,
}

/// The frames of one way that a core is to deal with, one at a time.
#[derive(Debug, Default)]
pub(super) struct Line {
    parked: VecDeque<(Leg, Rc<[u8]>)>,
    wait: Option<Box<Waiting>>,
}

/// A frame that has come, and what it waits for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    pub(super) bytes: Rc<[u8]>,
    /// The other cores of the node that are still to have it.
    pub(super) cores: VecDeque<CoreId>,
    /// Subscriptions of this core that want to be waited for.
    pub(super) subscriptions: VecDeque<SubscriptionId>,
    /// How long whoever is first of these is waited for.
    pub(super) until: Option<Until>,
    /// What is said of it, and to whom, if anybody asked.
    pub(super) answer: Option<(AnswerTo, Reached)>,
    pub(super) taken: Taken,
}

impl Waiting {
    /// Another core has it.
    fn shared(&mut self) {
        if let Some((_, reached)) = &mut self.answer
            && let Came::Sent { cores } = &mut reached.came
        {
            *cores += 1;
        }
    }

    /// Another subscriber has it.
    fn reached(&mut self) {
        if let Some((_, reached)) = &mut self.answer {
            reached.subscribers += 1;
        }
    }
}

impl Line {
    fn deadline(&self) -> Option<Instant> {
        let until = self.wait.as_ref()?.until?;
        Some(until.reads.unwrap_or(until.deadline))
    }
}

impl Room {
    /// Something begins to wait.
    pub(super) fn wait(&self, spot: Spot, patience: Duration) -> Until {
        let number = self.journal.borrow_mut().wait(self.own.uid);
        let deadline = spot.now + patience;
        Until {
            deadline,
            number,
            reads: None,
        }
    }

    /// It waits no more.
    pub(super) fn waited(&self, now: Instant, until: Option<Until>, is_given_up: bool) {
        if let Some(Until {
            deadline, number, ..
        }) = until
        {
            let left = deadline - now;
            self.write(Entry::Waited {
                number,
                left,
                is_given_up,
            });
            let exercise = match is_given_up {
                true => Exercise::WaitedInVain,
                false => Exercise::Waited,
            };
            self.count(exercise, 1);
        }
    }

    /// When something that waits on a core is to be looked at, if nothing happens before.
    pub(super) fn core_timeout(&self, core: usize) -> Option<Instant> {
        let place = &self.cores[core];
        let lines = place.lines.iter().filter_map(Line::deadline);
        let all = lines
            .chain(self.patient_until(core))
            .chain(place.asked.poll_timeout());
        all.min().filter(|_| !place.is_due)
    }

    /// Behind all else in the turn of a core: whatever waits there goes on, if it can.
    pub(in crate::members) fn go_on<E>(&mut self, core: usize, now: Instant, out: &mut Outbox<E>) {
        let spot = Spot { core, now };
        self.cores[core].is_due = false;
        for hop in [Hop::Link, Hop::Mesh] {
            self.go_on_with(spot, hop, out);
        }
        self.publish_patiently(spot, out);
        self.end_asked(spot);
        if !self.has_room(CoreId(core as u16)) {
            return;
        }
        for (other, place) in self.cores.iter_mut().enumerate() {
            let first = place.lines[Hop::Link as usize].wait.as_ref();
            let first = first.and_then(|it| it.cores.front());
            if first.is_some_and(|it| usize::from(it.0) == core) {
                place.is_due = true;
                out.push(Act::Ring(other));
            }
        }
    }

    /// A frame has come to a core: it is dealt with behind those that came before it.
    pub(super) fn take_frame<E>(
        &mut self,
        spot: Spot,
        (leg, hop, bytes): (Leg, Hop, Rc<[u8]>),
        out: &mut Outbox<E>,
    ) {
        let line = &mut self.cores[spot.core].lines[hop as usize];
        line.parked.push_back((leg, bytes));
        if line.parked.len() > PARKED_MAX {
            let why = format!("{PARKED_MAX} frames wait at a core, and one more");
            self.write(Entry::Miscounted(why));
        }
        self.go_on_with(spot, hop, out);
    }

    fn go_on_with<E>(&mut self, spot: Spot, hop: Hop, out: &mut Outbox<E>) {
        loop {
            let line = &mut self.cores[spot.core].lines[hop as usize];
            let waiting = match line.wait.take() {
                Some(waiting) => *waiting,
                None => {
                    let Some((leg, bytes)) = line.parked.pop_front() else {
                        return;
                    };
                    self.cores[spot.core].shared -= usize::from(hop == Hop::Mesh);
                    match self.arrive(spot, (leg, hop, &bytes), out) {
                        Some(waiting) => waiting,
                        None => continue,
                    }
                }
            };
            if let Some(waiting) = self.serve(spot, waiting, out) {
                let line = &mut self.cores[spot.core].lines[hop as usize];
                line.wait = Some(Box::new(waiting));
                return;
            }
        }
    }

    /// Deals with a frame as far as there is room. It comes back if it waits.
    fn serve<E>(
        &mut self,
        spot: Spot,
        mut waiting: Waiting,
        out: &mut Outbox<E>,
    ) -> Option<Waiting> {
        let publish = waiting.message.publish;
        while let Some(to) = waiting.cores.front().copied() {
            let is_shared = self.share(to, &waiting.bytes, publish, out);
            if is_shared {
                waiting.shared();
            } else if self.still_waits(spot, &mut waiting.until, SHARE_PATIENCE) {
                return Some(waiting);
            } else {
                self.lose_share(to, publish);
            }
            self.waited(spot.now, waiting.until.take(), !is_shared);
            waiting.cores.pop_front();
        }
        let Message { publish, by } = waiting.message;
        while let Some(id) = waiting.subscriptions.front().copied() {
            let mut is_given_up = false;
            if let Some(until) = &mut waiting.until
                && until.reads.take_if(|it| *it <= spot.now).is_some()
            {
                let held = &mut self.cores[spot.core].held;
                held.read(id, READ, &self.journal);
            }
            if self.cores[spot.core].held.has(id) {
                match self.offer(spot.core, id, (publish, by), out) {
                    Offer::Taken => waiting.reached(),
                    Offer::Lost | Offer::Over => {}
                    Offer::Waits(patience) => {
                        if self.waits_for(spot, &mut waiting.until, patience) {
                            return Some(waiting);
                        }
                        is_given_up = true;
                        let held = &mut self.cores[spot.core].held;
                        held.give_up(id, (publish, by), &self.journal);
                    }
                }
            }
            self.waited(spot.now, waiting.until.take(), is_given_up);
            waiting.subscriptions.pop_front();
        }
        if let Some((to, reached)) = waiting.answer {
            self.answer(spot, to, reached, out);
        }
        self.finish(waiting.taken);
        None
    }

    /// Whether a subscription is to be waited for still. Half of them read something meanwhile.
    fn waits_for(&mut self, spot: Spot, until: &mut Option<Until>, patience: Duration) -> bool {
        if until.is_none() && self.random.chance(500) {
            let reads = Some(spot.now + patience / 2);
            let begun = self.wait(spot, patience);
            *until = Some(Until { reads, ..begun });
        }
        self.still_waits(spot, until, patience)
    }

    fn still_waits(&self, spot: Spot, until: &mut Option<Until>, patience: Duration) -> bool {
        let until = until.get_or_insert_with(|| self.wait(spot, patience));
        spot.now < until.deadline
    }
}
