//! From a ref to the wire: encode in place, account, gather, hand to the ring.

use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::archive::EncodeError;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::EXTENSION_BYTES;
use ringmesh_proto::link::{Measured, NotHere, Payload, PushError, SendHead};
use ringmesh_proto::message::Message;
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::contract::{Event, Piece, Transport};

use super::link::{Link, Outbound};
use super::{Core, Place};
use crate::error::Refusal;
use crate::reference::Recipient;

/// Bytes given to the kernel in one send at most. Large enough to pay for the call many times over,
/// small enough that the peer starts on the first batch while the second is encoded.
const SEND_BYTES_MAX: usize = 256 << 10;

/// Bytes that one turn puts on a link before they are sent in the middle of it. So the peer works
/// on the first while the next are written, and those are still in the cache when they are sealed
/// and copied.
pub(super) const FLUSH_BYTES: u64 = 256 << 10;

/// How long a grant waits for other bytes to travel with.
const GRANT_DELAY: Duration = Duration::from_millis(1);

impl Core {
    /// Sends a message that nobody answers; `place` is its own in the line, if it waited.
    #[inline]
    pub(crate) fn tell<M: Message>(
        &self,
        to: &Recipient,
        message: &M,
        place: Option<&Place>,
    ) -> Result<(), Refusal> {
        let head = SendHead::Tell {
            message: &M::TYPE,
            target: to.target(),
        };
        self.tell_as(to, head, message, place)
    }

    /// The same with a payload of whatever kind.
    #[inline]
    pub(super) fn tell_as<P: Payload>(
        &self,
        to: &Recipient,
        head: SendHead<'_>,
        payload: &P,
        place: Option<&Place>,
    ) -> Result<(), Refusal> {
        let peers = self.peers.borrow();
        let (link, held_up) = peers.link_to(to, place)?;
        let position = self.push(link, held_up, head, payload)?;
        if position >= link.flush_at.get() {
            let link = Rc::clone(link);
            drop(peers);
            self.flush_early(&link);
        }
        Ok(())
    }

    /// The same, and makes a link when there is none.
    #[inline]
    pub(crate) fn tell_or_form<M: Message>(
        self: &Rc<Self>,
        to: &Recipient,
        message: &M,
        place: Option<&Place>,
    ) -> Result<(), Refusal> {
        match self.tell(to, message, place) {
            Err(Refusal::Unreachable) => self.tell_first(to, message, place),
            told => told,
        }
    }

    /// Sends a message that is too large for the ordinary lane.
    #[cold]
    pub(crate) fn tell_large<M: Message>(
        self: &Rc<Self>,
        to: Recipient,
        message: &M,
    ) -> Result<(), Refusal> {
        let to = Recipient { large: true, ..to };
        self.tell_or_form(&to, message, None)
    }

    /// The same when there was no link: makes one, which takes the message before it has a
    /// connection.
    #[cold]
    fn tell_first<M: Message>(
        self: &Rc<Self>,
        to: &Recipient,
        message: &M,
        place: Option<&Place>,
    ) -> Result<(), Refusal> {
        self.reach(*to)?;
        self.tell(to, message, place)
    }

    /// A message was dropped because its sender would not wait.
    pub(crate) fn count_lossy(&self) {
        self.tally.dropped_lossy.add(1);
    }

    /// Writes a message into the link's stream and returns its position. From `flush_at` on,
    /// [`flush_early`](Self::flush_early) is to follow when no cell is borrowed any more.
    #[inline]
    pub(super) fn push<P: Payload + ?Sized>(
        &self,
        link: &Rc<Link>,
        held_up: bool,
        head: SendHead<'_>,
        payload: &P,
    ) -> Result<u64, Refusal> {
        let mut bytes = None;
        if !held_up {
            let pushed = link.outbound.borrow_mut().push_here(head, payload);
            match pushed {
                Ok(position) => {
                    self.tally.sent.add(1);
                    self.enqueue(link);
                    return Ok(position);
                }
                Err(NotHere { needed }) => bytes = needed,
            }
        }
        let payload: &dyn Payload = &Measured { payload, bytes };
        self.push_elsewhere(link, held_up, head, payload)
    }

