//! From received bytes to handlers: parse, account, dispatch.
//!
//! The loop here is the hot path of a receiving core. Per message it does no allocation, takes no
//! lock and reads no clock: the header is parsed and its checksum verified in place, two indexed
//! loads find the actor, and the payload reaches the handler as a view of the receive buffer.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{Extension, Frame, Header, Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_transport::buffer::Chunk;

use super::budget::Budget;
use super::link::{Connection, Intake, Link};
use super::{Answer, Asker, Core, Correlation, NoRoute};
use crate::actor::{Delivered, Delivery, Mismatch, Turn};
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
        let mut batch = Batch { core, link, intake: &mut intake, copy_out, dispatched: 0 };
        let ended = batch.run(stride);
        let dispatched = batch.dispatched;
        core.spend(budget, dispatched);
        match ended {
            Ok(Ended::Budget) => {}
            Ok(Ended::Empty) => return Ok(Left::Nothing),
            Err(reason) => return Err(reason),
        }
    }
}

enum Ended {
    Empty,
    Budget,
}

/// Whether the link goes on behind a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Ended,
}

struct Batch<'a> {
    core: &'a Rc<Core>,
    link: &'a Rc<Link>,
    intake: &'a mut Intake,
    copy_out: bool,
    dispatched: u32,
}

impl Batch<'_> {
    /// Dispatches up to `stride` messages. A panic ends the actor that caused it, and the batch goes
    /// on behind its message.
    fn run(&mut self, stride: u32) -> Result<Ended, CloseReason> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.run_until_panic(stride))) {
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

    fn run_until_panic(&mut self, stride: u32) -> Result<Ended, CloseReason> {
        let body_cap = self.core.settings.frame_bytes_max;
        while self.dispatched < stride {
            if self.intake.is_partial() && !self.assemble(0, body_cap) {
                return Ok(Ended::Empty);
            }
            let Some(chunk) = self.intake.front() else { return Ok(Ended::Empty) };
            match parse(chunk, body_cap)? {
                Parse::Complete(frame) => {
                    let arrived = Arrived::new(&frame, chunk, self.copy_out, self.core);
                    self.intake.consume(arrived.wire_bytes);
                    if self.handle(arrived)? == Flow::Ended {
                        return Ok(Ended::Empty);
                    }
                }
                Parse::Incomplete { needed } => {
                    if !self.assemble(needed, body_cap) {
                        return Ok(Ended::Empty);
                    }
                }
            }
        }
        Ok(Ended::Budget)
    }

    fn assemble(&mut self, needed: usize, body_cap: u32) -> bool {
        let whole = self.intake.assemble(needed, body_cap);
        if whole {
            self.core.tally.copied_straddled.add(1);
        }
        whole
    }

    #[inline]
    fn handle(&mut self, arrived: Arrived) -> Result<Flow, CloseReason> {
        let Arrived { header, extension, payload, wire_bytes } = arrived;
        if header.kind.is_positioned() {
            self.link.inbound.borrow_mut().accept(wire_bytes)?;
        }
        match header.kind {
            Kind::Tell => {
                self.dispatched += 1;
                self.dispatch(&header, None, payload)?;
            }
            Kind::Ask => {
                self.dispatched += 1;
                self.dispatch(&header, extension.as_ref(), payload)?;
            }
            Kind::Reply | Kind::Error => {
                self.dispatched += 1;
                self.answer(&header, extension.as_ref(), payload);
            }
            _ => {
                let frame = Frame {
                    header,
                    extension,
                    payload: &payload,
                    payload_offset: header.kind.payload_offset(),
                    wire_bytes,
                };
                self.core.handle_service_frame(self.link, &frame)?;
                if self.link.ended.get() {
                    return Ok(Flow::Ended);
                }
            }
        }
        Ok(Flow::On)
    }

    /// Takes a message to its handler.
    #[inline]
    fn dispatch(
        &self,
        header: &Header,
        question: Option<&Extension>,
        payload: Chunk,
    ) -> Result<(), CloseReason> {
        let core = self.core;
        core.tally.received.add(1);
        let asker = question.map(|extension| Asker::new(core, self.link, extension.correlation));
        core.running.set(question.map(|extension| extension.correlation));
        let routes = self.link.routes.borrow();
        let Some((actor, index)) = routes.known(header.target_number, header.type_number) else {
            drop(routes);
            return self.dispatch_first(header, asker, payload);
        };
        core.running_actor.set(Some((actor.slot, actor.generation)));
        let turn = actor.deliver(core, index, Delivery { payload, asker });
        core.running_actor.set(None);
        if matches!(turn.outcome.0, Delivered::Handled) && !turn.stop {
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
        asker: Option<Asker<'_>>,
        payload: Chunk,
    ) -> Result<(), CloseReason> {
        match self.core.look_up(self.link, header)? {
            Ok((actor, index)) => {
                self.core.running_actor.set(Some((actor.slot, actor.generation)));
                let turn = actor.deliver(self.core, index, Delivery { payload, asker });
                self.core.running_actor.set(None);
                self.finish(&actor, turn)
            }
            Err(no_route) => {
                self.core.count_no_route(no_route);
                if let Some(asker) = asker {
                    asker.refuse(no_route);
                }
                Ok(())
            }
        }
    }

    /// What follows a handler besides counting its message.
    fn finish(&self, actor: &Rc<crate::actor::ActorCell>, turn: Turn) -> Result<(), CloseReason> {
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
    fn answer(&self, header: &Header, extension: Option<&Extension>, payload: Chunk) {
        let core = self.core;
        core.tally.received.add(1);
        let Some(extension) = extension else { return };
        let answer: Answer = match header.kind {
            Kind::Reply => Ok(payload),
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

/// A frame taken out of its receive buffer: small parts copied, the payload as a view.
struct Arrived {
    header: Header,
    extension: Option<Extension>,
    payload: Chunk,
    wire_bytes: usize,
}

impl Arrived {
    #[inline]
    fn new(frame: &Frame<'_>, chunk: &Chunk, copy_out: bool, core: &Core) -> Self {
        let payload = if copy_out && chunk.is_pooled() && frame.header.kind.is_positioned() {
            core.tally.copied_pinned.add(1);
            Chunk::copied_from(frame.payload)
        } else {
            chunk.slice(frame.payload_offset..frame.payload_offset + frame.payload.len())
        };
        Self {
            header: frame.header,
            extension: frame.extension,
            payload,
            wire_bytes: frame.wire_bytes,
        }
    }
}
