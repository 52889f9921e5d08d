//! How frames get into slabs. A frame is written behind the tail first and counts only when all of
//! it is there, so whatever fails on the way leaves no trace.

use super::retained::Written;
use super::{Answered, Outbound, PushError, SendHead};
use crate::archive::EncodeError;
use crate::frame::body::{DefineTarget, DefineType, ErrorCode};
use crate::frame::{Checksums, Extension, Head, frame, front};
use crate::kind::Kind;
use crate::limits::{EXTENSION_BYTES, HEADER_BYTES};
use crate::link::deferred::{Answer, Content};
use crate::link::numbers::Numbered;
use crate::link::{Payload, Target};
use crate::message::MessageType;
use crate::piece::SharedBytes;
use crate::slab_pool::SlabPool;

/// A frame to write, before its numbers are known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) message: Option<&'a MessageType>,
    pub(super) target: Option<Target>,
    pub(super) extension: Option<Extension>,
}

impl<'a> Draft<'a> {
    #[inline(always)]
    pub(super) fn of(head: SendHead<'a>) -> Self {
        match head {
            SendHead::Tell { message, target } => Self {
                kind: Kind::Tell,
                message: Some(message),
                target: Some(target),
                extension: None,
            },
            SendHead::TellFor {
                message,
                target,
                sender,
            } => Self {
                kind: Kind::Tell,
                message: Some(message),
                target: Some(target),
                extension: Some(Extension {
                    correlation: sender.as_u64(),
                    ..Extension::default()
                }),
            },
            SendHead::Ask {
                message,
                target,
                extension,
            } => Self {
                kind: Kind::Ask,
                message: Some(message),
                target: Some(target),
                extension: Some(extension),
            },
        }
    }

    /// Where its payload begins.
    #[inline(always)]
    pub(super) fn payload_offset(&self) -> usize {
        HEADER_BYTES + self.extension_bytes()
    }

    #[inline(always)]
    fn extension_bytes(&self) -> usize {
        if self.extension.is_some() {
            EXTENSION_BYTES
        } else {
            0
        }
    }

    /// Whether it is a tell for another node.
    #[inline(always)]
    pub(super) fn is_for_another(&self) -> bool {
        self.kind == Kind::Tell && self.extension.is_some()
    }

    #[inline(always)]
    pub(super) fn reply(message: &'a MessageType, extension: Extension) -> Self {
        Self {
            message: Some(message),
            ..Self::bare(Kind::Reply, extension)
        }
    }

    /// A frame from node to node.
    pub(super) fn of_node(kind: Kind) -> Self {
        Self {
            kind,
            message: None,
            target: None,
            extension: None,
        }
    }

    /// A frame with an extension and nothing else.
    pub(super) fn bare(kind: Kind, extension: Extension) -> Self {
        Self {
            kind,
            message: None,
            target: None,
            extension: Some(extension),
        }
    }
}

/// The numbers of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    of_type: Numbered<u16>,
    of_target: Numbered<u32>,
    /// The definitions that go in front of the frame.
    definition_bytes: usize,
}

impl Numbers {
    /// Those that the other side knows already.
    #[inline(always)]
    pub(super) fn known(of_type: u16, of_target: u32) -> Self {
        Self {
            of_type: Numbered {
                number: of_type,
                is_new: false,
            },
            of_target: Numbered {
                number: of_target,
                is_new: false,
            },
            definition_bytes: 0,
        }
    }
}

const NO_TYPE: Numbered<u16> = Numbered {
    number: 0,
    is_new: false,
};
const NO_TARGET: Numbered<u32> = Numbered {
    number: 0,
    is_new: false,
};

