//! Frames of a link that carry no message: numbers, grants, pings, goodbyes.

use std::rc::Rc;

use ringmesh_proto::frame::Frame;
use ringmesh_proto::frame::body::{Bye, DefineTarget, DefineType, Grant, Notice, Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::Defined;

use super::Core;
use super::fault::Fault;
use super::link::Link;

impl Core {
    pub(super) fn handle_service_frame(
        self: &Rc<Self>,
        link: &Rc<Link>,
        frame: &Frame<'_>,
    ) -> Result<(), Fault> {
        match frame.header.kind {
            Kind::DefineType => {
                link.inbound.borrow_mut().define_type(&DefineType::parse(frame)?)?;
            }
            Kind::DefineTarget => {
                let definition = DefineTarget::parse(frame)?;
                let defined = link.inbound.borrow_mut().define_target(&definition)?;
                if defined == Defined::Anew {
                    link.routes.borrow_mut().redefine(definition.number);
                }
            }
            Kind::Grant => self.handle_grant(link, Grant::parse(frame)?)?,
            Kind::Ping => {
                let nonce = Ping::parse(frame)?.nonce;
                link.outbound.borrow_mut().queue_pong(nonce);
                self.enqueue(link);
            }
            Kind::Pong => {
                Pong::parse(frame)?;
            }
            Kind::Busy | Kind::Ready => {
                Notice::parse(frame)?;
            }
            // Handlers here never wait, so there is nothing left to cancel when this arrives.
            Kind::Cancel => {}
            Kind::Bye => {
                Bye::parse(frame)?;
                self.handle_bye(link);
            }
            kind => return Err(Fault::OutOfPlace(kind)),
        }
        Ok(())
    }

    /// The peer took over what was sent, and lets this side go on.
    pub(super) fn handle_grant(&self, link: &Rc<Link>, grant: Grant) -> Result<(), Fault> {
        let mut outbound = link.outbound.borrow_mut();
        let freed = outbound.handle_grant(grant, &mut self.slabs.borrow_mut())?;
        self.tally.acknowledged.add(freed.messages);
        if outbound.has_unsent() {
            self.enqueue(link);
        }
        drop(outbound);
        self.peers.borrow_mut().wake(link.peer);
        Ok(())
    }
}
