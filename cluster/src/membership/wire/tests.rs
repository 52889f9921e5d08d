//! Views as bytes, there and back.

use super::*;
use crate::membership::memory::Electorate;
use crate::membership::testing::{View, uid};

const NOW: Instant = Instant::from_nanos(3_600_000_000_000);

fn rich() -> Gossip {
    let members = [
        (1, Status::Up),
        (2, Status::Leaving),
        (3, Status::Joining),
        (4, Status::Up),
        (5, Status::Down),
        (9, Status::Down),
    ];
    let mut view = View::of(&members);
    view.resign(4);
    view.accuse(1, 3, Reason::Silence);
    view.accuse(2, 3, Reason::Refused);
    let witnesses = vec![Witness {
        observer: uid(2),
        hears: true,
    }];
    let record = Record {
        reason: Reason::Silence,
        witnesses,
    };
    let gossip = view.gossip_mut();
    gossip.reachability_mut().accuse(uid(1), uid(2), record);
    gossip.remove(NOW, uid(9));
    view.add_in("east", 8, Status::Up);
    let gossip = view.gossip_mut();
    for (name, number) in [("default", 7), ("east", 9)] {
        let (token, holder) = (Token(number), Some(uid(2)).filter(|_| number == 7));
        assert!(gossip.note_warrant(name, Warrant { token, holder }));
    }
    gossip.touch(uid(1));
    gossip.see(uid(2));
    gossip.clone()
}

fn written(gossip: &Gossip) -> Vec<u8> {
    let mut writer = Writer::default();
    write_gossip(&mut writer, gossip, NOW);
    writer.finish()
}

fn read(bytes: &[u8]) -> Result<Gossip, CodecError> {
    let mut reader = Reader::new(bytes);
    let gossip = read_gossip(&mut reader, "demo", NOW)?;
    reader.finish()?;
    Ok(gossip)
}

#[test]
fn a_view_comes_back_as_it_was() {
    let gossip = rich();
    assert_eq!(read(&written(&gossip)), Ok(gossip));
}

#[test]
fn one_over_the_members_max_is_more_than_anybody_remembers() {
    let of = |members: usize| {
        let it = &Memory::of(&rich(), &Electorate::default()).members[0];
        let (cluster, members) = (ClusterId(7), vec![it.clone(); members].into());
        let memory = Memory { cluster, members };
        let mut writer = Writer::default();
        write_memory(&mut writer, &memory);
        let bytes = writer.finish();
        read_memory(&mut Reader::new(&bytes), "demo").map(|read| read == memory)
    };
    assert_eq!(of(MEMBERS_MAX), Ok(true));
    assert_eq!(of(MEMBERS_MAX + 1), Err(CodecError::State));
}

#[test]
fn one_over_the_data_centre_bytes_max_has_no_lease_nor_has_one_without_a_member() {
    let with = |member: &str, leased: &str| {
        let mut view = View::of(&[(1, Status::Up)]);
        view.add_in(member, 2, Status::Up);
        let (token, holder) = (Token(7), None);
        assert!(
            view.gossip_mut()
                .note_warrant(member, Warrant { token, holder })
        );
        let bytes = written(view.gossip());
        let tail = bytes.len() - 16 - 1 - member.len();
        let mut changed = bytes[..tail].to_vec();
        changed.push(u8::try_from(leased.len()).expect("short"));
        changed.extend(leased.as_bytes());
        changed.extend(&bytes[bytes.len() - 16..]);
        read(&changed).map(|view| view.warrants().len())
    };
    let longest = "a".repeat(DATA_CENTRE_BYTES_MAX);
    assert_eq!(with(&longest, &longest), Ok(1));
    assert_eq!(with("east", "west"), Ok(0), "members from before keep it");
    assert_eq!(with("east", &longest), Ok(0));
    let over = format!("{longest}a");
    assert_eq!(with("east", &over), Err(CodecError::Text));
}

#[test]
fn a_view_that_ends_anywhere_else_is_refused() {
    let bytes = written(&rich());
    for end in 0..bytes.len() {
        assert_eq!(read(&bytes[..end]), Err(CodecError::Length), "at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer), Err(CodecError::Length));
}

#[test]
fn witnesses_that_are_named_twice_or_out_of_order_are_refused() {
    let heard_by = |numbers: &[u64]| {
        let mut gossip = rich();
        let witness = |number: &u64| Witness {
            observer: uid(*number),
            hears: true,
        };
        let record = Record {
            reason: Reason::Refused,
            witnesses: numbers.iter().map(witness).collect(),
        };
        gossip.reachability_mut().accuse(uid(1), uid(3), record);
        read(&written(&gossip))
    };
    assert!(heard_by(&[1, 2, 3]).is_ok());
    for numbers in [[2, 2], [3, 2]] {
        assert_eq!(heard_by(&numbers), Err(CodecError::State), "{numbers:?}");
    }
}

/// Whatever is read is a view that merges and is written again as it was.
#[test]
fn a_view_with_any_byte_changed_is_refused_or_one_that_holds_together() {
    let gossip = rich();
    let bytes = written(&gossip);
    let mut refused = 0;
    for at in 0..bytes.len() {
        for flip in [1_u8, 0x10, 0x80, 0xFF] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let Ok(read) = read(&changed) else {
                refused += 1;
                continue;
            };
            let _ = gossip.clone().merge(&read);
            let again = written(&read);
            assert_eq!(read_gossip(&mut Reader::new(&again), "demo", NOW), Ok(read));
        }
    }
    assert!(refused > bytes.len(), "{refused} refused");
}

#[test]
fn the_bytes_of_a_view_are_fixed() {
    let bytes = written(View::of(&[(1, Status::Up)]).gossip());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "07000000000000000100010000000000000008\
         31302e302e302e31010005302e302e30010a64632d64656661756c7403\
         0100000001000000010000000100000000000000000000000000"
    );
}
