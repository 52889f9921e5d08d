//! From received bytes to handlers: parse, account, dispatch.
//!
//! The loop here is the hot path of a receiving core. Per message it does no allocation, takes no
//! lock and reads no clock: the header is parsed and its checksum verified in place, two indexed
//! loads find the actor, and the payload reaches the handler as a view of the receive buffer.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use ringmesh_proto::address::Uid;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{
    Checksums, Extension, Frame, Header, Parsed, Tell, parse_tell, parse_with,
};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_transport::buffer::Chunk;

use super::budget::Budget;
use super::link::{Connection, Intake, Link};
use super::payload::Payload;
use super::user_code::panic_message;
use super::{Asker, Core, Extra, Question};
use crate::actor::{ActorCell, Delivered, Delivery, Turn};
use crate::dead_letter::DeadLetterReason;
use crate::error::AskError;

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
    if link.of_client.get() {
        core.renew_routes(link);
    }
    let mut intake = connection.intake.borrow_mut();
    loop {
        let Some(front) = whole_front(core, &mut intake, link.body_cap) else {
            return Ok(Left::Nothing);
        };
        // Behind the look for more: a lone message is not followed by a reading of the clock that
        // its answer would wait for.
        let stride = core.next_stride(budget);
        if stride == 0 {
            let _ = intake.put_back(front, 0);
            return Ok(Left::More);
        }
        let batch = Batch {
            core,
            link,
            front,
            parsed: Cell::new(0),
            dispatched: Cell::new(0),
            last: Cell::new((0, 0)),
            stride,
            copy_out,
        };
        let ended = batch.run();
        let Batch {
            front,
            parsed,
            dispatched,
            last,
            ..
        } = batch;
        core.lay_aside(intake.put_back(front, parsed.get()));
        core.spend(budget, link, dispatched.get(), last.get());
        match ended? {
            Ended::Budget | Ended::Front => {}
            Ended::Link => return Ok(Left::Nothing),
            Ended::Incomplete { needed } => {
                if !assemble(core, &mut intake, needed, link.body_cap) {
                    return Ok(Left::Nothing);
                }
            }
        }
    }
}

/// The bytes to parse next, with the frame at their front in one piece.
fn whole_front(core: &Core, intake: &mut Intake, body_cap: u32) -> Option<Chunk> {
    if intake.is_partial() && !assemble(core, intake, 0, body_cap) {
        return None;
    }
    intake.take_front()
}

fn assemble(core: &Core, intake: &mut Intake, needed: usize, body_cap: u32) -> bool {
    let whole = intake.assemble(needed, body_cap);
    if whole {
        core.tally.frames_copied_straddled.add(1);
    }
    whole
}

/// Whether the link goes on behind a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Ended,
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
pub(super) struct Batch<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) link: &'a Rc<Link>,
    pub(super) front: Chunk,
    /// Bytes of `front` that were parsed. Moves on before a handler runs, so that a panic leaves it
    /// behind the frame that caused it.
    parsed: Cell<usize>,
    dispatched: Cell<u32>,
    /// The target and type numbers of the last message.
    last: Cell<(u32, u16)>,
    stride: u32,
    copy_out: bool,
}

/// The recipient of the last messages, which were alike, and their number in its protocol.
struct Latest {
    actor: Rc<ActorCell>,
    index: u16,
}

