//! From a ref to the wire: encode in place, account, gather, hand to the ring.

use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_proto::archive::{self, EncodeError};
use ringmesh_proto::frame::Extension;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::{Payload, PayloadError, PushError, SendHead, Target};
use ringmesh_proto::message::Message;
use ringmesh_proto::slab::SlabSlice;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::contract::Transport;

use super::asks::AskTable;
use super::link::Link;
use super::peers::NodeIndex;
use super::{Answer, Core, Correlation, LinkId, Token};
use crate::ask::AskRefusal;
use crate::error::Refusal;
use crate::reference::Recipient;

/// Bytes given to the kernel in one send at most. Large enough to pay for the call many times over,
/// small enough that the peer starts on the first batch while the second is encoded.
const SEND_BYTES_MAX: usize = 256 << 10;

/// How long a grant waits for other bytes to travel with.
const GRANT_DELAY: Duration = Duration::from_millis(1);

impl Core {
    /// Sends a message that nobody answers.
    #[inline]
    pub(crate) fn tell<M: Message>(&self, to: Recipient, message: &M) -> Result<(), Refusal> {
        let peers = self.peers.borrow();
        let link = peers.link_to(to)?;
        self.push(link, Kind::Tell, to, None, message)
    }

    /// Sends a question. Its answer, or what became of it, is at the correlation afterwards.
    pub(crate) fn ask<M: Message>(
        &self,
        to: Recipient,
        message: &M,
        timeout: Duration,
    ) -> Result<Correlation, AskRefusal> {
        let mut asks = self.asks.borrow_mut();
        let limit = AskTable::ASKS_MAX;
        let correlation = asks.next().ok_or(AskRefusal::TooManyAsks { limit })?;
        let peers = self.peers.borrow();
        let link = peers.link_to(to).map_err(AskRefusal::Send)?;
        let extension = Extension {
            correlation: correlation.to_wire(),
            deadline_us: u32::try_from(timeout.as_micros()).unwrap_or(u32::MAX),
            code: 0,
        };
        let position = link.outbound.borrow().positions().tail;
        self.push(link, Kind::Ask, to, Some(extension), message).map_err(AskRefusal::Send)?;
        let deadline = self.set_timer(self.clock.now() + timeout, Token::Ask(correlation));
        asks.occupy(link.id, position, deadline);
        Ok(correlation)
    }

    #[inline]
    fn push<M: Message>(
        &self,
        link: &Rc<Link>,
        kind: Kind,
        to: Recipient,
        extension: Option<Extension>,
        message: &M,
    ) -> Result<(), Refusal> {
        let target = Target { slot: to.slot, generation: to.generation };
        let head = SendHead { kind, message: &M::TYPE, target, extension };
        let mut slabs = self.slabs.borrow_mut();
        match link.outbound.borrow_mut().push(&mut slabs, head, &Encoded(message)) {
            Ok(()) => {
                self.tally.sent.add(1);
                self.enqueue(link);
                Ok(())
            }
            Err(error) => Err(refusal(error)),
        }
    }

    /// Puts a link on the list of those with something to send.
    #[inline]
    pub(super) fn enqueue(&self, link: &Rc<Link>) {
        if !link.queued.replace(true) {
            self.sendable.borrow_mut().push(Rc::clone(link));
        }
    }

    /// Wakes `waker` when a refused send to that node may go better: credit came, the link is up, or
    /// it is gone.
    pub(crate) fn wait_for_room(&self, node: NodeIndex, waker: &Waker) {
        self.peers.borrow_mut().wait(node, waker);
    }

    /// The answer to a question, when it is there; else notes whom to wake.
    pub(crate) fn take_answer(&self, correlation: Correlation, waker: &Waker) -> Option<Answer> {
        self.asks.borrow_mut().take(correlation, waker)
    }

    pub(crate) fn forget_ask(&self, correlation: Correlation) {
        let timer = self.asks.borrow_mut().forget(correlation);
        if let Some(timer) = timer {
            self.cancel_timer(timer);
        }
    }

