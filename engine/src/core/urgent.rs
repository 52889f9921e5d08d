//! The control lane, served first: what came on it is read before a turn dispatches any message,
//! and what answers it leaves at once.
//!
//! It carries no messages of users, so however much of those waits, its links are never full, and
//! a turn is late for them by one handler at most. What a turn reads of them is bounded, because
//! their connections are paced, like those of the large lane: see [`Core::pace`].

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::{Frame, Parse, parse};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_transport::contract::Transport;

use super::Core;
use super::link::{Connection, Link};

impl Core {
    /// Reads what came on the control lane, and hands its answers to the kernel. Says whether there
    /// was anything.
    pub(super) fn serve_control(self: &Rc<Self>) -> bool {
        if self.urgent.borrow().is_empty() && self.pressing.borrow().is_empty() {
            return false;
        }
        let urgent = std::mem::take(&mut *self.urgent.borrow_mut());
        for connection in &urgent {
            self.read_in_turn(connection, |core| core.read_urgent(connection));
        }
        self.send_pressing();
        if let Err(error) = self.io.borrow_mut().submit() {
            // The turn's own call meets the same error, and ends the core with it.
            tracing::error!(%error, "the ring failed");
        }
        true
    }

    /// Gathers the pending bytes of the control lane, one send for each link.
    pub(super) fn send_pressing(self: &Rc<Self>) -> bool {
        let links = std::mem::take(&mut *self.pressing.borrow_mut());
        links.iter().for_each(|link| self.send_queued(link));
        !links.is_empty()
    }

    fn read_urgent(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.link().is_none()
            && let Err(reason) = self.read_handshake(connection)
        {
            return self.connection_fault(connection, reason);
        }
        let Some(link) = connection.link().filter(|_| !connection.closing.get()) else {
            return;
        };
        match self.read_control(connection, &link) {
            Ok(()) => self.read_so_far(connection, &link),
            Err(reason) => self.connection_fault(connection, reason),
        }
    }

    fn read_control(
        self: &Rc<Self>,
        connection: &Connection,
        link: &Rc<Link>,
    ) -> Result<(), CloseReason> {
        let mut intake = connection.intake.borrow_mut();
        while !link.ended.get() && !link.is_lost() && !connection.closing.get() {
            if intake.is_partial() && !intake.assemble(0, link.body_cap) {
                return Ok(());
            }
            let Some(front) = intake.front().cloned() else {
                return Ok(());
            };
            match parse(&front, link.body_cap)? {
                Parse::Complete(frame) => {
                    intake.consume(frame.wire_bytes);
                    self.handle_control_frame(link, &frame)?;
                }
                Parse::Incomplete { needed } => {
                    drop(front);
                    if !intake.assemble(needed, link.body_cap) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Nothing of a user travels on this lane.
    fn handle_control_frame(
        self: &Rc<Self>,
        link: &Rc<Link>,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        let kind = frame.header.kind;
        // A client has no such link, unless it lets this node make one with it.
        if link.of_client.get() && kind.is_positioned() {
            return Err(CloseReason::UnexpectedFrame(kind));
        }
        match kind {
            Kind::Grant | Kind::Ping | Kind::Pong | Kind::Bye | Kind::Rest => {
                self.handle_service_frame(link, frame)
            }
            Kind::System => self.handle_system_frame(link, frame),
            kind => Err(CloseReason::UnexpectedFrame(kind)),
        }
    }
}

impl Link {
    /// Whether it is served before all others.
    #[inline]
    pub(super) fn is_pressing(&self) -> bool {
        self.lane == Lane::Control
    }
}
