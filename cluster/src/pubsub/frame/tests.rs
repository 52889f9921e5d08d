use super::*;
use crate::context::Random;
use crate::membership::testing::uid;
use crate::pubsub::limits::{GROUP_BYTES_MAX, HEAD_BYTES_MAX, TOPIC_BYTES_MAX};

fn named(text: &str) -> FrameTopic<'_> {
    let topic = Topic::new(text).expect("a topic");
    let protocol = 0x0102_0304_0506_0708;
    FrameTopic::Named { topic, protocol }
}

const ANSWER_TO: AnswerTo = AnswerTo {
    publish: 5,
    node: match Uid::new(9) {
        Some(uid) => uid,
        None => unreachable!(),
    },
    core: CoreId(3),
    is_besides: false,
};

fn draft<'a>(
    topic: FrameTopic<'a>,
    groups: &'a [(u16, &'a str)],
) -> Draft<'a, impl Iterator<Item = (CoreId, &'a str)>> {
    Draft {
        topic,
        is_open: true,
        is_forwarded: false,
        groups: groups.iter().map(|it| (CoreId(it.0), it.1)),
        answer_to: None,
        publisher: None,
    }
}

fn samples() -> Vec<Vec<u8>> {
    let groups = [(0, "g"), (255, "workers")];
    let all = [
        draft(FrameTopic::Entry(EntryId(7)), &[]),
        draft(named("a.b"), &[]),
        draft(named("a.b"), &groups),
        draft(named("a.b"), &groups[..1]),
    ];
    let mut samples = Vec::new();
    for (at, draft) in all.into_iter().enumerate() {
        let draft = Draft {
            answer_to: (at > 0).then_some(AnswerTo {
                is_besides: at == 3,
                ..ANSWER_TO
            }),
            is_forwarded: at > 1,
            publisher: Uid::new(6).filter(|_| at == 3),
            is_open: at < 2,
            ..draft
        };
        let mut bytes = vec![0xEE; HEAD_BYTES_MAX];
        let length = draft.write(&mut bytes).expect("room");
        bytes.truncate(length);
        samples.push(bytes);
    }
    samples
}

#[test]
fn a_head_has_these_bytes() {
    let samples = samples();
    assert_eq!(samples[0], [2, 7, 0, 0, 0, 0, 0, 0, 0]);
    let named = [19, 8, 7, 6, 5, 4, 3, 2, 1, 3, b'a', b'.', b'b'];
    let answer = [5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0];
    assert_eq!(samples[1], [&named[..], &answer].concat());
    let grouped = [29, 8, 7, 6, 5, 4, 3, 2, 1, 3, b'a', b'.', b'b', 2];
    let groups = b"\x00\x00\x01g\xff\x00\x07workers";
    assert_eq!(samples[2], [&grouped[..], groups, &answer].concat());
    assert_eq!(samples[3][0], 125);
    let publisher = [6, 0, 0, 0, 0, 0, 0, 0];
    assert!(samples[3].ends_with(&[&answer[..], &publisher].concat()));
}

#[test]
fn only_what_is_forwarded_and_answered_is_answered_besides() {
    for (flags, is_head) in [
        (125, true),
        (61, true),
        (53, false),
        (45, false),
        (37, false),
    ] {
        let bytes = [&[flags][..], &samples()[3][1..]].concat();
        assert_eq!(Head::parse(&bytes).is_ok(), is_head, "{flags}");
    }
    let bytes = &samples()[3];
    let (head, _) = Head::parse(bytes).expect("a head");
    assert!(head.answer_to.is_some_and(|it| it.is_besides));
}

#[test]
fn only_what_is_forwarded_was_published_by_another_than_who_sends_it() {
    let bytes = &samples()[3];
    let (head, message) = Head::parse(bytes).expect("a head");
    assert_eq!((head.publisher, message), (Uid::new(6), &[][..]));
    for flags in [125 - 8, 125 - 32 - 8, 125 | 128] {
        let bytes = [&[flags][..], &bytes[1..]].concat();
        assert_eq!(Head::parse(&bytes).err(), Some(FrameError::Number));
    }
    let mut nobody = bytes.clone();
    let at = nobody.len() - 8;
    nobody[at] = 0;
    assert_eq!(Head::parse(&nobody).err(), Some(FrameError::Number));
    let by_its_sender = &samples()[2];
    let (head, rest) = Head::parse(by_its_sender).expect("a head");
    assert_eq!((head.publisher, rest.len()), (None, 0));
}

