//! Who goes of those that are there, though not for all.

use super::*;

/// Who goes if these cannot reach those, though all know of it.
fn going(members: u64, broken: &[(u64, u64)]) -> Vec<u64> {
    let mut cluster = Cluster::up(1..=members);
    for (observer, subject) in broken {
        cluster.accuse(*observer, *subject, Reason::Silence);
    }
    cluster.share();
    let split = cluster.resolver(1).split.clone().expect("a split");
    let going = split.going().map(|it| {
        assert_eq!(it.side, Side::Indirect);
        it.uid().as_u64()
    });
    going.collect()
}

fn each(ones: &[u64], others: &[u64]) -> Vec<(u64, u64)> {
    let pairs = ones
        .iter()
        .flat_map(|one| others.iter().map(move |other| (*one, *other)));
    pairs
        .flat_map(|(one, other)| [(one, other), (other, one)])
        .collect()
}

#[test]
fn a_link_that_broke_costs_one_of_its_ends() {
    assert_eq!(going(3, &[(1, 2), (2, 1)]), [2]);
    assert_eq!(going(3, &[(1, 2)]), [2]);
    assert_eq!(going(3, &[(2, 1)]), [2], "whoever said it");
    assert_eq!(going(5, &[(1, 2), (2, 1), (3, 4), (4, 3)]), [2, 4]);
}

#[test]
fn a_member_whose_line_is_dead_costs_itself_alone() {
    let accuses_all: Vec<_> = [2, 3, 4, 5].map(|it| (1, it)).to_vec();
    assert_eq!(going(5, &accuses_all), [1]);
    let is_accused_by_all: Vec<_> = [2, 3, 4, 5].map(|it| (it, 1)).to_vec();
    assert_eq!(going(5, &is_accused_by_all), [1]);
}

#[test]
fn of_two_sides_that_some_in_the_middle_still_see_the_smaller_goes() {
    assert_eq!(going(5, &each(&[1, 2], &[4, 5])), [4, 5]);
    assert_eq!(going(6, &each(&[1, 2], &[4, 5, 6])), [1, 2]);
}

#[test]
fn whoever_joins_goes_before_a_member() {
    let members = [(1, Status::Joining), (2, Status::Up), (3, Status::Up)];
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.accuse(1, 3, Reason::Silence);
    cluster.share();
    let split = cluster.resolver(2).split.clone().expect("a split");
    let going: Vec<u64> = split.going().map(|it| it.uid().as_u64()).collect();
    assert_eq!(going, [1]);
}

#[test]
fn a_member_that_another_one_still_hears_is_not_lost_but_parted_from_its_accuser() {
    let side = |hear: &[u64]| {
        let mut cluster = Cluster::up(1..=4);
        cluster.sides = vec![vec![1, 2, 3], vec![4]];
        cluster.accuse_with(1, 4, Reason::Silence, hear);
        cluster.share();
        let split = cluster.resolver(1).split.clone().expect("a split");
        let going = split.going().map(|it| (it.uid().as_u64(), it.side));
        going.collect::<Vec<_>>()
    };
    assert_eq!(side(&[]), [(4, Side::Lost)]);
    assert_eq!(side(&[2]), [(4, Side::Indirect)]);
    // Whoever heard it, and does no more, is no witness any more.
    let mut cluster = Cluster::up(1..=4);
    cluster.sides = vec![vec![1, 2, 3], vec![4]];
    cluster.accuse_with(1, 4, Reason::Silence, &[2]);
    cluster.accuse(2, 4, Reason::Silence);
    cluster.share();
    let split = cluster.resolver(1).split.clone().expect("a split");
    assert!(split.going().all(|it| it.side == Side::Lost));
}