    /// Records what a question came to. Says whether anyone waits for it.
    pub(super) fn resolve_ask(
        &self,
        correlation: Correlation,
        link: Option<LinkId>,
        answer: Answer,
    ) -> bool {
        let resolved = self.asks.borrow_mut().resolve(correlation, link, answer);
        let Some((timer, waker)) = resolved else { return false };
        if let Some(timer) = timer {
            self.cancel_timer(timer);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Gives each link's pending bytes to the ring, one send per link. Says whether there were any.
    pub(super) fn send_pending(self: &Rc<Self>) -> bool {
        self.queue_due_grants();
        let links = std::mem::take(&mut *self.sendable.borrow_mut());
        let any = !links.is_empty();
        for link in &links {
            link.queued.set(false);
            self.send_on(link);
        }
        self.reuse(links);
        any
    }

    /// Puts the emptied list back, so that its memory is allocated once.
    fn reuse(&self, mut links: Vec<Rc<Link>>) {
        links.clear();
        let mut sendable = self.sendable.borrow_mut();
        links.append(&mut sendable);
        *sendable = links;
    }

    fn send_on(self: &Rc<Self>, link: &Rc<Link>) {
        if link.sending.get() || link.ended.get() {
            return;
        }
        self.attach_grant(link);
        let mut slices = self.slices.take();
        link.outbound.borrow_mut().gather(SEND_BYTES_MAX, &mut slices);
        if !slices.is_empty() {
            match link.connection {
                Some(connection) => {
                    link.sending.set(true);
                    self.io.borrow_mut().send(connection, &mut slices);
                }
                None => self.loop_back(link, &mut slices),
            }
        }
        slices.clear();
        self.slices.set(slices);
    }

    /// Carries the core's messages to itself: the same bytes, parsed by the same loop.
    fn loop_back(&self, link: &Rc<Link>, slices: &mut Vec<SlabSlice>) {
        let mut intake = self.own_connection.intake.borrow_mut();
        for slice in slices.drain(..) {
            self.tally.copied_other.add(1);
            intake.push(Chunk::copied_from(&slice));
        }
        drop(intake);
        self.make_readable(&self.own_connection);
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
    }

    /// Notes that a link received something it will have to acknowledge.
    pub(super) fn owe_grant(&self, link: &Rc<Link>) {
        if !link.owes_grant.replace(true) {
            link.owes_since.set(self.clock.now());
            self.granting.borrow_mut().push(Rc::clone(link));
        }
    }

    /// Queues the grants that wait no longer: much was received since the last, or time passed.
    fn queue_due_grants(&self) {
        if self.granting.borrow().is_empty() {
            return;
        }
        let now = self.clock.now();
        self.granting.borrow_mut().retain(|link| {
            let late = now.saturating_since(link.owes_since.get()) >= GRANT_DELAY;
            let due = late || link.inbound.borrow().is_grant_due();
            if due {
                self.attach_grant(link);
                self.enqueue(link);
            }
            link.owes_grant.get()
        });
    }

    /// Queues every grant that is owed, before the core sleeps.
    pub(super) fn acknowledge_all(&self) -> bool {
        let owing = std::mem::take(&mut *self.granting.borrow_mut());
        for link in &owing {
            self.attach_grant(link);
            self.enqueue(link);
        }
        !owing.is_empty()
    }

    /// Puts the grant a link owes in front of its other bytes.
    fn attach_grant(&self, link: &Rc<Link>) {
        if !link.owes_grant.replace(false) {
            return;
        }
        if let Some(grant) = link.inbound.borrow_mut().take_grant() {
            link.outbound.borrow_mut().push_grant(grant);
        }
    }
}

/// A message as the payload of a frame.
struct Encoded<'a, M>(&'a M);

impl<M: Message> Payload for Encoded<'_, M> {
    #[inline]
    fn exact_bytes(&self) -> Option<usize> {
        M::FLAT.then_some(size_of::<M::Archived>())
    }

    #[inline]
    fn write(&self, into: &mut [u8]) -> Result<usize, PayloadError> {
        archive::encode(self.0, into).map_err(|error| match error {
            EncodeError::NoRoom => PayloadError::NoRoom,
            _ => PayloadError::Failed,
        })
    }

    fn measure(&self) -> Result<usize, PayloadError> {
        archive::measure(self.0).map_err(|_| PayloadError::Failed)
    }
}

#[cold]
fn refusal(error: PushError) -> Refusal {
    match error {
        PushError::TooLarge { bytes, limit } => Refusal::TooLarge { bytes, limit },
        PushError::TypesExhausted => Refusal::TooManyTypes,
        PushError::Encode => Refusal::Encode,
        _ => Refusal::NoRoom,
    }
}
