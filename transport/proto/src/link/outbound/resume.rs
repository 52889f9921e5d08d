//! The stream goes on over another connection.

use std::collections::VecDeque;

use super::{Freed, Outbound};
use crate::frame::body::Grant;
use crate::link::Violation;
use crate::link::control::Control;
use crate::piece::SharedBytes;
use crate::slab_pool::SlabPool;

impl<B: SharedBytes> Outbound<B> {
    /// Whether the stream can go on at `position`, up to which the peer says it has received.
    ///
    /// # Errors
    /// [`Violation::Position`] when that lies before what the peer acknowledged, behind what was
    /// ever sent, or within a frame.
    pub fn check_resume(&self, position: u64) -> Result<(), Violation> {
        // Not what was sent last: a hello that came late may have had the link go on further back,
        // over a connection that its peer had given up.
        let (first, last) = (self.received_to, self.reached);
        let is_end = position == first || position == last;
        let lies_here = || {
            let mut slabs = self.full.iter().chain(&self.current);
            let around = slabs.find(|written| position <= written.end());
            around.is_some_and(|written| written.has_boundary(position))
        };
        if is_end || (first < position && position < last && lies_here()) {
            Ok(())
        } else {
            let received_to = position;
            Err(Violation::Position {
                received_to,
                first,
                last,
            })
        }
    }

    /// The link lost its connection: nothing is handed out until it has another.
    pub fn handle_lost(&mut self) {
        self.sending = true;
    }

    /// The link gives its connection up, with nothing on its way: it keeps what it needs to go on,
    /// its positions and numbers, and no more.
    pub fn rest(&mut self) {
        self.handle_lost();
        self.control = Control::default();
        self.targets.forget_notes();
        self.full = VecDeque::new();
    }

    /// Queues that nothing goes over the link.
    pub fn queue_rest(&mut self) {
        if !self.gone {
            self.control.set_rest();
        }
    }

    /// Whether that waits to be sent.
    pub fn says_rest(&self) -> bool {
        self.control.says_rest()
    }

    /// The link has another connection, and its peer the stream up to `grant`: what lies behind
    /// that is handed out again. What control frames said has to be said anew, and what the peer's
    /// said before does not hold any more.
    ///
    /// # Errors
    /// As [`check_resume`](Self::check_resume). Nothing changed.
    pub fn resume(&mut self, grant: Grant, slabs: &mut SlabPool) -> Result<Freed, Violation> {
        self.check_resume(grant.received_to)?;
        self.sending = false;
        // A goodbye that the peer did not wait for is said again.
        self.gone = false;
        self.control.forget();
        self.targets.forget_notes();
        self.sent = grant.received_to;
        self.handle_grant(grant, slabs)
    }
}
