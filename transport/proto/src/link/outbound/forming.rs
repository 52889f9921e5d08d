//! A sending half before the first connection of its link, and what waited for a connection.

use super::Outbound;
use crate::limits::{FORMING_WINDOW_BYTES, FRAME_BYTES_MIN};
use crate::piece::SharedBytes;

impl<B: SharedBytes> Outbound<B> {
    /// The sending half of a link whose peer has said nothing yet: it takes what every peer takes,
    /// and hands nothing out before [`open`](Self::open).
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn forming(window_bytes: u32) -> Self {
        let limit = u64::from(FORMING_WINDOW_BYTES);
        let mut forming = Self::new(FRAME_BYTES_MIN, limit, window_bytes);
        forming.handle_lost();
        forming
    }

    /// The link has its first connection, and its peer said what it takes: at least what was
    /// pushed, since no offer of less makes a link.
    pub fn open(&mut self, body_cap: u32, limit: u64) {
        debug_assert!(
            self.reached == 0 && self.received_to == 0,
            "nothing has left"
        );
        debug_assert!(
            body_cap >= self.body_cap && limit >= self.granted,
            "no peer may offer less"
        );
        (self.body_cap, self.covered_cap) = (body_cap, body_cap);
        self.granted = limit;
        self.sending = false;
        self.update_credit();
    }

    /// Has each question that was never handed out say anew how much of its time is left, in
    /// microseconds, by its correlation: 0 when nobody waits for its answer any more. What was
    /// handed out the peer may have read, and is left as it is.
    pub fn retime(&mut self, mut left: impl FnMut(u64) -> u32) {
        for written in self.full.iter_mut().chain(&mut self.current) {
            written.retime(&mut left);
        }
    }
}