    /// The same where more is to be done, or said, than writing it behind the last one.
    #[cold]
    #[inline(never)]
    fn push_elsewhere(
        &self,
        link: &Rc<Link>,
        held_up: bool,
        head: SendHead<'_>,
        payload: &dyn Payload,
    ) -> Result<u64, Refusal> {
        self.push_by(link, held_up, head, payload, |outbound, slabs| {
            outbound.push(slabs, head, payload)
        })
    }

    /// The same with another way of pushing.
    pub(super) fn push_by<P: Payload + ?Sized>(
        &self,
        link: &Rc<Link>,
        held_up: bool,
        head: SendHead<'_>,
        payload: &P,
        push: impl FnOnce(&mut Outbound, &mut SlabPool) -> Result<u64, PushError>,
    ) -> Result<u64, Refusal> {
        let mut slabs = self.slabs_of(link).borrow_mut();
        let mut outbound = link.outbound.borrow_mut();
        if held_up {
            let refusal = no_room(self.cap_of(link, &outbound), head, payload);
            return Err(self.for_its_lane(link, refusal));
        }
        match push(&mut outbound, &mut slabs) {
            Ok(position) => {
                drop((slabs, outbound));
                self.tally.sent.add(1);
                self.enqueue(link);
                Ok(position)
            }
            Err(PushError::NoCredit) => {
                self.stir(link);
                let refusal = no_room(self.cap_of(link, &outbound), head, payload);
                Err(self.for_its_lane(link, refusal))
            }
            // The cap of a link without a peer is not the last word.
            Err(PushError::TooLarge { .. }) if link.forming.get() => {
                let refusal = no_room(self.cap_of(link, &outbound), head, payload);
                Err(self.for_its_lane(link, refusal))
            }
            Err(error) => Err(self.for_its_lane(link, refusal(error))),
        }
    }

    /// What to say of a message that is too long for its link: whether another lane takes it.
    #[cold]
    fn for_its_lane(&self, link: &Link, refusal: Refusal) -> Refusal {
        let Refusal::TooLarge { bytes, limit } = refusal else {
            return refusal;
        };
        let mut limit = limit;
        if link.lane == Lane::Ordinary && !link.within_process {
            limit = limit.max(self.settings.large_frame_bytes_max as usize);
            if bytes <= limit {
                return Refusal::ForLargeLane { bytes, limit };
            }
        }
        self.tell_of_oversize(link);
        Refusal::TooLarge { bytes, limit }
    }

    /// The longest body that a link takes, or may take once its peer has said so.
    #[cold]
    fn cap_of(&self, link: &Link, outbound: &Outbound) -> u32 {
        if link.forming.get() {
            self.settings.of_lane(link.lane).body_cap
        } else {
            outbound.body_cap()
        }
    }

    /// Puts a link on the list of those with something to send.
    #[inline]
    pub(super) fn enqueue(&self, link: &Rc<Link>) {
        if !link.queued.replace(true) {
            let list = if link.is_pressing() {
                &self.pressing
            } else {
                &self.sendable
            };
            list.borrow_mut().push(Rc::clone(link));
        }
    }

    /// Gives each link's pending bytes to the ring, one send per link: of the control lane first,
    /// and of the large one last. Says whether there were any.
    pub(super) fn send_pending(self: &Rc<Self>) -> bool {
        self.queue_late_grants();
        let links = std::mem::take(&mut *self.sendable.borrow_mut());
        let any = self.send_pressing() | !links.is_empty();
        let is_large = |link: &&Rc<Link>| link.lane == Lane::Large;
        links
            .iter()
            .filter(|link| !is_large(link))
            .for_each(|link| self.send_queued(link));
        let large = links.iter().filter(is_large);
        large.for_each(|link| self.send_queued(link));
        self.reuse(links);
        self.publish_parcels();
        self.watch_memory();
        any
    }

    /// Hands over at once what handlers told actors on other cores. It costs no system call, so an
    /// answer to another core need not wait for the rest of the turn, as what leaves by a socket
    /// does: that is one send per socket and turn.
    pub(super) fn answer_cores(self: &Rc<Self>) {
        let mut links = std::mem::take(&mut *self.sendable.borrow_mut());
        links.retain(|link| {
            let is_for_core = link.within_process && link.to_core != self.id;
            if is_for_core {
                self.send_queued(link);
            }
            !is_for_core
        });
        let mut sendable = self.sendable.borrow_mut();
        links.append(&mut sendable);
        *sendable = links;
        drop(sendable);
        self.publish_parcels();
    }

