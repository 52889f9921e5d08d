//! From received bytes to handlers: parse, account, dispatch.
//!
//! The loop here is the hot path of a receiving core. Per message it does no allocation, takes no
//! lock and reads no clock: the header is parsed and its checksum verified in place, two indexed
//! loads find the actor, and the payload reaches the handler as a view of the receive buffer.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{Extension, Header, Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_transport::buffer::Chunk;

use super::budget::Budget;
use super::link::{Connection, Intake, Link};
use super::{Answer, Asker, Core, Correlation, NoRoute};
use crate::actor::{ActorCell, Delivered, Delivery, Mismatch, Turn};
use crate::error::{AskError, panic_message};

/// What a batch left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing, or a frame that is not whole yet.
    Nothing,
    /// More frames; the turn's budget is spent.
    More,
}

/// Dispatches what waits on a linked connection, within the budget.
pub(super) fn drain(
    core: &Rc<Core>,
    connection: &Connection,
    link: &Rc<Link>,
    budget: &mut Budget,
) -> Result<Left, CloseReason> {
    let copy_out = core.is_pool_short();
    let mut intake = connection.intake.borrow_mut();
    loop {
        let stride = budget.stride();
        if stride == 0 {
            return Ok(Left::More);
        }
        let Some(front) = whole_front(core, &mut intake) else { return Ok(Left::Nothing) };
        let mut batch = Batch { core, link, front, parsed: 0, dispatched: 0, stride, copy_out };
        let ended = batch.run();
        let Batch { front, parsed, dispatched, .. } = batch;
        intake.put_back(front, parsed);
        core.spend(budget, dispatched);
        match ended? {
            Ended::Budget | Ended::Front => {}
            Ended::Link => return Ok(Left::Nothing),
            Ended::Incomplete { needed } => {
                if !assemble(core, &mut intake, needed) {
                    return Ok(Left::Nothing);
                }
            }
        }
    }
}

/// The bytes to parse next, with the frame at their front in one piece.
fn whole_front(core: &Core, intake: &mut Intake) -> Option<Chunk> {
    if intake.is_partial() && !assemble(core, intake, 0) {
        return None;
    }
    intake.take_front()
}

fn assemble(core: &Core, intake: &mut Intake, needed: usize) -> bool {
    let whole = intake.assemble(needed, core.settings.frame_bytes_max);
    if whole {
        core.tally.copied_straddled.add(1);
    }
    whole
}

/// Why a batch ended.
enum Ended {
    /// It dispatched as many messages as it may.
    Budget,
    /// The chunk is used up.
    Front,
    /// The chunk ends within a frame.
    Incomplete { needed: usize },
    /// The link ended.
    Link,
}

/// Frames that lie in one chunk.
struct Batch<'a> {
    core: &'a Rc<Core>,
    link: &'a Rc<Link>,
    front: Chunk,
    /// Bytes of `front` that were parsed. Moves on before a handler runs, so that a panic leaves it
    /// behind the frame that caused it.
    parsed: usize,
    dispatched: u32,
    stride: u32,
    copy_out: bool,
}

