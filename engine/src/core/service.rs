//! Frames of a link that carry no message: numbers, grants, pings, goodbyes.

use std::rc::Rc;

use ringmesh_proto::association::Association;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::Context;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::{DefineTarget, DefineType, Grant, Notice};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::Defined;

use super::Core;
use super::link::Link;

impl Core {
    pub(super) fn handle_service_frame(
        self: &Rc<Self>,
        link: &Rc<Link>,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        match frame.header.kind {
            Kind::DefineType => {
                link.inbound
                    .borrow_mut()
                    .define_type(&DefineType::parse(frame)?)?;
            }
            Kind::DefineTarget => {
                let definition = DefineTarget::parse(frame)?;
                let defined = link.inbound.borrow_mut().define_target(&definition)?;
                if defined == Defined::Anew {
                    link.routes.borrow_mut().redefine(definition.number);
                    self.withdraw_busy(link, definition.number);
                }
            }
            Kind::Grant => self.handle_grant(link, Grant::parse(frame)?)?,
            Kind::Busy | Kind::Ready => self.handle_notice(link, Notice::parse(frame)?)?,
            Kind::Cancel => self.handle_cancel(link, frame.extension),
            Kind::Ping | Kind::Pong | Kind::Bye | Kind::Rest => {
                link.vitals.note_pong(frame, || self.clock.peek());
                self.ping_answered(link, frame);
                self.heartbeat_answered(link, frame);
                if let Some(connection) = link.connection.get().and_then(|id| self.connection(id)) {
                    let call = |association: &mut Association, cx: &mut Context<'_>| {
                        association.handle_frame(cx, connection.key, frame);
                    };
                    self.associate(link.peer, call);
                }
            }
            kind => return Err(CloseReason::UnexpectedFrame(kind)),
        }
        Ok(())
    }

    /// The peer took over what was sent, and lets this side go on.
    pub(super) fn handle_grant(&self, link: &Rc<Link>, grant: Grant) -> Result<(), CloseReason> {
        let mut outbound = link.outbound.borrow_mut();
        let freed = outbound.handle_grant(grant, &mut self.slabs_of(link).borrow_mut())?;
        self.tally.acknowledged.add(freed.messages);
        link.vitals.count_acknowledged(freed.messages);
        if outbound.has_unsent() {
            self.enqueue(link);
        }
        drop(outbound);
        self.far_room_came(link);
        self.near_end_moved(link);
        self.room_came(link.peer);
        self.memory_came();
        Ok(())
    }
}
