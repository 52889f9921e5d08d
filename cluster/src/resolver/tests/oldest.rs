//! The side with the oldest goes on.

use super::*;

fn statuses(up: &[u64], others: &[(u64, Status)]) -> Vec<(u64, Status)> {
    let up = up.iter().map(|it| (*it, Status::Up));
    up.chain(others.iter().copied()).collect()
}

/// Who runs when that was cut, with the oldest first by address and by age.
fn left(members: &[(u64, Status)], strategy: &KeepOldest, sides: &[&[u64]]) -> Vec<u64> {
    let mut cluster = Cluster::of(members, strategy.clone());
    cluster.part(sides);
    cluster.run(11_000);
    cluster.numbers()
}

#[test]
fn the_side_of_the_oldest_stays_however_small() {
    let five = statuses(&[1, 2, 3, 4, 5], &[]);
    let keep = KeepOldest::default();
    assert_eq!(left(&five, &keep, &[&[1, 2], &[3, 4, 5]]), [1, 2]);
    assert_eq!(left(&five, &keep, &[&[1, 2], &[3], &[4, 5]]), [1, 2]);
    let two = statuses(&[1, 2], &[]);
    assert_eq!(left(&two, &keep, &[&[1], &[2]]), [1]);
}

#[test]
fn the_oldest_goes_if_it_is_alone_unless_it_is_to_stay() {
    let four = statuses(&[1, 2, 3, 4], &[]);
    let cut: [&[u64]; 2] = [&[1], &[2, 3, 4]];
    assert_eq!(left(&four, &KeepOldest::default(), &cut), [2, 3, 4]);
    let always = KeepOldest {
        down_if_alone: false,
        role: None,
    };
    assert_eq!(left(&four, &always, &cut), [1]);
}

/// Only the first by address moves members on: where it is on the other side, more of them may be
/// members in full by now.
#[test]
fn whoever_may_be_up_beside_the_oldest_keeps_it_from_being_alone() {
    let entering = [(8, Status::Joining)];
    let members = statuses(&[1, 2, 3], &entering);
    let keep = KeepOldest::default();
    assert_eq!(left(&members, &keep, &[&[1, 8], &[2, 3]]), [] as [u64; 0]);
    assert_eq!(left(&members, &keep, &[&[1], &[2, 3, 8]]), [2, 3, 8]);
}

#[test]
fn an_oldest_that_leaves_may_have_left() {
    let keep = KeepOldest::default();
    let mut cluster = Cluster::of(&statuses(&[2, 3, 4, 5], &[]), keep);
    cluster.set(2, 3, Status::Leaving);
    let split = |cluster: &Cluster, at: u64| {
        let view = &cluster.nodes[&at].0;
        Split::of(view, uid(at)).expect("a member")
    };
    let oldest = |cluster: &Cluster, at| split(cluster, at).possibly_oldest(|_| true);
    assert_eq!(oldest(&cluster, 3), [uid(2)]);
    cluster.set(2, 2, Status::Leaving);
    assert_eq!(oldest(&cluster, 2), [uid(2)], "it moves members on itself");
    cluster.part(&[&[2], &[3, 4, 5]]);
    assert_eq!(oldest(&cluster, 3), [uid(2), uid(3), uid(4)]);
}

#[test]
fn only_those_with_the_role_are_the_oldest_of_it() {
    let role = |role: &str| KeepOldest {
        role: Some(role.into()),
        ..KeepOldest::default()
    };
    let four = statuses(&[1, 2, 3, 4], &[]);
    let cut: [&[u64]; 2] = [&[1, 2], &[3, 4]];
    assert_eq!(left(&four, &role("dc-default"), &cut), [1, 2]);
    assert_eq!(left(&four, &role("back"), &cut), [] as [u64; 0]);
}

#[test]
fn all_go_when_things_keep_changing() {
    let mut cluster = Cluster::of(&statuses(&[1, 2, 3, 4, 5], &[]), KeepOldest::default());
    cluster.part(&[&[1, 2, 3, 4], &[5]]);
    for _ in 0..6 {
        cluster.run(3_000);
        cluster.accuse(1, 4, Reason::Silence);
        cluster.share();
        cluster.clear(1, 4);
        cluster.share();
    }
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(
        cluster.reasons(),
        ["outvoted", "unstable"],
        "the one that was cut off, and the others"
    );
}

#[test]
fn an_oldest_that_resigned_because_it_was_alone_takes_nobody_with_it() {
    let mut cluster = Cluster::of(&statuses(&[1, 2, 3, 4, 5], &[]), KeepOldest::default());
    cluster.resign(2, 1);
    cluster.crash(1);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [2, 3, 4, 5]);
}