impl Batch<'_> {
    /// Dispatches messages. A panic ends the actor that caused it, and the batch goes on behind its
    /// message.
    fn run(&mut self) -> Result<Ended, CloseReason> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_until_panic())) {
                Ok(ended) => return ended,
                Err(payload) => match self.core.running_actor.take() {
                    Some(place) => {
                        self.core.handler_panicked(self.link, place, &panic_message(&*payload));
                    }
                    // Not a handler's: the core's own state cannot be trusted any more.
                    None => resume_unwind(payload),
                },
            }
        }
    }

    fn run_until_panic(&mut self) -> Result<Ended, CloseReason> {
        let body_cap = self.core.settings.frame_bytes_max;
        while self.dispatched < self.stride {
            if self.parsed == self.front.len() {
                return Ok(Ended::Front);
            }
            let frame = match parse(&self.front[self.parsed..], body_cap)? {
                Parse::Complete(frame) => frame,
                Parse::Incomplete { needed } => return Ok(Ended::Incomplete { needed }),
            };
            let start = self.parsed + frame.payload_offset;
            self.parsed += frame.wire_bytes;
            if frame.header.kind.is_positioned() {
                self.link.inbound.borrow_mut().accept(frame.wire_bytes)?;
            }
            if frame.header.kind.is_message() {
                self.dispatched += 1;
                let payload = Payload {
                    front: &self.front,
                    range: start..self.parsed,
                    copy_out: self.copy_out,
                };
                self.handle_message(&frame.header, frame.extension, payload)?;
            } else {
                self.core.handle_service_frame(self.link, &frame)?;
                if self.link.ended.get() {
                    return Ok(Ended::Link);
                }
            }
        }
        Ok(Ended::Budget)
    }

    #[inline]
    fn handle_message(
        &self,
        header: &Header,
        extension: Option<Extension>,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        self.core.tally.received.add(1);
        match (header.kind, extension) {
            (Kind::Tell, _) => self.dispatch(header, None, payload),
            (Kind::Ask, Some(extension)) => {
                self.dispatch(header, Some(extension.correlation), payload)
            }
            (kind, extension) => {
                self.answer(kind, extension, payload);
                Ok(())
            }
        }
    }

    /// Takes a message to its handler.
    #[inline]
    fn dispatch(
        &self,
        header: &Header,
        question: Option<u64>,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        let core = self.core;
        let routes = self.link.routes.borrow();
        let Some((actor, index)) = routes.known(header.target_number, header.type_number) else {
            drop(routes);
            return self.dispatch_first(header, question, payload);
        };
        let turn = self.deliver(actor, index, question, payload);
        if turn.is_plain() {
            core.tally.delivered.add(1);
            return Ok(());
        }
        let actor = Rc::clone(actor);
        drop(routes);
        self.finish(&actor, turn)
    }

    /// The first message of a (recipient, type) pair, and every one that has no recipient.
    #[cold]
    fn dispatch_first(
        &self,
        header: &Header,
        question: Option<u64>,
        payload: Payload<'_>,
    ) -> Result<(), CloseReason> {
        match self.core.look_up(self.link, header)? {
            Ok((actor, index)) => {
                let turn = self.deliver(&actor, index, question, payload);
                self.finish(&actor, turn)
            }
            Err(no_route) => {
                self.core.count_no_route(no_route);
                if let Some(correlation) = question {
                    Asker::new(self.core, self.link, correlation).refuse(no_route);
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn deliver(
        &self,
        actor: &ActorCell,
        index: u16,
        question: Option<u64>,
        payload: Payload<'_>,
    ) -> Turn {
        let core = self.core;
        let asker = question.map(|correlation| Asker::new(core, self.link, correlation));
        core.running.set(question);
        core.running_actor.set(Some((actor.slot, actor.generation)));
        let turn = actor.deliver(core, index, Delivery { payload, asker });
        core.running_actor.set(None);
        turn
    }

    /// What follows a handler besides counting its message.
    #[cold]
    fn finish(&self, actor: &Rc<ActorCell>, turn: Turn) -> Result<(), CloseReason> {
        let tally = &self.core.tally;
        match turn.outcome.0 {
            Delivered::Handled => tally.delivered.add(1),
            Delivered::Invalid(error) => {
                tally.dead_invalid.add(1);
                tracing::debug!(%error, actor = %actor, "a message is not valid");
                return Err(CloseReason::Archive);
            }
            Delivered::NoSuchMessage => {
                self.core.count_no_route(NoRoute::Mismatch(Mismatch::UnknownMessage));
            }
        }
        if turn.stop {
            self.core.stop_cell(actor);
        }
        Ok(())
    }

    /// Takes an answer, or the error that stands for it, to whoever asked.
    fn answer(&self, kind: Kind, extension: Option<Extension>, payload: Payload<'_>) {
        let core = self.core;
        let Some(extension) = extension else { return };
        let answer: Answer = match kind {
            Kind::Reply => Ok(payload.take(core)),
            _ => Err(AskError::from_code(ErrorCode::from_wire(extension.code))),
        };
        let correlation = Correlation::from_wire(extension.correlation);
        if core.resolve_ask(correlation, Some(self.link.id), answer) {
            core.tally.delivered.add(1);
        } else {
            core.tally.dead_late_answer.add(1);
        }
    }
}

/// The payload of a message, still in the chunk it arrived in.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    front: &'a Chunk,
    range: Range<usize>,
    /// Too many receive buffers are held: what may be kept is copied.
    copy_out: bool,
}

impl Payload<'_> {
    /// The payload as a chunk of its own: a view, or a copy while receive buffers are short.
    #[inline]
    pub(crate) fn take(self, core: &Core) -> Chunk {
        if self.copy_out && self.front.is_pooled() {
            return self.copied(core);
        }
        self.front.slice(self.range)
    }

    #[cold]
    fn copied(self, core: &Core) -> Chunk {
        core.tally.copied_pinned.add(1);
        Chunk::copied_from(&self.front[self.range])
    }
}
