//! The hop of a message that came on a shared link to the core where its recipient lives, and of
//! its answer on the way back.
//!
//! The core that the link comes to reads the header and passes the payload on as it is, through a
//! [tunnel](super::tunnel): a copy in a slab, for it goes to another thread. It counts what it
//! passes on as received, as `hopped`, and as sent again: so the accounts of both cores close, and
//! a message is delivered once. Order is kept, for all of it takes one stream. A question keeps its
//! number, which its link has once, and so the answer finds back without a record of it here.
//!
//! What the recipients' core has not taken over is withheld from the credit of the link, be it in
//! the tunnel or, where there is no room in that, in a queue before it: the peer feels a core that
//! is behind as it would with a link of its own, and both together stay within a window and a half.
//! All of that may be for one recipient, and end beyond the bound of its mailbox: the tunnel leaves
//! the others credit even then. A recipient without room is reported to the peer at once.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;

use ringmesh_proto::frame::Extension;
use ringmesh_proto::frame::body::{ErrorCode, Notice};
use ringmesh_proto::limits::{EXTENSION_BYTES, HEADER_BYTES};
use ringmesh_proto::link::{PushError, SendHead, Target};
use ringmesh_proto::message::MessageType;
use ringmesh_proto::time::Instant;

use super::Core;
use super::letters::Described;
use super::link::Link;
use super::reply::PASSED_ON;
use crate::dead_letter::DeadLetterReason;

/// Goes on with a shared link to another core: the near end of their tunnel.
pub(crate) struct Relay {
    /// The shared link.
    pub(super) origin: Rc<Link>,
    /// The near end.
    link: Rc<Link>,
    /// What found no room in the tunnel, oldest first; taken off the credit of `origin`, which
    /// bounds it.
    waiting: RefCell<VecDeque<Waiting>>,
    waiting_bytes: Cell<usize>,
    /// What is withheld from the credit of `origin`.
    charged: Cell<usize>,
    busy: RefCell<Busy>,
    /// The shared link has ended.
    closing: Cell<bool>,
    /// The far end takes nothing more.
    broken: Cell<bool>,
    /// The far end was told.
    closed: Cell<bool>,
}

/// A message on its way to another core, its payload aside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading {
    pub(super) message: MessageType,
    pub(super) target: Target,
    /// Of a question.
    pub(super) extension: Option<Extension>,
}

impl Heading {
    /// The same with the extension that stands at the end of `before`, if it is a question's.
    pub(super) fn with_extension(self, is_question: bool, before: &[u8]) -> Self {
        let parse = || before.last_chunk().map(Extension::parse);
        let extension = is_question.then(parse).flatten();
        Self { extension, ..self }
    }
}

struct Waiting {
    heading: Heading,
    payload: Box<[u8]>,
    since: Instant,
}

/// Recipients of a tunnel that have no room.
#[derive(Debug, Default)]
struct Busy {
    /// By their numbers in the tunnel: a notice that takes one back means whom the number stood for
    /// when it was given.
    by_number: BTreeMap<u32, Target>,
    targets: BTreeSet<Target>,
}

impl Relay {
    /// What goes on with `origin` on the near end `link`.
    pub(super) fn new(origin: Rc<Link>, link: Rc<Link>) -> Self {
        Self {
            origin,
            link,
            waiting: RefCell::default(),
            waiting_bytes: Cell::default(),
            charged: Cell::default(),
            busy: RefCell::default(),
            closing: Cell::default(),
            broken: Cell::default(),
            closed: Cell::default(),
        }
    }

    fn is_busy(&self, target: Target) -> bool {
        self.busy.borrow().targets.contains(&target)
    }

    fn note_busy(&self, number: u32, target: Target) {
        let mut busy = self.busy.borrow_mut();
        if let Some(former) = busy.by_number.insert(number, target) {
            busy.targets.remove(&former);
        }
        busy.targets.insert(target);
    }

    fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn put_by(&self, waiting: Waiting) {
        self.waiting_bytes
            .set(self.waiting_bytes.get() + waiting.bytes());
        self.waiting.borrow_mut().push_back(waiting);
    }

    fn take_waiting(&self) -> Option<Waiting> {
        let waiting = self.waiting.borrow_mut().pop_front()?;
        self.waiting_bytes
            .set(self.waiting_bytes.get() - waiting.bytes());
        Some(waiting)
    }

