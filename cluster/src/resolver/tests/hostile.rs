//! Peers that say what they like.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, proptest};

use super::super::message::Message;
use super::{BTreeSet, Cluster, NAMES_MAX, Uid, node, uid};
use crate::resolver::Answer;

fn some() -> impl Strategy<Value = BTreeSet<Uid>> {
    let numbers = proptest::collection::btree_set(1_u64..9, 0..8);
    numbers.prop_map(|it| it.into_iter().map(uid).collect())
}

fn message() -> impl Strategy<Value = Message> {
    let answer = proptest::sample::select(vec![
        Answer::Yes,
        Answer::Differs,
        Answer::Named,
        Answer::Unknown,
    ]);
    let numbers = (0_u32..4, 0_u32..4);
    let parts = (0_u8..5, 1_u64..3, numbers, some(), some(), answer);
    parts.prop_map(|(kind, to, (number, carried), base, down, answer)| {
        let to = uid(to);
        match kind {
            0 => Message::Proposal {
                to,
                number,
                carried,
                base,
                down,
            },
            1 => Message::Answer {
                to,
                number,
                answer,
                named: down,
            },
            2 => Message::Withdrawal {
                to,
                number,
                carried,
            },
            3 => Message::Surrender { to, base },
            _ => Message::Withdrawn { to, number },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_that_is_said_panics_and_each_is_answered_once(
        said in proptest::collection::vec((1_u64..9, message()), 0..60),
        split in 2_u64..6,
    ) {
        let mut cluster = Cluster::up(1..=5);
        let here: Vec<u64> = (1..=split).collect();
        let there: Vec<u64> = (split + 1..=5).collect();
        cluster.part(&[&here, &there]);
        cluster.mute = (2..=5).collect();
        cluster.run(7_500);
        for (from, message) in said {
            cluster.sent.clear();
            let bytes = message.to_bytes();
            cluster.act(1, |now, (view, it), out| {
                assert_eq!(it.handle_message(now, view, &node(from), &bytes, out), Ok(()));
            });
            prop_assert!(cluster.sent.len() <= 16, "{} answers", cluster.sent.len());
            cluster.run(100);
        }
        if let Some((_, resolver)) = cluster.nodes.get(&1) {
            prop_assert!(resolver.ballot.named(uid(99)).len() <= NAMES_MAX);
        }
    }

    #[test]
    fn bytes_without_sense_change_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut cluster = Cluster::up(1..=3);
        cluster.act(1, |now, (view, it), out| {
            let taken = it.handle_message(now, view, &node(2), &bytes, out);
            assert!(taken.is_err() || it.ignored() <= 1);
            assert_eq!(*out, []);
        });
    }
}
