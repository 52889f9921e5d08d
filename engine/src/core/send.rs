//! From a ref to the wire: encode in place, account, gather, hand to the ring.

use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_proto::frame::Extension;
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_proto::link::{PushError, SendHead};
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

/// Bytes that a core puts on one link before it gathers them. So the peer works on the first while
/// the next are written, and those are still in the cache when they are sealed and copied:
/// measured, 64-byte messages stream 8 % faster than with the window as the only bound, 128 KiB and
/// less cost more calls than they gain.
pub(super) const TURN_SHARE_BYTES: u64 = 256 << 10;

/// How long a grant waits for other bytes to travel with.
const GRANT_DELAY: Duration = Duration::from_millis(1);

impl Core {
    /// Sends a message that nobody answers.
    #[inline]
    pub(crate) fn tell<M: Message>(&self, to: Recipient, message: &M) -> Result<(), Refusal> {
        let peers = self.peers.borrow();
        let link = peers.link_to(to)?;
        let head = SendHead::Tell {
            message: &M::TYPE,
            target: to.target(),
        };
        self.push(link, head, message)?;
        Ok(())
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
        if link.asks.get() >= ASKS_OUTSTANDING_MAX {
            return Err(AskRefusal::TooManyAsks {
                limit: ASKS_OUTSTANDING_MAX,
            });
        }
        let extension = Extension {
            correlation: correlation.to_wire(),
            remaining_us: Extension::micros(timeout),
            code: 0,
        };
        let head = SendHead::Ask {
            message: &M::TYPE,
            target: to.target(),
            extension,
        };
        let position = self.push(link, head, message).map_err(AskRefusal::Send)?;
        let deadline = self.set_timer(self.clock.now() + timeout, Token::Ask(correlation));
        link.asks.set(link.asks.get() + 1);
        asks.occupy(link, position, deadline);
        Ok(correlation)
    }

    /// Writes a message into the link's stream and returns its position.
    #[inline]
    fn push<M: Message>(
        &self,
        link: &Rc<Link>,
        head: SendHead<'_>,
        message: &M,
    ) -> Result<u64, Refusal> {
        let mut slabs = self.slabs.borrow_mut();
        let mut outbound = link.outbound.borrow_mut();
        if outbound.positions().tail >= link.share_to.get() {
            return Err(Refusal::NoRoom);
        }
        match outbound.push(&mut slabs, head, message) {
            Ok(position) => {
                self.tally.sent.add(1);
                self.enqueue(link);
                Ok(position)
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

    /// Wakes `waker` when a refused send to that node may go better: credit came, the link is up,
    /// or it is gone.
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
        let Some((timer, waker)) = resolved else {
            return false;
        };
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
        self.queue_late_grants();
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

    pub(super) fn send_on(self: &Rc<Self>, link: &Rc<Link>) {
        if link.sending.get() || link.ended.get() {
            return;
        }
        self.attach_grant(link);
        let mut slices = self.slices.take();
        self.gather(link, &mut slices);
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

    /// Takes what is to be sent next, and lets the link's senders go on.
    fn gather(&self, link: &Link, into: &mut Vec<SlabSlice>) {
        let mut outbound = link.outbound.borrow_mut();
        if outbound.deferred() > 0 {
            outbound.drain_deferred(&mut self.slabs.borrow_mut());
        }
        outbound.gather(SEND_BYTES_MAX, into);
        link.share_to
            .set(outbound.positions().tail + TURN_SHARE_BYTES);
        drop(outbound);
        self.peers.borrow_mut().wake(link.peer);
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

    /// Notes that a link received something it will have to acknowledge; grants at once when much
    /// has come in since the last grant.
    pub(super) fn owe_grant(&self, link: &Rc<Link>) {
        let due = link.inbound.borrow_mut().poll_grant(false);
        if let Some(grant) = due {
            link.owes_grant.set(false);
            link.outbound.borrow_mut().queue_grant(grant);
            self.enqueue(link);
        } else if !link.owes_grant.replace(true) {
            link.owes_since.set(self.clock.now());
            self.granting.borrow_mut().push(Rc::clone(link));
        }
    }

    /// Queues the grants that have waited for other bytes to travel with for long enough.
    fn queue_late_grants(&self) {
        if self.granting.borrow().is_empty() {
            return;
        }
        let now = self.clock.now();
        self.granting.borrow_mut().retain(|link| {
            let late = now.saturating_since(link.owes_since.get()) >= GRANT_DELAY;
            if link.owes_grant.get() && late {
                self.attach_grant(link);
                self.enqueue(link);
            }
            link.owes_grant.get()
        });
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
    fn attach_grant(&self, link: &Rc<Link>) {
        if link.owes_grant.replace(false)
            && let Some(grant) = link.inbound.borrow_mut().poll_grant(true)
        {
            link.outbound.borrow_mut().queue_grant(grant);
        }
    }
}

#[cold]
fn refusal(error: PushError) -> Refusal {
    match error {
        PushError::TooLarge { bytes, limit } => Refusal::TooLarge { bytes, limit },
        PushError::TypesExhausted => Refusal::TooManyTypes,
        PushError::Encode => Refusal::Encode,
        PushError::Ending => Refusal::Stopping,
        _ => Refusal::NoRoom,
    }
}