impl<B: SharedBytes> Outbound<B> {
    /// Writes a frame behind the tail, with the definitions it needs, and returns its position.
    #[inline(always)]
    pub(super) fn write<P: Payload + ?Sized>(
        &mut self,
        slabs: &mut SlabPool,
        draft: Draft<'_>,
        payload: &P,
    ) -> Result<u64, PushError> {
        if draft.is_for_another() && self.checksums == Checksums::Verified {
            return Err(PushError::ForAnother);
        }
        let numbers = self.number(&draft)?;
        let lead = numbers.definition_bytes + draft.payload_offset();
        let payload_bytes = match payload.exact_bytes() {
            Some(bytes) => {
                self.admit(draft.extension_bytes(), lead, bytes)?;
                self.reserve(slabs, lead + bytes)?;
                match self.encode_at(lead, bytes, payload) {
                    Ok(written) => written,
                    Err(_) => return Err(self.not_encoded(slabs)),
                }
            }
            None => self.write_unmeasured(slabs, draft.extension_bytes(), lead, payload)?,
        };
        Ok(self.commit(&draft, &numbers, payload_bytes))
    }

    /// The same with a payload that stays where it is.
    pub(super) fn write_shared(
        &mut self,
        slabs: &mut SlabPool,
        draft: Draft<'_>,
        payload: &B,
    ) -> Result<u64, PushError> {
        if self.checksums == Checksums::Absent || draft.is_for_another() {
            return self.write(slabs, draft, &payload[..]);
        }
        let numbers = self.number(&draft)?;
        let lead = numbers.definition_bytes + draft.payload_offset();
        self.admit(draft.extension_bytes(), lead, payload.len())?;
        if !slabs.charge(payload.len()) {
            return Err(PushError::NoMemory);
        }
        let is_full = self.current.as_ref().is_some_and(Written::is_full);
        let reserved = if is_full {
            self.begin_slab(slabs, lead)
        } else {
            self.reserve(slabs, lead)
        };
        if let Err(error) = reserved {
            slabs.discharge(payload.len());
            return Err(error);
        }
        Ok(self.commit_shared(&draft, &numbers, payload))
    }

    /// Writes a payload of unknown length where it will lie, in this slab or in one that fits.
    #[inline(always)]
    fn write_unmeasured<P: Payload + ?Sized>(
        &mut self,
        slabs: &mut SlabPool,
        extension_bytes: usize,
        lead: usize,
        payload: &P,
    ) -> Result<usize, PushError> {
        self.admit(extension_bytes, lead, 0)?;
        let current = self.current.as_mut().map(Written::tail_mut);
        let placed = match current.and_then(|room| room.get_mut(lead..)) {
            Some(room) => payload.write(room),
            None => Err(EncodeError::NoRoom {
                needed: measure(payload)?,
            }),
        };
        let needed = match placed {
            Ok(written) => {
                self.admit(extension_bytes, lead, written)?;
                return Ok(written);
            }
            Err(EncodeError::NoRoom { needed }) => needed,
            Err(_) => return Err(PushError::Encode),
        };
        self.admit(extension_bytes, lead, needed)?;
        self.reserve(slabs, lead + needed)?;
        match self.encode_at(lead, needed, payload) {
            Ok(written) => Ok(written),
            Err(_) => Err(self.not_encoded(slabs)),
        }
    }

    /// The recipient that has a number.
    pub fn target(&self, number: u32) -> Option<Target> {
        self.targets.owner(number)
    }

    /// Looks the numbers of a frame up. New ones are not given yet.
    #[inline(always)]
    fn number(&mut self, draft: &Draft<'_>) -> Result<Numbers, PushError> {
        let of_type = match draft.message {
            Some(message) => match self.types.find(message) {
                Ok(numbered) => numbered,
                Err(_) => return Err(PushError::TypesExhausted),
            },
            None => NO_TYPE,
        };
        let of_target = match draft.target {
            Some(target) => {
                let found = self.targets.find(target);
                if self.targets.is_busy(found) {
                    return Err(PushError::TargetBusy);
                }
                found
            }
            None => NO_TARGET,
        };
        let mut definition_bytes = 0;
        if of_type.is_new {
            definition_bytes += DefineType::FRAME_BYTES;
        }
        if of_target.is_new {
            definition_bytes += DefineTarget::FRAME_BYTES;
        }
        Ok(Numbers {
            of_type,
            of_target,
            definition_bytes,
        })
    }

