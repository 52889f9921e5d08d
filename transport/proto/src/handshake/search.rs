//! Which process start answers at an address, found out by a dial that wants no link.
//!
//! It begins as an inquiry does, about no dial there is, and names the process start that it looks
//! for. Whoever is another one refuses it for that, before all else; whoever is that one knows of
//! no such dial, and says so. It proves as much as an inquiry does: that routing leads there.

use super::LocalNode;
use crate::address::{CoreId, NodeId};
use crate::frame::Frame;
use crate::frame::body::{Accept, Refuse, RefuseReason};
use crate::kind::Kind;

/// The core that answers for its node.
const CONTROL_CORE: CoreId = CoreId(0);

/// What an answer says of the process start that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// It answers there.
    Found,
    /// Another one does.
    Another,
    /// Nothing: whoever is there refuses for another reason, or the frame is no answer.
    Unclear,
}

impl LocalNode {
    /// What a connection to the address of a process start begins with that asks whether it is
    /// there. `nonce` is random.
    pub fn look_for(&self, start: &NodeId, nonce: u64) -> Vec<u8> {
        self.ask_at(start, CONTROL_CORE, nonce)
    }
}

impl Sought {
    /// What a frame says, if it is the answer.
    pub fn of(start: &NodeId, frame: &Frame<'_>) -> Self {
        match frame.header.kind {
            Kind::Refuse => match Refuse::parse(frame).map(|it| it.reason) {
                Ok(RefuseReason::Unproven) => Self::Found,
                Ok(RefuseReason::Incarnation) => Self::Another,
                _ => Self::Unclear,
            },
            // A nonce in 2^64 is that of a dial.
            Kind::Accept => match Accept::parse(frame) {
                Ok(accept) if accept.uid == start.uid => Self::Found,
                _ => Self::Unclear,
            },
            _ => Self::Unclear,
        }
    }
}
