//! What a peer still says behind this node's goodbye.
//!
//! The last grant leaves with the goodbye, so the peer knows how far it was taken over. What comes
//! behind that is dropped and counted here, and given up and counted there: no message is both
//! handled and given up. The peer's own last grant counts all the same.

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::{Parse, parse};

use super::Core;
use super::link::{Connection, Link};

impl Core {
    /// Reads what waits on a connection whose goodbye is said.
    pub(super) fn overhear(
        self: &Rc<Self>,
        connection: &Connection,
        link: &Rc<Link>,
    ) -> Result<(), CloseReason> {
        let body_cap = link.body_cap;
        let mut intake = connection.intake.borrow_mut();
        // A peer that lets the link rest ends the connection: what is behind comes again.
        while !connection.closing.get() {
            if intake.is_partial() && !intake.assemble(0, body_cap) {
                return Ok(());
            }
            let Some(front) = intake.front().cloned() else {
                return Ok(());
            };
            match parse(&front, body_cap)? {
                Parse::Complete(frame) => {
                    intake.consume(frame.wire_bytes);
                    if frame.header.kind.is_message() {
                        self.tally.dropped_unread.add(1);
                    } else {
                        self.handle_service_frame(link, &frame)?;
                    }
                }
                Parse::Incomplete { needed } => {
                    drop(front);
                    if !intake.assemble(needed, body_cap) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