    /// Checks the cap, and the credit for everything up to the end of the frame.
    #[inline(always)]
    pub(super) fn admit(
        &self,
        extension_bytes: usize,
        lead: usize,
        payload_bytes: usize,
    ) -> Result<(), PushError> {
        let bytes = extension_bytes + payload_bytes;
        let limit = self.body_cap as usize;
        if bytes > limit {
            return Err(PushError::TooLarge { bytes, limit });
        }
        if self.tail + (lead + payload_bytes) as u64 > self.credit_to {
            return self.overdraw(bytes);
        }
        Ok(())
    }

    /// The room behind the tail.
    #[inline(always)]
    fn room(&self) -> usize {
        self.current.as_ref().map_or(0, Written::room)
    }

    /// Makes sure that the current slab has room for `bytes`.
    #[inline(always)]
    fn reserve(&mut self, slabs: &mut SlabPool, bytes: usize) -> Result<(), PushError> {
        if self.room() >= bytes && self.current.is_some() {
            return Ok(());
        }
        self.begin_slab(slabs, bytes)
    }

    #[cold]
    fn begin_slab(&mut self, slabs: &mut SlabPool, bytes: usize) -> Result<(), PushError> {
        let slab = slabs.take(bytes, self.reader).ok_or(PushError::NoMemory)?;
        let fresh = Written::new(slab, self.tail);
        if let Some(former) = self.current.replace(fresh) {
            self.full.push_back(former);
        }
        Ok(())
    }

    /// Encodes a payload `lead` bytes behind the tail, into at most `room` bytes.
    #[inline(always)]
    fn encode_at<P: Payload + ?Sized>(
        &mut self,
        lead: usize,
        room: usize,
        payload: &P,
    ) -> Result<usize, EncodeError> {
        let into = match &mut self.current {
            Some(current) => current
                .tail_mut()
                .get_mut(lead..lead + room)
                .unwrap_or_default(),
            None => &mut [],
        };
        payload.write(into)
    }

    /// Puts the frame around its payload, the definitions in front, and counts all of it.
    #[inline(always)]
    pub(super) fn commit(
        &mut self,
        draft: &Draft<'_>,
        numbers: &Numbers,
        payload_bytes: usize,
    ) -> u64 {
        if numbers.definition_bytes > 0 {
            self.define(draft, numbers);
        }
        let current = self.current.as_mut().expect("the payload was written");
        let head = head_of(draft, numbers);
        let frame_bytes = frame(current.tail_mut(), &head, payload_bytes);
        current.advance(frame_bytes, u32::from(draft.kind.is_message()));
        let position = self.tail;
        self.tail += frame_bytes as u64;
        position
    }

    /// Writes the frame up to its payload, the definitions in front, and counts all of it.
    fn commit_shared(&mut self, draft: &Draft<'_>, numbers: &Numbers, payload: &B) -> u64 {
        if numbers.definition_bytes > 0 {
            self.define(draft, numbers);
        }
        let current = self.current.as_mut().expect("the room was reserved");
        let head = head_of(draft, numbers);
        let front_bytes = front(current.tail_mut(), &head, payload.len());
        current.advance_shared(front_bytes, payload.clone(), draft.kind);
        let position = self.tail;
        self.tail = current.end();
        position
    }

    /// Writes the definitions of new numbers and gives the numbers.
    #[cold]
    fn define(&mut self, draft: &Draft<'_>, numbers: &Numbers) {
        let current = self.current.as_mut().expect("the payload was written");
        let mut bytes = 0;
        if let (Some(message), true) = (draft.message, numbers.of_type.is_new) {
            let number = numbers.of_type.number;
            let message = *message;
            bytes += DefineType { number, message }.stage(current.tail_mut());
            self.types.give(&message, number);
        }
        if let (Some(target), true) = (draft.target, numbers.of_target.is_new) {
            let number = numbers.of_target.number;
            let into = &mut current.tail_mut()[bytes..];
            bytes += DefineTarget { number, target }.stage(into);
            self.targets.give(target, number);
        }
        debug_assert_eq!(bytes, numbers.definition_bytes);
        current.advance(bytes, 0);
        self.tail += bytes as u64;
    }