    fn put_back(&self, waiting: Waiting) {
        self.waiting_bytes
            .set(self.waiting_bytes.get() + waiting.bytes());
        self.waiting.borrow_mut().push_front(waiting);
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("origin", &self.origin)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl Waiting {
    /// The length of its frame, in bytes.
    fn bytes(&self) -> usize {
        let extension_bytes = self.heading.extension.map_or(0, |_| EXTENSION_BYTES);
        HEADER_BYTES + extension_bytes + self.payload.len()
    }

    /// Its heading, with what is left of a question's time; `None` when nothing is.
    fn heading_at(&self, now: Instant) -> Option<Heading> {
        let waited = now.saturating_since(self.since);
        let left = |extension: Extension| {
            let waited_us = u32::try_from(waited.as_micros()).unwrap_or(u32::MAX);
            let remaining_us = extension.remaining_us.checked_sub(waited_us)?;
            (remaining_us > 0).then_some(Extension {
                remaining_us,
                ..extension
            })
        };
        let extension = match self.heading.extension {
            Some(extension) => Some(left(extension)?),
            None => None,
        };
        Some(Heading {
            extension,
            ..self.heading
        })
    }
}

/// Whether a push fails only for now.
fn is_short_of_room(error: PushError) -> bool {
    matches!(error, PushError::NoCredit | PushError::NoMemory)
}

impl Core {
    /// Takes a message on to the core of its recipient. `number` is the recipient's on the link it
    /// came on.
    pub(super) fn hop(&self, relay: &Relay, number: u32, heading: Heading, payload: &[u8]) {
        if relay.is_busy(heading.target) {
            self.say_busy(&relay.origin, number, heading.target.generation);
        }
        let pushed = if relay.has_waiting() {
            Err(PushError::NoCredit)
        } else {
            self.push_on(relay, &heading, payload)
        };
        match pushed {
            Ok(()) => {}
            Err(error) if is_short_of_room(error) => {
                self.tally.waiting.add(1);
                self.tally.frames_copied_other.add(1);
                relay.put_by(Waiting {
                    heading,
                    payload: Box::from(payload),
                    since: self.clock.now(),
                });
            }
            Err(_) => self.no_way_on(relay, &heading),
        }
        self.charge_origin(relay);
    }

    fn push_on(&self, relay: &Relay, heading: &Heading, payload: &[u8]) -> Result<(), PushError> {
        let Heading {
            message, target, ..
        } = heading;
        let target = *target;
        let head = match heading.extension {
            None => SendHead::Tell { message, target },
            Some(extension) => SendHead::Ask {
                message,
                target,
                extension,
            },
        };
        let mut slabs = self.slabs_of(&relay.link).borrow_mut();
        let pushed = relay
            .link
            .outbound
            .borrow_mut()
            .push(&mut slabs, head, payload);
        drop(slabs);
        pushed?;
        self.tally.hopped.add(1);
        self.tally.sent.add(1);
        self.enqueue(&relay.link);
        Ok(())
    }

    /// The core of a recipient has ended, or is about to.
    fn no_way_on(&self, relay: &Relay, heading: &Heading) {
        let describe = |_: &Self| Described::of_target(heading.message, heading.target);
        self.bury(DeadLetterReason::NoRecipient, 1, &relay.origin, describe);
        if let Some(Extension { correlation, .. }) = heading.extension {
            self.answer_error(&relay.origin, correlation, ErrorCode::NotRunning);
        }
    }

    /// The time of a question was up before there was room for it.
    fn too_late(&self, relay: &Relay, heading: &Heading) {
        let describe = |_: &Self| Described::of_target(heading.message, heading.target);
        self.bury(DeadLetterReason::Expired, 1, &relay.origin, describe);
        if let Some(Extension { correlation, .. }) = heading.extension {
            self.answer_error(&relay.origin, correlation, ErrorCode::Expired);
        }
    }

    /// Withholds from the credit of a shared link what the other core has not taken over.
    fn charge_origin(&self, relay: &Relay) {
        let in_tunnel = relay.link.outbound.borrow().in_flight_bytes();
        let now = usize::try_from(in_tunnel).unwrap_or(usize::MAX) + relay.waiting_bytes.get();
        let before = relay.charged.replace(now);
        let origin = &relay.origin;
        if now >= before {
            return origin.inbound.borrow_mut().hold(now - before);
        }
        origin.inbound.borrow_mut().release(before - now);
        if !origin.ended.get() {
            self.owe_grant(origin);
        }
    }

    /// Something changed for the link of a tunnel: it got credit, or its slices have left.
    pub(super) fn near_end_moved(&self, link: &Link) {
        if link.is_near_end()
            && let Some(relay) = self.relay_of(link)
        {
            self.relay_moved(&relay);
        }
    }

    /// Goes on with what waits before a tunnel, and with its end.
    pub(super) fn relay_moved(&self, relay: &Relay) {
        if relay.broken.get() {
            self.drop_waiting(relay);
        }
        while let Some(waiting) = relay.take_waiting() {
            let Some(heading) = waiting.heading_at(self.clock.now()) else {
                self.tally.waiting.take(1);
                self.too_late(relay, &waiting.heading);
                continue;
            };
            match self.push_on(relay, &heading, &waiting.payload) {
                Ok(()) => self.tally.waiting.take(1),
                Err(error) if is_short_of_room(error) => {
                    relay.put_back(waiting);
                    break;
                }
                Err(_) => {
                    self.tally.waiting.take(1);
                    self.no_way_on(relay, &waiting.heading);
                }
            }
        }
        self.charge_origin(relay);
        if relay.closing.get() && !relay.closed.get() && !relay.has_waiting() {
            self.send_on(&relay.link);
            // Else it goes on when the mesh has taken what was sent.
            if !relay.link.outbound.borrow().has_unsent() {
                relay.closed.set(true);
                self.say_closed(&relay.link);
            }
        }
    }

    /// A shared link has ended: what it brought before goes on, and then its tunnels end.
    pub(super) fn close_relays(&self, relays: impl Iterator<Item = Rc<Relay>>) {
        for relay in relays {
            relay.closing.set(true);
            self.relay_moved(&relay);
        }
    }

    /// The far end takes nothing more; the shared link is about to end for it.
    pub(super) fn break_off(&self, relay: &Relay) {
        relay.broken.set(true);
        self.relay_moved(relay);
    }

    /// The tunnel has ended.
    pub(super) fn bury_relay(&self, relay: &Relay) {
        self.drop_waiting(relay);
        self.charge_origin(relay);
    }

    fn drop_waiting(&self, relay: &Relay) {
        while let Some(waiting) = relay.take_waiting() {
            self.tally.waiting.take(1);
            self.no_way_on(relay, &waiting.heading);
        }
    }

    /// Takes an answer, or the error that stands for it, back to the peer that asked.
    pub(super) fn answer_back(
        &self,
        near_end: &Link,
        extension: Extension,
        reply: Option<(&MessageType, &[u8])>,
    ) {
        self.tally.received.add(1);
        let passed_on = self.relay_of(near_end).is_some_and(|relay| {
            let origin = &relay.origin;
            let (correlation, code) = (extension.correlation, ErrorCode::from_wire(extension.code));
            match reply {
                Some((message, payload)) => {
                    self.answer_with(origin, correlation, (message, PASSED_ON), payload)
                }
                None => self.answer_error(origin, correlation, code),
            }
        });
        if passed_on {
            self.tally.hopped.add(1);
        } else {
            let describe = |_: &Self| Described::answer(reply.map(|(message, _)| *message));
            self.bury(DeadLetterReason::LateAnswer, 1, near_end, describe);
        }
    }

    /// The asker's wish to cancel may be for any of the cores that its questions went on to.
    pub(super) fn pass_cancel_on(&self, origin: &Link, extension: Extension) {
        let relays = origin.routes.borrow().relays();
        for relay in relays.into_iter().filter(|relay| !relay.has_waiting()) {
            let mut slabs = self.slabs_of(&relay.link).borrow_mut();
            let mut outbound = relay.link.outbound.borrow_mut();
            let pushed = outbound.push_cancel(&mut slabs, extension);
            drop((slabs, outbound));
            if pushed.is_ok() {
                self.enqueue(&relay.link);
                self.charge_origin(&relay);
            }
        }
    }

    /// A recipient at the far end has no room, or has some again.
    pub(super) fn relay_notice(&self, near_end: &Link, notice: Notice) {
        let Some(relay) = self.relay_of(near_end) else {
            return;
        };
        let number = notice.target_number;
        if notice.busy {
            let target = near_end.outbound.borrow().target(number);
            if let Some(target) = target {
                relay.note_busy(number, target);
                self.say_busy_of(&relay.origin, target);
            }
            return;
        }
        let ready = {
            let mut busy = relay.busy.borrow_mut();
            let ready = busy.by_number.remove(&number);
            ready.inspect(|target| {
                busy.targets.remove(target);
            })
        };
        if let Some(target) = ready {
            self.withdraw_busy_of(&relay.origin, target.generation);
        }
    }

    /// Tells a peer that an actor has no room, before the credit for what that took comes back to
    /// it. By a number that it gives the actor later it is told when that is used.
    fn say_busy_of(&self, origin: &Rc<Link>, target: Target) {
        let numbers: Vec<u32> = origin.inbound.borrow().numbers_of(target).collect();
        for number in numbers {
            self.say_busy(origin, number, target.generation);
        }
    }

    /// Tells a peer that an actor has room, by all numbers by which it was told otherwise.
    fn withdraw_busy_of(&self, origin: &Rc<Link>, generation: u64) {
        let told: Vec<u32> = {
            let told = origin.told_busy.borrow();
            let of_it = told.iter().filter(|(_, told)| **told == generation);
            of_it.map(|(number, _)| *number).collect()
        };
        told.into_iter()
            .for_each(|number| self.withdraw_busy(origin, number));
    }
}