impl Batch<'_> {
    /// Dispatches messages. A panic ends the actor that caused it, and the batch goes on behind its
    /// message.
    fn run(&self) -> Result<Ended, CloseReason> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_until_panic())) {
                Ok(ended) => return ended,
                Err(payload) => match self.core.running_actor.take() {
                    Some(place) => {
                        let panic = panic_message(payload);
                        self.core.handler_panicked(self.link, place, &panic);
                    }
                    // Not a handler's: the core's own state cannot be trusted any more.
                    None => resume_unwind(payload),
                },
            }
        }
    }

    fn run_until_panic(&self) -> Result<Ended, CloseReason> {
        if self.link.within_process {
            self.frames(Checksums::Absent)
        } else {
            self.frames(Checksums::Verified)
        }
    }

    /// Twice in the program, once for either sort of link.
    #[inline(always)]
    fn frames(&self, checksums: Checksums) -> Result<Ended, CloseReason> {
        let body_cap = self.link.body_cap;
        let mut latest = None;
        while self.dispatched.get() < self.stride {
            let rest = &self.front[self.parsed.get()..];
            if rest.is_empty() {
                return Ok(Ended::Front);
            }
            if let Some(tell) = parse_tell(rest, body_cap, checksums) {
                self.handle_tell(tell, &mut latest)?;
                continue;
            }
            // It may give a number to another recipient.
            latest = None;
            match parse_with(rest, body_cap, checksums, |frame| self.handle(frame))? {
                Parsed::Complete(Ok(Flow::On)) => {}
                Parsed::Complete(Ok(Flow::Ended)) => return Ok(Ended::Link),
                Parsed::Complete(Err(reason)) => return Err(reason),
                Parsed::Incomplete { needed } => return Ok(Ended::Incomplete { needed }),
            }
        }
        Ok(Ended::Budget)
    }

    /// What [`handle`](Self::handle) does with most frames, in fewer steps.
    #[inline(always)]
    fn handle_tell(&self, tell: Tell, latest: &mut Option<Latest>) -> Result<(), CloseReason> {
        let start = self.parsed.get() + HEADER_BYTES;
        let end = self.parsed.get() + tell.wire_bytes;
        self.parsed.set(end);
        let mut inbound = self.link.inbound.borrow_mut();
        inbound.accept(tell.wire_bytes)?;
        drop(inbound);
        let numbers = (tell.target_number, tell.type_number);
        let is_like_last = self.last.get() == numbers;
        self.count(numbers);
        match latest {
            Some(Latest { actor, index }) if is_like_last && actor.is_alive() => {
                let turn = self.deliver_known(actor, *index, (numbers.0, Extra::None), start, end);
                if !turn.is_plain() {
                    return self.finish(actor, turn);
                }
                self.core.tally.delivered.add(1);
            }
            _ => {
                self.dispatch(numbers, Extra::None, start, end)?;
                // Not of the first one: where messages for many come in turn, none is like the
                // last.
                let routes = self.link.routes.borrow();
                let known = is_like_last.then(|| routes.known(numbers.0, numbers.1));
                *latest = known.flatten().map(|(actor, index)| Latest {
                    actor: Rc::clone(actor),
                    index,
                });
            }
        }
        Ok(())
    }

    /// Takes note of a message that is about to be handled.
    #[inline(always)]
    fn count(&self, numbers: (u32, u16)) {
        self.dispatched.set(self.dispatched.get() + 1);
        self.last.set(numbers);
    }

    fn handle(&self, frame: Frame<'_>) -> Result<Flow, CloseReason> {
        let start = self.parsed.get() + frame.payload_offset;
        let end = self.parsed.get() + frame.wire_bytes;
        self.parsed.set(end);
        let Header {
            kind,
            type_number,
            target_number,
            ..
        } = frame.header;
        if kind.is_positioned() {
            self.link.inbound.borrow_mut().accept(frame.wire_bytes)?;
        }
        if !kind.is_message() {
            // A copy, so that only here the frame has to be in memory.
            let service = frame;
            return self.handle_service(&service);
        }
        let numbers = (target_number, type_number);
        self.count(numbers);
        match (kind, frame.extension) {
            (Kind::Tell, extension) => {
                let extra = self.told_for(extension)?;
                self.dispatch(numbers, extra, start, end)?;
            }
            (Kind::Ask, Some(extension)) => {
                let Extension {
                    correlation,
                    remaining_us,
                    ..
                } = extension;
                if remaining_us == 0 {
                    self.come_too_late(numbers, correlation);
                    return Ok(Flow::On);
                }
                let question = Question::arrived(self.core, correlation, remaining_us);
                self.dispatch(numbers, Extra::Question(question), start, end)?;
            }
            (kind, extension) => self.answer(kind, type_number, extension, start, end)?,
        }
        Ok(Flow::On)
    }

    /// For which node a message is told, if it says that. None on a link that leads elsewhere may:
    /// whoever sends by that is known from it alone.
    fn told_for(&self, extension: Option<Extension>) -> Result<Extra, CloseReason> {
        let Some(Extension { correlation, .. }) = extension else {
            return Ok(Extra::None);
        };
        let is_own = self.link.within_process && self.link.passage.is_none();
        let sender = Uid::new(correlation).filter(|_| is_own);
        sender
            .map(Extra::Publisher)
            .ok_or(CloseReason::UnexpectedFrame(Kind::Tell))
    }

    /// The time of a question was up before it left its node.
    #[cold]
    fn come_too_late(&self, numbers: (u32, u16), correlation: u64) {
        self.core.tally.received.add(1);
        let (reason, link) = (DeadLetterReason::Expired, self.link);
        let describe = |core: &Core| core.describe(link, numbers);
        self.core.bury(reason, 1, link, describe);
        Asker::new(self.core, link, correlation).fail(ErrorCode::Expired);
    }

    #[cold]
    fn handle_service(&self, frame: &Frame<'_>) -> Result<Flow, CloseReason> {
        self.core.handle_service_frame(self.link, frame)?;
        Ok(if self.link.ended.get() || self.link.is_lost() {
            Flow::Ended
        } else {
            Flow::On
        })
    }

    /// Takes a message to its handler.
    #[inline(always)]
    fn dispatch(
        &self,
        numbers: (u32, u16),
        extra: Extra,
        start: usize,
        end: usize,
    ) -> Result<(), CloseReason> {
        let routes = self.link.routes.borrow();
        let Some((actor, index)) = routes.known(numbers.0, numbers.1) else {
            drop(routes);
            return self.dispatch_first(numbers, extra, start, end);
        };
        let turn = self.deliver_known(actor, index, (numbers.0, extra), start, end);
        if turn.is_plain() {
            self.core.tally.delivered.add(1);
            return Ok(());
        }
        let actor = Rc::clone(actor);
        drop(routes);
        self.finish(&actor, turn)
    }

    /// Hands a message to the actor that was found for it.
    #[inline(always)]
    fn deliver_known(
        &self,
        actor: &ActorCell,
        index: u16,
        brought: (u32, Extra),
        start: usize,
        end: usize,
    ) -> Turn {
        self.core.tally.received.add(1);
        self.deliver(actor, index, brought, self.payload(start, end))
    }

    #[inline(always)]
    pub(super) fn payload(&self, start: usize, end: usize) -> Payload<'_> {
        Payload {
            front: &self.front,
            start,
            end,
            copy_out: self.copy_out,
        }
    }

    #[inline(always)]
    pub(super) fn deliver(
        &self,
        actor: &ActorCell,
        index: u16,
        (target_number, extra): (u32, Extra),
        payload: Payload<'_>,
    ) -> Turn {
        let core = self.core;
        core.running.question.set(extra.correlation());
        match extra {
            Extra::None => {}
            Extra::Question(Question { deadline, .. }) => core.deadline.set(Some(deadline)),
            Extra::Publisher(_) => core.running.extra.set(extra),
        }
        core.running_actor.set(Some((actor.slot, actor.generation)));
        let delivery = Delivery {
            payload,
            link: self.link,
            target_number,
            extra,
        };
        let turn = actor.deliver(core, index, delivery);
        core.running_actor.set(None);
        match extra {
            Extra::None => {}
            Extra::Question(_) => core.deadline.set(None),
            Extra::Publisher(_) => core.running.extra.set(Extra::None),
        }
        turn
    }

    /// What follows a handler besides counting its message.
    #[cold]
    pub(super) fn finish(&self, actor: &Rc<ActorCell>, turn: Turn) -> Result<(), CloseReason> {
        let tally = &self.core.tally;
        match turn.outcome.0 {
            Delivered::Handled => tally.delivered.add(1),
            Delivered::Waiting => tally.waiting.add(1),
            Delivered::Invalid(error) => {
                self.bury_last(DeadLetterReason::Invalid);
                tracing::debug!(%error, actor = %actor, "a message is not valid");
                return Err(CloseReason::Archive);
            }
            Delivered::NoSuchMessage => self.bury_last(DeadLetterReason::UnknownMessage),
        }
        if turn.stop {
            self.core.stop_cell(actor);
        }
        Ok(())
    }

    /// The message that came last reached nobody.
    fn bury_last(&self, reason: DeadLetterReason) {
        let describe = |core: &Core| core.describe(self.link, self.last.get());
        self.core.bury(reason, 1, self.link, describe);
    }

    /// Takes an answer, or the error that stands for it, to whoever asked.
    fn answer(
        &self,
        kind: Kind,
        type_number: u16,
        extension: Option<Extension>,
        start: usize,
        end: usize,
    ) -> Result<(), CloseReason> {
        let core = self.core;
        let payload = self.payload(start, end);
        let Some(extension) = extension else {
            return Ok(());
        };
        let message = match kind {
            Kind::Reply => Some(*self.link.inbound.borrow().message_type(type_number)?),
            _ => None,
        };
        if self.link.is_near_end() {
            let reply = message.as_ref().map(|message| (message, payload.bytes()));
            core.answer_back(self.link, extension, reply);
            return Ok(());
        }
        let answer = match message {
            Some(message) => Ok((message, payload.take(core))),
            _ => Err(AskError::from_code(ErrorCode::from_wire(extension.code))),
        };
        core.answer_arrived(self.link, extension.correlation, answer)
    }
}