    /// Keeps a reply for which there is no credit or memory now.
    #[cold]
    pub(super) fn defer_reply<P: Payload + ?Sized>(
        &mut self,
        message: &MessageType,
        extension: Extension,
        payload: &P,
    ) -> Result<Answered, PushError> {
        let bytes = measure(payload)?;
        let limit = self.body_cap as usize;
        if EXTENSION_BYTES + bytes > limit {
            let bytes = EXTENSION_BYTES + bytes;
            return Err(PushError::TooLarge { bytes, limit });
        }
        if !self.deferred.has_room(bytes) {
            let code = ErrorCode::Overloaded;
            let kept = self.deferred.push_error(extension, code);
            kept.map_err(|_| PushError::TooManyAnswers)?;
            return Ok(Answered::Overloaded);
        }
        let mut encoded = vec![0; bytes];
        let written = payload.write(&mut encoded).map_err(|_| PushError::Encode)?;
        encoded.truncate(written);
        let kept = self.deferred.push_reply(*message, extension, encoded);
        kept.map_err(|_| PushError::TooManyAnswers)?;
        Ok(Answered::Deferred)
    }

    /// Writes the oldest answer that waits. Says whether there was room for it.
    pub(super) fn write_deferred(&mut self, slabs: &mut SlabPool, mut answer: Answer) -> bool {
        loop {
            let (kind, message, payload) = match &answer.content {
                Content::Reply { message, payload } => (Kind::Reply, Some(message), &payload[..]),
                Content::Error => (Kind::Error, None, &[][..]),
            };
            let draft = Draft {
                kind,
                message,
                target: None,
                extension: Some(answer.extension),
            };
            match self.write(slabs, draft, payload) {
                Ok(_) => return true,
                // The types ran out while it waited: the asker learns that there is no answer.
                Err(PushError::TypesExhausted) => {
                    answer.extension.code = ErrorCode::Failed.to_wire();
                    answer.content = Content::Error;
                }
                Err(_) => {
                    self.deferred.put_back(answer);
                    return false;
                }
            }
        }
    }

    /// There is no credit for all of a body.
    #[cold]
    fn overdraw(&self, bytes: usize) -> Result<(), PushError> {
        if bytes > self.covered_cap as usize && self.tail < self.credit_to {
            return Ok(());
        }
        Err(self.no_credit())
    }

    #[cold]
    fn no_credit(&self) -> PushError {
        if self.gone || self.closed || self.control.is_leaving() {
            PushError::Ending
        } else {
            PushError::NoCredit
        }
    }

    /// A payload broke its word about its length: what was reserved for it goes back.
    #[cold]
    fn not_encoded(&mut self, slabs: &mut SlabPool) -> PushError {
        if let Some(current) = self.current.take_if(|current| current.is_empty()) {
            current.give_back(slabs);
        }
        PushError::Encode
    }
}

#[inline(always)]
fn head_of(draft: &Draft<'_>, numbers: &Numbers) -> Head {
    Head {
        kind: draft.kind,
        type_number: numbers.of_type.number,
        target_number: numbers.of_target.number,
        extension: draft.extension,
    }
}

/// The exact length of a payload.
#[cold]
fn measure<P: Payload + ?Sized>(payload: &P) -> Result<usize, PushError> {
    match payload
        .exact_bytes()
        .map_or_else(|| payload.write(&mut []), Ok)
    {
        Ok(bytes) | Err(EncodeError::NoRoom { needed: bytes }) => Ok(bytes),
        Err(_) => Err(PushError::Encode),
    }
}
