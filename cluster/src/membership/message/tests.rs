//! The messages as bytes: fixed, and refused when they are anything else.

use super::*;
use crate::context::Random;
use crate::membership::memory::Electorate;
use crate::membership::status::Status;
use crate::membership::testing::{View, profile, uid};

const NOW: Instant = Instant::from_nanos(3_600_000_000_000);

fn configuration() -> Configuration {
    let mut configuration = Configuration::default();
    configuration
        .set("strategy", "keep-majority")
        .expect("fits");
    configuration
}

fn every() -> Vec<(Message, &'static str)> {
    let cluster = ClusterId(0x0102);
    let view = View::of(&[(1, Status::Up), (2, Status::Joining)]);
    let gossip = Box::new(view.gossip().clone());
    let init_join = Message::InitJoin {
        asked: 3,
        candidate: true,
        configuration: configuration(),
    };
    let in_cluster = Message::InCluster {
        asked: 3,
        cluster,
        configuration: Configuration::default(),
    };
    let not_in_cluster = Message::NotInCluster {
        asked: 3,
        consent: true,
        candidate: false,
        memory: Some(Memory::of(view.gossip(), &Electorate::default())),
    };
    let names = vec!["strategy".into()];
    let join = Message::Join {
        profile: profile(2, "east").as_ref().clone(),
        configuration: Configuration::default(),
    };
    vec![
        (init_join, GOLDEN[0]),
        (in_cluster, GOLDEN[1]),
        (not_in_cluster, GOLDEN[2]),
        (Message::Incompatible { names }, GOLDEN[3]),
        (join, GOLDEN[4]),
        (Message::Welcome(gossip.clone()), GOLDEN[5]),
        (Message::JoinRefused(Refusal::Full), GOLDEN[6]),
        (Message::Gossip(gossip), GOLDEN[7]),
        (Message::Status(Summary::of(view.gossip())), GOLDEN[8]),
        (Message::ExitingConfirmed, GOLDEN[9]),
        (Message::Removed { cluster }, GOLDEN[10]),
        (Message::Stranger { cluster }, GOLDEN[11]),
        (Message::Foreign { cluster }, GOLDEN[12]),
    ]
}

const GOLDEN: [&str; 13] = [
    "01090000000000000003000000000000000101000873747261746567790d6b6565702d6d616a6f726974\
     79",
    "020900000000000000030000000000000002010000000000000000",
    "03090000000000000003000000000000000100010700000000000000020001000000000000000831302e\
     302e302e3101000764656661756c740102000000000000000831302e302e302e3102000764656661756c\
     7400",
    "0409000000000000000100087374726174656779",
    "05090000000000000002000000000000000831302e302e302e31020005302e302e30010764632d656173\
     740000",
    "0609000000000000000700000000000000020001000000000000000831302e302e302e31010005302e30\
     2e30010a64632d64656661756c74030100000002000000000000000831302e302e302e31020005302e30\
     2e30010a64632d64656661756c7401ffffffff01000000010000000100000000000000000000000000",
    "07090000000000000003",
    "0809000000000000000700000000000000020001000000000000000831302e302e302e31010005302e30\
     2e30010a64632d64656661756c74030100000002000000000000000831302e302e302e31020005302e30\
     2e30010a64632d64656661756c7401ffffffff01000000010000000100000000000000000000000000",
    "0909000000000000000700000000000000010000000000000080afb9978bc3d8ff010001",
    "0a0900000000000000",
    "0b09000000000000000201000000000000",
    "0c09000000000000000201000000000000",
    "0d09000000000000000201000000000000",
];

#[test]
fn the_bytes_of_each_message_are_fixed_and_come_back() {
    let mut tags = Vec::new();
    for (message, golden) in every() {
        let bytes = message.encode(Some(uid(9)), NOW);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden, "{message:?}");
        assert!(is_of_membership(bytes[0]));
        tags.push(bytes[0]);
        let read = Message::decode(&bytes, "demo", NOW);
        assert_eq!(read, Ok((Some(uid(9)), message)));
    }
    assert!(tags.iter().copied().eq(1..=13), "{tags:?}");
}

#[test]
fn whom_a_view_is_for_is_written_into_it_last() {
    let view = View::of(&[(1, Status::Up)]);
    let gossip = view.gossip();
    for (welcome, whole) in [
        (true, Message::Welcome(Box::new(gossip.clone()))),
        (false, Message::Gossip(Box::new(gossip.clone()))),
    ] {
        let body = addressed(&encode_gossip(gossip, welcome, NOW), uid(9));
        assert_eq!(body, whole.encode(Some(uid(9)), NOW));
    }
    assert_eq!(
        addressed(&[1, 2], uid(9)),
        [1, 2],
        "too short to name anybody"
    );
}

#[test]
fn a_message_that_ends_anywhere_else_is_refused() {
    for (message, _) in every() {
        let bytes = message.encode(None, NOW);
        for end in 0..bytes.len() {
            assert!(
                Message::decode(&bytes[..end], "demo", NOW).is_err(),
                "{message:?}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(
            Message::decode(&longer, "demo", NOW).is_err(),
            "{message:?}"
        );
    }
    let unknown = [[14].as_slice(), &[0; 8]].concat();
    assert_eq!(
        Message::decode(&unknown, "demo", NOW),
        Err(CodecError::Unknown)
    );
}

#[test]
fn hostile_bodies_are_refused_or_messages_that_hold_together() {
    let mut random = Random::new(7);
    let (mut read, mut refused) = (0, 0);
    for (message, _) in every() {
        let bytes = message.encode(Some(uid(9)), NOW);
        for _ in 0..2_000 {
            let mut hostile = bytes.clone();
            for _ in 0..=random.below(3) {
                let place = random.below(hostile.len());
                hostile[place] = random.next_u64() as u8;
            }
            match Message::decode(&hostile, "demo", NOW) {
                Ok((to, message)) => {
                    let again = message.encode(to, NOW);
                    assert_eq!(Message::decode(&again, "demo", NOW), Ok((to, message)));
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        read > 1_000 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}

#[test]
fn one_over_the_configuration_max_and_the_setting_name_bytes_max_are_refused() {
    let read = |names: Vec<Box<str>>| {
        let bytes = Message::Incompatible { names }.encode(None, NOW);
        Message::decode(&bytes, "demo", NOW)
    };
    let name: Box<str> = "x".repeat(SETTING_NAME_BYTES_MAX).into();
    assert!(read(vec![name.clone(); CONFIGURATION_MAX]).is_ok());
    let many = read(vec![name; CONFIGURATION_MAX + 1]);
    assert_eq!(many, Err(CodecError::State));
    let long = read(vec!["x".repeat(SETTING_NAME_BYTES_MAX + 1).into()]);
    assert_eq!(long, Err(CodecError::State));
}
