//! A view in a few bytes: enough to tell whether another one differs, and who has seen it.

use ringmesh_proto::address::Uid;

use super::gossip::{ClusterId, Gossip, MEMBERS_MAX};
use crate::codec::{CodecError, Reader, Writer};

/// A view in a few bytes. Members of one version send each other these alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which cluster it is of.
    pub cluster: ClusterId,
    /// How many changes it holds; ahead of the digest, so that the later of two versions, as a
    /// rule, comes after the earlier.
    changes: u64,
    digest: u64,
    /// A bit for each member, in the order of their process starts: whether it has seen the view.
    seen: Vec<u8>,
}

impl Summary {
    /// That of a view.
    pub fn of(gossip: &Gossip) -> Self {
        let entries = gossip.version().iter();
        let changes = entries.fold(0_u64, |sum, (_, changes)| sum.saturating_add(changes));
        let mut seen = vec![0; gossip.members().len().div_ceil(8)];
        for (place, member) in gossip.members().enumerate() {
            if gossip.is_seen_by(member.uid()) {
                seen[place / 8] |= 1 << (place % 8);
            }
        }
        Self {
            cluster: gossip.cluster(),
            changes,
            digest: digest(gossip),
            seen,
        }
    }

    /// Whether both are of one version.
    pub fn is_of_version(&self, other: &Self) -> bool {
        self.version() == other.version() && self.seen.len() == other.seen.len()
    }

    /// Whether its view is the one to be sent, if they are of two versions. Of two summaries that
    /// is true for one: so both sides do not send at once, nor neither.
    pub fn is_ahead_of(&self, other: &Self) -> bool {
        self.version() > other.version()
    }

    fn version(&self) -> (u64, u64) {
        (self.changes, self.digest)
    }

    /// The members of `gossip` that have seen it, as far as this summary of its version says.
    pub fn seen_of<'a>(&'a self, gossip: &'a Gossip) -> impl Iterator<Item = Uid> + 'a {
        let is_set = |place: usize| {
            let bits = self.seen.get(place / 8).copied().unwrap_or(0);
            bits >> (place % 8) & 1 == 1
        };
        let members = gossip.members().enumerate();
        members
            .filter(move |(place, _)| is_set(*place))
            .map(|(_, member)| member.uid())
    }

    /// Whether another of its version names nobody who has not seen this one.
    pub fn knows_all_of(&self, other: &Self) -> bool {
        let pairs = self.seen.iter().zip(&other.seen);
        pairs.clone().all(|(mine, theirs)| theirs & !mine == 0)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.u64(self.cluster.0).u64(self.changes);
        writer.u64(self.digest).count(self.seen.len());
        writer.bytes(&self.seen);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let cluster = ClusterId(reader.u64()?);
        let (changes, digest) = (reader.u64()?, reader.u64()?);
        let seen: Vec<u8> = crate::codec::list(reader, |reader| Ok(reader.u8()?))?;
        if seen.len() > MEMBERS_MAX.div_ceil(8) {
            return Err(CodecError::State);
        }
        Ok(Self {
            cluster,
            changes,
            digest,
            seen,
        })
    }
}

/// Of the members and the version: 64-bit FNV-1a over words instead of bytes, and mixed at the end.
fn digest(gossip: &Gossip) -> u64 {
    let members = gossip.members().map(|it| it.uid().as_u64());
    let version = gossip.version().iter();
    let version = version.flat_map(|(uid, changes)| [uid.as_u64(), changes]);
    let fold = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(0x100_0000_01B3);
    let hash = members.chain(version).fold(0xCBF2_9CE4_8422_2325, fold);
    crate::context::Random::new(hash).next_u64()
}

#[cfg(test)]
mod tests {
    use super::super::status::Status;
    use super::super::testing::{View, uid};
    use super::*;

    fn view() -> View {
        let members: Vec<(u64, Status)> = (1..=9).map(|number| (number, Status::Up)).collect();
        View::of(&members)
    }

    #[test]
    fn of_one_version_each_names_whoever_has_seen_it() {
        let (mut one, mut other) = (view(), view());
        one.see(9);
        other.see(4);
        let (mine, theirs) = (Summary::of(one.gossip()), Summary::of(other.gossip()));
        assert!(mine.is_of_version(&theirs));
        assert!(mine.seen_of(one.gossip()).eq([uid(1), uid(9)]));
        assert!(theirs.seen_of(one.gossip()).eq([uid(1), uid(4)]));
        assert!(!mine.knows_all_of(&theirs));
        one.see(4);
        assert!(Summary::of(one.gossip()).knows_all_of(&theirs));
    }

    #[test]
    fn of_two_versions_one_is_ahead() {
        let (one, mut other) = (view(), view());
        other.gossip_mut().touch(uid(2));
        let (mine, theirs) = (Summary::of(one.gossip()), Summary::of(other.gossip()));
        assert!(!mine.is_of_version(&theirs));
        assert!(theirs.is_ahead_of(&mine) && !mine.is_ahead_of(&theirs));
    }

    #[test]
    fn one_over_the_members_max_is_refused() {
        let read = |bytes: usize| {
            let mut writer = Writer::default();
            writer.u64(1).u64(2).u64(3).count(bytes);
            writer.bytes(&vec![0xFF; bytes]);
            Summary::read(&mut Reader::new(&writer.finish()))
        };
        assert!(read(MEMBERS_MAX / 8).is_ok());
        assert_eq!(read(MEMBERS_MAX / 8 + 1), Err(CodecError::State));
    }

    #[test]
    fn a_summary_of_another_view_names_members_of_that_view_alone() {
        let of_nine = Summary {
            seen: vec![0xFF; 2],
            ..Summary::of(view().gossip())
        };
        let small = View::of(&[(1, Status::Up)]);
        assert!(of_nine.seen_of(small.gossip()).eq([uid(1)]));
    }
}