#[test]
fn a_head_says_what_was_written_and_leaves_the_message() {
    let bytes = [&samples()[2][..], b"message"].concat();
    let (head, message) = Head::parse(&bytes).expect("a head");
    assert_eq!((message, head.topic), (&b"message"[..], named("a.b")));
    assert_eq!(head.answer_to, Some(ANSWER_TO));
    assert!(head.is_forwarded && !head.is_open);
    let groups: Vec<_> = head.groups.collect();
    assert_eq!(groups, [(CoreId(0), "g"), (CoreId(255), "workers")]);
}

#[test]
fn whatever_is_cut_off_or_turned_round_is_refused_or_read_as_something_whole() {
    for bytes in samples() {
        for length in 0..bytes.len() {
            assert!(Head::parse(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            read(&bytes);
        }
    }
    let mut random = Random::new(1);
    for _ in 0..20_000 {
        let mut bytes = samples()[random.below(4)].clone();
        for _ in 0..=random.below(4) {
            let place = random.below(bytes.len());
            bytes[place] = random.next_u64() as u8;
        }
        read(&bytes);
        let noise: Vec<u8> = (0..random.below(40))
            .map(|_| random.next_u64() as u8)
            .collect();
        read(&noise);
    }
}

/// Reads bytes, and writes what they say: that says the same.
fn read(bytes: &[u8]) {
    let _ = Reached::parse(bytes);
    let Ok((head, message)) = Head::parse(bytes) else {
        return;
    };
    assert!(head.groups.count() <= GROUPS_OF_TOPIC_MAX);
    let mut again = vec![0; HEAD_BYTES_MAX];
    let draft = Draft {
        topic: head.topic,
        is_open: head.is_open,
        is_forwarded: head.is_forwarded,
        groups: head.groups,
        answer_to: head.answer_to,
        publisher: head.publisher,
    };
    let length = draft.write(&mut again).expect("room");
    assert_eq!([&again[..length], message].concat(), bytes);
}

#[test]
fn a_head_takes_no_more_than_head_bytes_max_and_one_over_groups_of_topic_max_is_refused() {
    let (topic, group) = ("t".repeat(TOPIC_BYTES_MAX), "g".repeat(GROUP_BYTES_MAX));
    let groups = vec![(1, &*group); GROUPS_OF_TOPIC_MAX + 1];
    let draft_of = |count: usize| Draft {
        answer_to: Some(ANSWER_TO),
        is_forwarded: true,
        publisher: Uid::new(6),
        ..draft(named(&topic), &groups[..count])
    };
    let mut bytes = vec![0; 2 * HEAD_BYTES_MAX];
    let length = draft_of(GROUPS_OF_TOPIC_MAX)
        .write(&mut bytes)
        .expect("room");
    assert!(length <= HEAD_BYTES_MAX, "{length}");
    assert!(Head::parse(&bytes[..length]).is_ok());
    for room in 0..length {
        let written = draft_of(GROUPS_OF_TOPIC_MAX).write(&mut bytes[..room]);
        assert_eq!(written, Err(NoRoom), "{room}");
    }
    let over = draft_of(GROUPS_OF_TOPIC_MAX + 1)
        .write(&mut bytes)
        .expect("room");
    assert_eq!(
        Head::parse(&bytes[..over]).map(|_| ()),
        Err(FrameError::Number)
    );
}

#[test]
fn an_answer_comes_back_as_it_was_and_nothing_else_is_one() {
    let sent = [0, CORES_MAX - 1].map(|cores| Came::Sent { cores });
    for came in [sent[0], sent[1], Came::Shared, Came::SentOn, Came::Besides] {
        let reached = Reached {
            publish: uid(7).as_u64(),
            came,
            sent_on: 300,
            subscribers: 3,
        };
        let bytes = reached.to_bytes();
        assert_eq!(Reached::parse(&bytes), Ok(reached));
        assert!(Head::parse(&bytes).is_err(), "the two are told apart");
        for length in 0..bytes.len() {
            assert!(Reached::parse(&bytes[..length]).is_err());
        }
        assert!(Reached::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
    let mut bytes = [0; ANSWER_BYTES];
    bytes[0] = ANSWER;
    bytes[9..11].copy_from_slice(&CORES_MAX.to_le_bytes());
    assert_eq!(Reached::parse(&bytes), Err(FrameError::Number));
}