    /// Sends what a link has that is on the list no more.
    pub(super) fn send_queued(self: &Rc<Self>, link: &Rc<Link>) {
        link.queued.set(false);
        if link.is_lost() {
            self.want_resume(link);
        } else {
            self.send_on(link);
        }
    }

    /// Puts the emptied list back, so that its memory is allocated once.
    fn reuse(&self, mut links: Vec<Rc<Link>>) {
        links.clear();
        let mut sendable = self.sendable.borrow_mut();
        links.append(&mut sendable);
        *sendable = links;
    }

    pub(super) fn send_on(&self, link: &Rc<Link>) {
        if link.sending.get() || link.ended.get() || link.is_lost() {
            return;
        }
        // Within the process a grant costs the other core as much as a message, and nobody waits
        // for it: it leaves when it is due.
        if !link.within_process {
            if link.outbound.borrow().is_leaving() {
                // The last one goes with the goodbye, and says all.
                link.owes_grant.set(true);
            }
            self.attach_grant(link);
        }
        self.queue_ready(link);
        let mut pieces = self.kept.pieces.take();
        self.gather(link, &mut pieces);
        if !pieces.is_empty() {
            match link.connection.get() {
                Some(connection) => {
                    link.sending.set(true);
                    self.expect_progress();
                    self.io.borrow_mut().send(connection, &mut pieces);
                }
                None if link.to_core == self.id => self.loop_back(link, &mut pieces),
                None => self.hand_over(link, &mut pieces),
            }
        }
        pieces.clear();
        self.kept.pieces.set(pieces);
    }

    /// Sends in the middle of a turn what a task or handler has written so far, unless the kernel
    /// has not yet taken the send before. Nothing else that happened is handled here; but memory
    /// may come back, and wake whoever waits for it.
    #[cold]
    pub(super) fn flush_early(&self, link: &Rc<Link>) {
        if link.lane == Lane::Large {
            return self.end_a_large_turn(link);
        }
        let Some(connection) = link.connection.get() else {
            self.show_early(link);
            return link.flush_behind(link.outbound.borrow().positions().tail);
        };
        if link.sending.get() {
            let mut events = self.events.borrow_mut();
            self.io.borrow_mut().poll(&mut events);
            let is_sent =
                |event: &Event| matches!(event, Event::Sent { connection: c } if *c == connection);
            let Some(place) = events.iter().position(is_sent) else {
                return;
            };
            events.remove(place);
            drop(events);
            self.connection_sent(connection);
        }
        self.send_on(link);
        if let Err(error) = self.io.borrow_mut().submit() {
            // The turn's own call meets the same error, and ends the core with it.
            tracing::error!(%error, "the ring failed");
        }
    }

    /// Hands what is for another core over in the middle of a turn, so that it works on that while
    /// the next is written.
    fn show_early(&self, link: &Rc<Link>) {
        let is_plain = link.within_process && link.passage.is_none();
        if is_plain && link.to_core != self.id {
            self.send_on(link);
            self.publish_early(link);
        }
    }

    /// The encoding of a large message takes as long as that of many others: waiting sends go on in
    /// the next turn.
    fn end_a_large_turn(&self, link: &Link) {
        let positions = link.outbound.borrow().positions();
        if positions.tail - positions.sent >= FLUSH_BYTES {
            self.end_turn_share();
        }
    }

    /// Takes what is to be sent next.
    fn gather(&self, link: &Link, into: &mut Vec<Piece>) {
        let mut outbound = link.outbound.borrow_mut();
        if outbound.deferred() > 0 {
            outbound.drain_deferred(&mut self.slabs_of(link).borrow_mut());
        }
        outbound.gather(SEND_BYTES_MAX, into);
        link.flush_behind(outbound.positions().tail);
    }

