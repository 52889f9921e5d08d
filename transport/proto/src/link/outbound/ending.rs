//! The end of a sending half: what is still taken, and the last it says.

use super::Outbound;
use crate::frame::body::ByeReason;
use crate::piece::SharedBytes;
use crate::slab::SlabSlice;

impl<B: SharedBytes> Outbound<B> {
    /// Takes no more pushes, and says goodbye behind what was pushed before.
    pub fn queue_bye(&mut self, reason: ByeReason) {
        if !self.gone {
            self.control.set_bye(reason);
            self.update_credit();
        }
    }

    /// Whether a goodbye waits for the last bytes to leave.
    #[inline]
    pub fn is_leaving(&self) -> bool {
        self.control.is_leaving()
    }

    /// Whether the goodbye was handed out, or the link ended. Nothing leaves any more, no grant
    /// either: what the peer was told of its stream is the last word.
    #[inline]
    pub fn has_said_bye(&self) -> bool {
        self.gone
    }

    /// Takes no more pushes; what was pushed goes on, and so do grants.
    pub fn refuse_pushes(&mut self) {
        self.closed = true;
        self.update_credit();
    }

    /// The control frames that wait, for a link that closes behind the send under way.
    pub fn gather_control(&mut self) -> Option<SlabSlice> {
        (!self.gone && self.control.is_pending()).then(|| self.control.take())
    }

    /// The goodbye that waits, in front of all that has not left, which never will.
    pub fn gather_bye(&mut self) -> Option<SlabSlice> {
        let bye = self.control.take_bye();
        self.gone |= bye.is_some();
        bye
    }
}
