//! A message that members pass on for the one that speaks in it.
//!
//! What is passed on is a [`Message`](super::message::Message) as it is, behind who says it. The
//! way leads over at most two others, so none names the ones before it: each finds out by its own
//! topology whether whoever handed it over may speak for that one.

use ringmesh_proto::address::Uid;

use super::message;
use crate::codec::{self, CodecError, Reader, Writer};

/// 2 to the 32nd by the golden ratio, odd: the middle bits of its multiples are all over the place.
const SCATTER: u64 = 0x9e37_79b1;

const FOR_ONE: u8 = 72;
const FOR_ALL: u8 = 73;

/// Which of those that speak for two data centres pass a message on, by their places among them.
///
/// All pairs are among them, also where those that speak are few: the one place counts up, the
/// other is scattered. Over the same way an answer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way(u8);

impl Way {
    const BACK: u8 = 0x80;

    /// One that others begin with at other places.
    pub(super) fn of(uid: Uid) -> Self {
        Self(uid.as_u64().to_le_bytes()[0] & !Self::BACK)
    }

    /// Another one than all of late.
    pub(super) fn next(self) -> Self {
        Self(self.0.wrapping_add(1) & !Self::BACK)
    }

    /// The same in the other direction.
    pub(super) fn back(self) -> Self {
        Self(self.0 ^ Self::BACK)
    }

    /// The place of who passes on what leaves a data centre.
    pub(super) fn leaving(self) -> usize {
        let number = self.0 & !Self::BACK;
        match self.0 & Self::BACK {
            0 => usize::from(number),
            _ => ((u64::from(number) * SCATTER) >> 24) as usize,
        }
    }

    /// The place of who passes on what comes into one.
    pub(super) fn entering(self) -> usize {
        self.back().leaving()
    }
}

/// What is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relayed<'a> {
    /// Who says it.
    pub(super) origin: Uid,
    /// Which way it takes.
    pub(super) way: Way,
    /// Whether all of the recipient's data centre are to hear of it.
    pub(super) is_for_all: bool,
    /// What it says.
    pub(super) message: &'a [u8],
}

impl<'a> Relayed<'a> {
    /// Whether a body is one.
    pub(super) fn is_one(body: &[u8]) -> bool {
        matches!(body.first(), Some(&(FOR_ONE | FOR_ALL)))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let tag = if self.is_for_all { FOR_ALL } else { FOR_ONE };
        let mut writer = Writer::new(tag);
        writer.uid(self.origin).u8(self.way.0).bytes(self.message);
        writer.finish()
    }

    /// Reads what is around the message, and whom that is for. Only whoever it is for reads more.
    pub(super) fn from_bytes(bytes: &'a [u8]) -> Result<(Self, Uid), CodecError> {
        let mut reader = Reader::new(bytes);
        let is_for_all = match reader.u8()? {
            FOR_ONE => false,
            FOR_ALL => true,
            _ => return Err(CodecError::Unknown),
        };
        let origin = codec::uid(&mut reader)?;
        let way = Way(reader.u8()?);
        let message = reader.rest();
        let to = message::recipient(message)?;
        if is_for_all && !message::is_delta(message) {
            return Err(CodecError::State);
        }
        let relayed = Self {
            origin,
            way,
            is_for_all,
            message,
        };
        Ok((relayed, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::data_centres::SPEAKERS;
    use crate::membership::testing::uid;
    use crate::registry::entry::EntryId;
    use crate::registry::message::{Body, Message};

    fn message(body: Body) -> Vec<u8> {
        let (to, latest) = (uid(9), 10);
        Message { to, latest, body }.to_bytes()
    }

    fn relayed(is_for_all: bool, message: &[u8]) -> Relayed<'_> {
        Relayed {
            origin: uid(3),
            way: Way(4),
            is_for_all,
            message,
        }
    }

    fn delta() -> Vec<u8> {
        message(Body::Delta {
            from: 10,
            is_to_be_confirmed: false,
            changes: Vec::new(),
        })
    }

    #[test]
    fn the_bytes_are_fixed_and_come_back_and_nothing_shorter_does() {
        let message = delta();
        for (is_for_all, tag) in [(false, 72), (true, 73)] {
            let relayed = relayed(is_for_all, &message);
            let bytes = relayed.to_bytes();
            assert_eq!(bytes[..10], [tag, 3, 0, 0, 0, 0, 0, 0, 0, 4]);
            assert_eq!(bytes[10..], message);
            assert!(Relayed::is_one(&bytes) && message::TAGS.contains(&tag));
            assert_eq!(Relayed::from_bytes(&bytes), Ok((relayed, uid(9))));
            for end in 0..19 {
                let cut = Relayed::from_bytes(&bytes[..end]);
                assert_eq!(cut, Err(CodecError::Length), "at {end}");
            }
        }
    }

    #[test]
    fn only_changes_are_for_all_and_nothing_is_passed_on_in_what_is_passed_on() {
        let (from, after) = (1, EntryId(0));
        let question = message(Body::Ask { from, after });
        let read = |relayed: Relayed<'_>| Relayed::from_bytes(&relayed.to_bytes()).map(|_| ());
        assert_eq!(read(relayed(false, &question)), Ok(()));
        assert_eq!(read(relayed(true, &question)), Err(CodecError::State));
        let delta = delta();
        let inner = relayed(false, &delta).to_bytes();
        assert_eq!(read(relayed(false, &inner)), Err(CodecError::Unknown));
        assert_eq!(Relayed::from_bytes(&delta), Err(CodecError::Unknown));
    }

    #[test]
    fn all_pairs_are_among_the_next_ways_and_an_answer_takes_that_of_its_question() {
        let mut way = Way::of(uid(0xff));
        for (here, there) in (1..=SPEAKERS).flat_map(|it| (1..=SPEAKERS).map(move |to| (it, to))) {
            let mut pairs = std::collections::BTreeSet::new();
            for _ in 0..128 {
                way = way.next();
                let back = way.back();
                assert_eq!(back.back(), way);
                assert_eq!(way.leaving(), back.entering());
                assert_eq!(way.entering(), back.leaving());
                pairs.insert((way.leaving() % here, way.entering() % there));
            }
            assert_eq!(pairs.len(), here * there);
        }
    }

    #[test]
    fn another_recipient_stands_in_its_place() {
        let message = message::readdressed(&delta(), uid(7));
        let read = Message::from_bytes(&message).map(|it| it.to);
        assert_eq!(read, Ok(uid(7)));
    }
}