    /// Carries the core's messages to itself: the same bytes, parsed by the same loop.
    fn loop_back(&self, link: &Rc<Link>, pieces: &mut Vec<Piece>) {
        let connection = &self.own_end().connection;
        let chunks = pieces.drain(..).map(Piece::into_slab).map(Chunk::of_slab);
        let mut intake = connection.intake.borrow_mut();
        chunks.for_each(|chunk| intake.push(chunk));
        drop(intake);
        self.make_readable(connection);
        link.outbound.borrow_mut().handle_sent();
        if link.outbound.borrow().has_unsent() {
            self.enqueue(link);
        }
    }

    /// The kernel has taken a send.
    pub(super) fn handle_sent(&self, link: &Rc<Link>) {
        link.sending.set(false);
        let mut outbound = link.outbound.borrow_mut();
        outbound.handle_sent();
        if outbound.has_unsent() {
            self.enqueue(link);
        }
        drop(outbound);
        // The kernel lets go of slabs that were acknowledged while it still held them.
        self.memory_came();
    }

    /// Notes that a link received something it will have to acknowledge; grants at once when much
    /// has come in since the last grant.
    pub(super) fn owe_grant(&self, link: &Rc<Link>) {
        let due = link.inbound.borrow_mut().poll_grant(false);
        if let Some(grant) = due {
            link.owes_grant.set(false);
            link.outbound.borrow_mut().queue_grant(grant);
            self.enqueue(link);
        } else if !link.owes_grant.replace(true) {
            let now = self.clock.now();
            link.owes_since.set(now);
            let mut granting = self.granting.borrow_mut();
            if granting.is_empty() {
                self.granting_since.set(now);
            }
            granting.push(Rc::clone(link));
        }
    }

    /// Queues the grants that have waited for other bytes to travel with for long enough.
    fn queue_late_grants(&self) {
        let now = self.clock.now();
        let oldest = self.granting_since.get();
        if self.granting.borrow().is_empty() || now.saturating_since(oldest) < GRANT_DELAY {
            return;
        }
        let mut oldest = now;
        self.granting.borrow_mut().retain(|link| {
            let late = now.saturating_since(link.owes_since.get()) >= GRANT_DELAY;
            if link.owes_grant.get() && late {
                self.attach_grant(link);
                self.enqueue(link);
            }
            oldest = oldest.min(link.owes_since.get());
            link.owes_grant.get()
        });
        self.granting_since.set(oldest);
    }

    /// Queues every grant that is owed, before the core sleeps. Says whether there was any.
    pub(super) fn acknowledge_all(&self) -> bool {
        let mut owing = self.granting.borrow_mut();
        let mut any = false;
        for link in owing.drain(..) {
            if link.owes_grant.get() {
                self.attach_grant(&link);
                self.enqueue(&link);
                any = true;
            }
        }
        any
    }

    /// Puts the grant a link owes in front of its other bytes.
    pub(super) fn attach_grant(&self, link: &Rc<Link>) {
        if link.owes_grant.replace(false)
            && let Some(grant) = link.inbound.borrow_mut().poll_grant(true)
        {
            link.outbound.borrow_mut().queue_grant(grant);
        }
    }
}

/// What to say of a message that finds no room now: one that is too long never will.
#[cold]
fn no_room<P>(body_cap: u32, head: SendHead<'_>, payload: &P) -> Refusal
where
    P: Payload + ?Sized,
{
    let limit = body_cap as usize;
    let extension_bytes = match head {
        SendHead::Tell { .. } => 0,
        SendHead::TellFor { .. } | SendHead::Ask { .. } => EXTENSION_BYTES,
    };
    let bytes = match payload.write(&mut []) {
        Ok(bytes) | Err(EncodeError::NoRoom { needed: bytes }) => bytes + extension_bytes,
        Err(_) => return Refusal::Encode,
    };
    if bytes > limit {
        Refusal::TooLarge { bytes, limit }
    } else {
        Refusal::NoRoom
    }
}

#[cold]
fn refusal(error: PushError) -> Refusal {
    match error {
        PushError::TooLarge { bytes, limit } => Refusal::TooLarge { bytes, limit },
        PushError::TypesExhausted => Refusal::TooManyTypes,
        PushError::Encode => Refusal::Encode,
        PushError::Ending => Refusal::Stopping,
        PushError::TargetBusy => Refusal::Busy,
        _ => Refusal::NoRoom,
    }
}
