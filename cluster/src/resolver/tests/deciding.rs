//! Which side goes on, and when.

use super::*;

fn statuses(up: &[u64], others: &[(u64, Status)]) -> Vec<(u64, Status)> {
    let up = up.iter().map(|it| (*it, Status::Up));
    up.chain(others.iter().copied()).collect()
}

#[test]
fn the_majority_gives_up_the_others_and_they_go_down_themselves() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(6_999);
    assert_eq!(cluster.decided.len(), 0, "too early for five members");
    cluster.run(2);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
    assert_eq!(cluster.given_up(4), [1, 2]);
    let (when, by, decision) = &cluster.decided[0];
    assert_eq!((*when, *by), (107_000, 1), "each of the minority by itself");
    assert_eq!(decision.down, [node(1)]);
    assert_eq!(cluster.reasons(), ["outvoted", "voted"]);
    let voted = cluster.decided.iter().filter(|it| it.2.why == Why::Voted);
    let voted: Vec<_> = voted.map(|it| (it.1, it.2.down.clone())).collect();
    assert_eq!(voted, [(3, vec![node(1), node(2)])], "one acts for all");
}

#[test]
fn of_two_halves_the_one_with_the_first_by_address_stays() {
    let mut cluster = Cluster::up(1..=4);
    cluster.part(&[&[1, 4], &[2, 3]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [1, 4]);
    let mut cluster = Cluster::up(1..=2);
    cluster.part(&[&[1], &[2]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [1]);
}

#[test]
fn of_three_parts_without_a_majority_none_stays() {
    let mut cluster = Cluster::up(1..=6);
    cluster.part(&[&[1, 2], &[3, 4], &[5, 6]]);
    cluster.run(11_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
}

#[test]
fn who_joins_counts_for_nothing_and_goes_with_its_side() {
    let entering = [
        (7, Status::Joining),
        (8, Status::WeaklyUp),
        (9, Status::Joining),
    ];
    let members = statuses(&[1, 2, 3], &entering);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.part(&[&[1, 2], &[3, 7, 8, 9]]);
    cluster.run(11_000);
    assert_eq!(cluster.numbers(), [1, 2]);
    assert_eq!(cluster.given_up(1), [3, 7, 8, 9]);
}

/// Only the first by address moves members on, and it is on the other side: it may have.
#[test]
fn who_joins_counts_for_the_other_side_if_it_may_be_up_there() {
    let entering = [(8, Status::Joining), (9, Status::Joining)];
    let members = statuses(&[1, 2, 3], &entering);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.part(&[&[2, 3], &[1, 8, 9]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.part(&[&[2, 3, 8, 9], &[1]]);
    cluster.run(8_000);
    assert_eq!(
        cluster.numbers(),
        [2, 3, 8, 9],
        "here they agree themselves"
    );
}

#[test]
fn who_leaves_this_side_may_be_gone_for_the_other() {
    let members = statuses(&[1, 3, 4, 5], &[(2, Status::Leaving)]);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.part(&[&[1, 5], &[2, 3, 4]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    let members = statuses(&[2, 3, 4, 5], &[(1, Status::Leaving)]);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.run(8_000);
    assert_eq!(
        cluster.numbers(),
        [1, 2, 3],
        "it would know, for it moves members on"
    );
}

/// It never was a member in full, and so needs nobody's knowledge to leave.
#[test]
fn who_leaves_before_it_was_up_counts_for_nothing() {
    let members = statuses(&[2, 3], &[(1, Status::Joining)]);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.set(1, 1, Status::Leaving);
    assert_eq!(cluster.resolver(2).split.as_ref().unwrap().base().len(), 2);
    cluster.part(&[&[2], &[1, 3]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0], "neither half knows");
}

#[test]
fn a_founder_outlives_those_that_crash_while_they_join() {
    let members = statuses(&[5], &[(1, Status::Joining), (2, Status::Joining)]);
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    cluster.crash(1);
    cluster.crash(2);
    cluster.accuse(5, 1, Reason::Silence);
    cluster.accuse(5, 2, Reason::Silence);
    cluster.share();
    cluster.run(8_000);
    assert_eq!(
        (cluster.numbers(), cluster.given_up(5)),
        (vec![5], vec![1, 2])
    );
}

#[test]
fn who_is_down_and_not_removed_counts_against_this_side() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part(&[&[1, 2, 3], &[4, 5]]);
    cluster.run(8_000);
    assert_eq!(cluster.given_up(1), [4, 5]);
    cluster.part(&[&[1, 2], &[3]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0], "two of five");
}

#[test]
fn only_members_with_the_role_count() {
    let role = |role: &str| KeepMajority {
        role: Some(role.into()),
    };
    let members = statuses(&[1, 2, 3], &[]);
    let mut cluster = Cluster::of(&members, role("dc-default"));
    cluster.part(&[&[1], &[2, 3]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [2, 3], "all have this one");
    let mut cluster = Cluster::of(&members, role("back"));
    cluster.part(&[&[1], &[2, 3]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    let leave = &cluster.decided[0].2.verdict;
    assert_eq!(*leave, Verdict::Leave("no member has the role"));
}

#[test]
fn a_fixed_quorum_stays_and_less_goes_and_one_over_what_two_quorums_need_goes() {
    let quorum = StaticQuorum {
        size: 3,
        role: None,
    };
    let of = |count: u64| {
        let members: Vec<_> = (1..=count).map(|it| (it, Status::Up)).collect();
        Cluster::of(&members, quorum.clone())
    };
    let mut cluster = of(5);
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [3, 4, 5]);
    let mut cluster = of(5);
    cluster.part(&[&[1, 2], &[3, 4], &[5]]);
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
    let mut cluster = of(6);
    cluster.part(&[&[1], &[2, 3, 4, 5, 6]]);
    cluster.run(11_000);
    assert_eq!(
        cluster.numbers(),
        [] as [u64; 0],
        "there could be two quorums"
    );
    let cluster = of(2);
    assert!(
        !cluster.has_quorum(1),
        "there is none yet, though nobody is lost"
    );
}

#[test]
fn all_go_down_by_a_strategy_that_says_so() {
    let mut cluster = Cluster::of(&statuses(&[1, 2, 3], &[]), DownAll);
    assert!(cluster.has_quorum(1));
    cluster.part(&[&[1, 2], &[3]]);
    assert!(!cluster.has_quorum(1));
    cluster.run(8_000);
    assert_eq!(cluster.numbers(), [] as [u64; 0]);
}

#[test]
fn hosts_that_refuse_all_their_monitors_are_not_waited_for() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part_for(&[&[1, 2, 3, 4], &[5]], Reason::Refused);
    cluster.crash(5);
    cluster.run(1_499);
    assert_eq!(cluster.decided.len(), 0);
    cluster.run(2);
    assert_eq!(cluster.given_up(1), [5]);
    assert!(cluster.decided[0].2.explanation.is_fast);
}

#[test]
fn one_monitor_that_is_not_refused_keeps_all_waiting_and_so_do_two_members_alone() {
    let mut cluster = Cluster::up(1..=5);
    cluster.part_for(&[&[1, 2, 3, 4], &[5]], Reason::Refused);
    cluster.crash(5);
    cluster.accuse(4, 5, Reason::Silence);
    cluster.share();
    cluster.run(6_000);
    assert_eq!(cluster.decided.len(), 0);
    cluster.run(2_000);
    assert_eq!(cluster.given_up(1), [5]);

    let mut cluster = Cluster::up(1..=2);
    cluster.part_for(&[&[1], &[2]], Reason::Refused);
    cluster.run(6_000);
    assert_eq!(cluster.decided.len(), 0);

    let settings = ResolverSettings {
        fast_stable_after: None,
        ..ResolverSettings::default()
    };
    let members = statuses(&[1, 2, 3], &[]);
    let mut cluster = Cluster::with(&members, KeepMajority::default(), settings);
    cluster.part_for(&[&[1, 2], &[3]], Reason::Refused);
    cluster.crash(3);
    cluster.run(6_000);
    assert_eq!(cluster.decided.len(), 0, "it is off");
}

#[test]
fn the_time_begins_again_with_a_loss_or_a_change_of_status_but_not_with_a_join() {
    let members = statuses(&[1, 2, 3, 4], &[(5, Status::Joining)]);
    let begun = |change: fn(&mut Cluster)| {
        let mut cluster = Cluster::of(&members, KeepMajority::default());
        cluster.part(&[&[1, 2, 3, 5], &[4]]);
        cluster.crash(4);
        cluster.run(3_000);
        change(&mut cluster);
        cluster.run(20_000);
        cluster.decided[0].0 - 100_000
    };
    assert_eq!(begun(|_| {}), 7_000);
    assert_eq!(begun(|it| it.set(1, 3, Status::Leaving)), 7_000);
    assert_eq!(begun(|it| it.set(1, 5, Status::WeaklyUp)), 7_000);
    assert_eq!(begun(|it| it.accuse(2, 4, Reason::Refused)), 7_000);
    assert_eq!(begun(|it| it.set(1, 5, Status::Up)), 10_000);
    assert_eq!(begun(|it| it.set(1, 5, Status::Down)), 10_000);
    let lose = |it: &mut Cluster| {
        it.accuse(1, 3, Reason::Silence);
        it.crash(3);
        it.share();
    };
    assert_eq!(begun(lose), 10_000);
}

#[test]
fn of_a_side_that_cannot_go_on_nobody_waits_because_others_went() {
    let mut cluster = Cluster::up(1..=7);
    cluster.part(&[&[1, 2, 3], &[4, 5, 6, 7]]);
    // They do not all begin to wait in the same moment.
    for (number, ms) in [(2, 100), (3, 200)] {
        cluster.run(100);
        cluster.act(number, |now, (_, it), out| {
            it.handle_stalled(now, Duration::from_millis(ms), out);
        });
    }
    let due = |cluster: &Cluster, it| cluster.resolver(it).poll_timeout();
    let (two, three) = (due(&cluster, 2), due(&cluster, 3));
    assert!(due(&cluster, 1) < two && two < three);
    // The word of each that goes reaches the others, and then it is silent.
    cluster.resign(3, 1);
    assert_eq!(due(&cluster, 2), two);
    cluster.accuse(3, 1, Reason::Silence);
    cluster.resign(3, 2);
    assert_eq!(due(&cluster, 3), three);
}

#[test]
fn the_time_is_that_of_the_cluster_before_anybody_was_lost() {
    let mut cluster = Cluster::up(1..=6);
    cluster.part(&[&[1, 2, 3, 4, 5], &[6]]);
    assert_eq!(
        cluster
            .resolver(1)
            .explain(at(cluster.now))
            .stable_after
            .as_secs(),
        10
    );
    for number in 7..30 {
        let (view, _) = cluster.nodes.get_mut(&1).expect("a node");
        let _ = view.admit(member(number, "default", Status::Joining));
        view.touch(uid(1));
    }
    cluster.share();
    assert_eq!(
        cluster
            .resolver(1)
            .explain(at(cluster.now))
            .stable_after
            .as_secs(),
        10
    );
}

/// Akka says that quiet ends this, and its code does not. Here it ends when nobody is lost, and as
/// long as somebody is it does not.
#[test]
fn all_go_down_when_things_keep_changing_unless_it_is_voted() {
    let flap = |cluster: &mut Cluster, seconds: u64| {
        cluster.part(&[&[1, 2], &[3, 4, 5]]);
        for second in 0..seconds {
            match second % 2 {
                0 => cluster.accuse(1, 2, Reason::Silence),
                _ => cluster.clear(1, 2),
            }
            cluster.share();
            cluster.run(1_000);
        }
        cluster.nodes.contains_key(&1)
    };
    let members = statuses(&[1, 2, 3, 4, 5], &[]);
    let mut cluster = Cluster::of(&members, model::KeepYourself);
    assert!(flap(&mut cluster, 12));
    assert!(!flap(&mut cluster, 1));
    assert!(cluster.decided.iter().any(|it| it.2.why == Why::Unstable));
    let mut cluster = Cluster::of(&members, KeepMajority::default());
    assert!(flap(&mut cluster, 30), "it is voted");
    let settings = ResolverSettings {
        unstable_after: Unstable::Wait,
        ..ResolverSettings::default()
    };
    let mut cluster = Cluster::with(&members, model::KeepYourself, settings);
    assert!(flap(&mut cluster, 30), "it is off");
    let mut cluster = Cluster::of(&members, model::KeepYourself);
    for _ in 0..10 {
        assert!(flap(&mut cluster, 6));
        cluster.heal();
    }
}

#[test]
fn the_quorum_is_gone_as_soon_as_it_is_not_seen_and_after_a_time_away() {
    let mut cluster = Cluster::up(1..=5);
    assert!((1..=5).all(|it| cluster.has_quorum(it)));
    cluster.part(&[&[1, 2], &[3, 4, 5]]);
    assert!((1..=2).all(|it| !cluster.has_quorum(it)));
    assert!((3..=5).all(|it| cluster.has_quorum(it)));
    cluster.heal();
    assert!((1..=5).all(|it| cluster.has_quorum(it)));
    cluster.act(1, |now, (_, it), out| {
        it.handle_stalled(now, Duration::from_secs(5), out)
    });
    assert!(!cluster.has_quorum(1));
    cluster.run(1_999);
    assert!(!cluster.has_quorum(1));
    cluster.run(2);
    assert!(cluster.has_quorum(1));
}

#[test]
fn a_member_that_is_told_it_was_removed_believes_members_alone() {
    let mut cluster = Cluster::up(1..=3);
    let tell = |cluster: &mut Cluster, by| {
        cluster.act(3, |now, (view, it), out| {
            it.handle_expelled(now, view, uid(by), out)
        });
    };
    tell(&mut cluster, 77);
    assert_eq!(
        (cluster.decided.len(), cluster.resolver(3).ignored()),
        (0, 1)
    );
    tell(&mut cluster, 1);
    assert_eq!(cluster.numbers(), [1, 2]);
    assert_eq!(cluster.reasons(), ["expelled"]);
}

#[test]
fn a_node_that_was_away_waits_anew() {
    let mut cluster = Cluster::up(1..=3);
    cluster.part(&[&[1, 2], &[3]]);
    cluster.crash(3);
    cluster.run(6_000);
    for number in [1, 2] {
        cluster.act(number, |now, (_, it), out| {
            it.handle_stalled(now, Duration::from_secs(1), out);
        });
    }
    cluster.run(6_000);
    assert_eq!(cluster.decided.len(), 0);
    cluster.run(2_000);
    assert_eq!(cluster.given_up(1), [3]);
}

#[test]
fn other_data_centres_are_neither_counted_nor_given_up() {
    let mut cluster = Cluster::up(1..=2);
    for number in 3..9 {
        let (view, _) = cluster.nodes.get_mut(&1).expect("a node");
        let _ = view.admit(member(number, "east", Status::Up));
        view.reachability_mut().accuse(
            uid(1),
            uid(number),
            Record {
                reason: Reason::Silence,
                witnesses: Vec::new(),
            },
        );
        view.touch(uid(1));
    }
    cluster.share();
    cluster.run(60_000);
    assert_eq!(cluster.decided.len(), 0);
    assert!(cluster.has_quorum(1));
}

#[test]
fn it_explains_what_it_sees_before_and_after() {
    let mut cluster = Cluster::up(1..=3);
    cluster.sides = vec![vec![1, 2], vec![3]];
    cluster.accuse_with(1, 3, Reason::Silence, &[2]);
    cluster.accuse(2, 3, Reason::Refused);
    cluster.share();
    cluster.run(2_000);
    let before = cluster.resolver(2).explain(at(cluster.now)).to_string();
    let text = "\
keep-majority as 0000000000000002 sees it: this side stays; \
ringmesh://demo@10.0.0.1:1#0000000000000001 acts for this side
  ringmesh://demo@10.0.0.1:1#0000000000000001 up, here
  ringmesh://demo@10.0.0.1:2#0000000000000002 up, here
  ringmesh://demo@10.0.0.1:3#0000000000000003 up, lost; silence for 0000000000000001, \
though 0000000000000002 hears it; refused for 0000000000000002
unchanged for 2.0s of 7.0s; due in 5.0s";
    assert_eq!(before, text);
    cluster.crash(3);
    cluster.run(8_000);
    let decision = cluster.resolver(1).last_decision().expect("a decision");
    let after = decision.to_string();
    let start = "keep-majority: this side stays (voted); down: \
                 ringmesh://demo@10.0.0.1:3#0000000000000003\nkeep-majority as";
    assert!(after.starts_with(start), "{after}");
    assert!(
        after.ends_with("proposal 1, round 1: 0000000000000002 agrees;"),
        "{after}"
    );
    let explanation = cluster.resolver(1).explain(at(cluster.now));
    assert_eq!(explanation.verdict, None, "nobody is lost any more");
}