#[test]
fn those_that_are_parted_go_with_those_that_are_lost_and_the_rest_stays() {
    let mut cluster = Cluster::up(1..=6);
    cluster.part(&[&[1, 2, 3, 4, 5], &[6]]);
    cluster.crash(6);
    cluster.accuse(1, 2, Reason::Silence);
    cluster.accuse(2, 1, Reason::Silence);
    cluster.share();
    cluster.run(11_000);
    assert_eq!(cluster.numbers(), [1, 3, 4, 5]);
    assert_eq!(cluster.given_up(1), [2, 6]);
}

#[test]
fn what_a_member_says_that_goes_is_not_heeded() {
    let mut cluster = Cluster::up(1..=5);
    // It took two others for lost before it crashed itself.
    cluster.accuse(5, 1, Reason::Silence);
    cluster.share();
    cluster.part(&[&[1, 2, 3, 4], &[5]]);
    cluster.crash(5);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [1, 2, 3, 4]);
    assert_eq!(cluster.given_up(1), [5]);
}

/// What those that are gone said of each other before still holds, and makes them look alive: so
/// whoever outlived them would wait for one of them to decide.
#[test]
fn whoever_reaches_none_of_those_that_would_stay_goes() {
    let mut cluster = Cluster::up(1..=4);
    for (observer, subject) in [(1, 2), (2, 1), (2, 3), (3, 2)] {
        cluster.accuse(observer, subject, Reason::Silence);
    }
    cluster.share();
    for number in [1, 2, 3] {
        cluster.accuse(4, number, Reason::Silence);
        cluster.crash(number);
    }
    cluster.share();
    let split = cluster.resolver(4).split.clone().expect("a split");
    assert_eq!(split.speaker().map(|it| it.uid.as_u64()), Some(1));
    assert!(!split.stays(uid(4)));
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [0_u64; 0]);
}

/// Those that cannot go on wait anew for whoever is lost as well, and not for whoever goes first.
#[test]
fn a_side_that_cannot_go_on_waits_anew_when_another_is_lost_but_not_when_one_goes() {
    let small_side = || {
        let mut cluster = Cluster::up(1..=7);
        cluster.part(&[&[1, 2, 3], &[4, 5, 6, 7]]);
        cluster.run(4_000);
        cluster
    };
    let are_there = |it: &Cluster| [1, 2].map(|number| it.nodes.contains_key(&number));
    let mut cluster = small_side();
    cluster.part(&[&[1, 2], &[3], &[4, 5, 6, 7]]);
    cluster.run(9_999);
    assert_eq!(are_there(&cluster), [true; 2]);
    cluster.run(2);
    assert_eq!(are_there(&cluster), [false; 2]);
    let mut cluster = small_side();
    cluster.resign(1, 3);
    cluster.run(5_999);
    assert_eq!(are_there(&cluster), [true; 2]);
    cluster.run(2);
    assert_eq!(are_there(&cluster), [false; 2]);
}

/// It was away while the others of its side went: nobody is left who could contradict it, and they
/// may be a cluster again by now.
#[test]
fn whoever_is_left_by_those_that_resigned_is_no_majority() {
    let mut cluster = Cluster::up(1..=5);
    cluster.run(60_000);
    for gone in 2..=4 {
        cluster.resign(1, gone);
        cluster.crash(gone);
    }
    assert!(!cluster.has_quorum(1));
    cluster.run(6_999);
    assert_eq!(cluster.numbers(), [1, 5]);
    cluster.run(2);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    assert_eq!(cluster.reasons(), ["outvoted"]);
}

#[test]
fn one_that_resigned_is_given_up_by_those_that_stay_and_soon() {
    let mut cluster = Cluster::up(1..=5);
    cluster.resign(1, 4);
    cluster.crash(4);
    assert!(cluster.has_quorum(1));
    assert!(cluster.nodes[&1].0.has_resigned(uid(4)));
    cluster.run(1_499);
    assert_eq!(cluster.decided.len(), 0);
    cluster.run(2);
    assert_eq!(cluster.given_up(2), [4]);
    assert!(!cluster.nodes[&2].0.has_resigned(uid(4)));
    assert_eq!(cluster.reasons(), ["voted"]);
}
