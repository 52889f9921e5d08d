//! Who goes on is decided in each data centre by its own members, about its own members.

use super::super::message::Message;
use super::*;

/// Members 1 to 5 here, and three in the east, of whom all know.
fn two() -> Cluster {
    let mut cluster = Cluster::up(1..=5);
    for number in 11..=13 {
        let (view, _) = cluster.nodes.get_mut(&1).expect("a node");
        let admitted = view.admit(member(number, "east", Status::Up));
        assert_eq!(admitted, Ok(true));
        view.touch(uid(1));
    }
    cluster.share();
    cluster
}

fn uids(numbers: &[u64]) -> BTreeSet<Uid> {
    numbers.iter().copied().map(uid).collect()
}

#[test]
fn what_another_data_centre_says_of_who_goes_on_is_ignored() {
    let (to, base, number) = (uid(3), uids(&[1, 2, 3, 4, 5]), 1);
    let said = [
        Message::Proposal {
            to,
            number,
            carried: 0,
            base: base.clone(),
            down: uids(&[5]),
        },
        Message::Withdrawal {
            to,
            number,
            carried: 0,
        },
        Message::Surrender { to, base },
    ];
    let mut cluster = two();
    for message in &said {
        let bytes = message.to_bytes();
        cluster.act(3, |now, (view, it), out| {
            assert_eq!(it.handle_message(now, view, &node(11), &bytes, out), Ok(()));
            assert_eq!(*out, [], "{message:?}");
        });
    }
    assert_eq!(cluster.resolver(3).ignored(), said.len() as u64);
    assert!(cluster.decided.is_empty());
}

/// Those of another data centre that are lost at the same time neither go down with the others nor
/// count against those that stay, and nobody there is asked.
#[test]
fn a_side_is_given_up_by_the_votes_of_its_own_data_centre() {
    let mut cluster = two();
    for here in 1..=3 {
        (11..=13).for_each(|there| cluster.accuse(here, there, Reason::Silence));
    }
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.run(20_000);
    let votes = cluster
        .decided
        .iter()
        .filter_map(|it| it.2.explanation.votes.as_ref());
    let asked: BTreeSet<u64> = votes
        .flat_map(|it| it.answers.iter().map(|it| it.0.as_u64()))
        .collect();
    assert!(
        asked.contains(&2) && asked.iter().all(|it| *it <= 5),
        "{asked:?}"
    );
    assert_eq!(cluster.given_up(1), [4, 5]);
    let (view, _) = &cluster.nodes[&1];
    for there in 11..=13 {
        let status = view.member(uid(there)).map(|it| it.status());
        assert_eq!(status, Some(Status::Up), "{there}");
    }
    assert!(cluster.has_quorum(1));
}
