//! The way of most messages into a slab: to a recipient and of a type that have their numbers, with
//! credit, behind the last frame. Whatever needs more goes by [`Outbound::push`].

use super::write::{Draft, Numbers};
use super::{Outbound, SendHead};
use crate::archive::EncodeError;
use crate::frame::Checksums;
use crate::limits::HEADER_BYTES;
use crate::link::Payload;
use crate::piece::SharedBytes;

/// Why a message was not written where the last one ended: [`Outbound::push`] finds out, and tries
/// the rest. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHere {
    /// The length of its payload, if it turned out that this is too long for the slab.
    pub needed: Option<usize>,
}

const NOT_HERE: NotHere = NotHere { needed: None };

impl<B: SharedBytes> Outbound<B> {
    /// Writes a message behind everything pushed before if nothing but that has to be done for it,
    /// and returns the position of its frame.
    ///
    /// # Errors
    /// [`NotHere`]: something else has to be done, or it cannot be written.
    #[inline(always)]
    pub fn push_here<P: Payload + ?Sized>(
        &mut self,
        head: SendHead<'_>,
        payload: &P,
    ) -> Result<u64, NotHere> {
        let draft = Draft::of(head);
        let (Some(message), Some(target)) = (draft.message, draft.target) else {
            return Err(NOT_HERE);
        };
        let (Some(type_number), Some(target_number)) =
            (self.types.cached(message), self.targets.with_room(target))
        else {
            return Err(NOT_HERE);
        };
        if draft.is_for_another() && self.checksums == Checksums::Verified {
            return Err(NOT_HERE);
        }
        let lead = draft.payload_offset();
        let credit = self.credit_to.checked_sub(self.tail + lead as u64);
        let current = self.current.as_mut().filter(|_| self.deferred.is_empty());
        let (Some(credit), Some(current)) = (credit, current) else {
            return Err(NOT_HERE);
        };
        let Some(room) = current.tail_mut().get_mut(lead..) else {
            return Err(NOT_HERE);
        };
        let payload_bytes = match payload.exact_bytes() {
            Some(needed) if needed > room.len() => return Err(NOT_HERE),
            exact => match (payload.write(room), exact) {
                // One that breaks its word about its length is refused where that is said.
                (Ok(written), Some(exact)) if written > exact => return Err(NOT_HERE),
                (Ok(written), _) => written,
                (Err(EncodeError::NoRoom { needed }), _) => {
                    let needed = Some(needed);
                    return Err(NotHere { needed });
                }
                (Err(_), _) => return Err(NOT_HERE),
            },
        };
        // What was written behind the tail is no part of anything yet.
        let is_too_long = lead - HEADER_BYTES + payload_bytes > self.body_cap as usize;
        if is_too_long || payload_bytes as u64 > credit {
            return Err(NOT_HERE);
        }
        let numbers = Numbers::known(type_number, target_number);
        Ok(self.commit(&draft, &numbers, payload_bytes))
    }
}
