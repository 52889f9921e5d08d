//! What each invariant of pub-sub is for, written into a journal: it has to find it.

use ringmesh_cluster::pubsub::{Audience, Cores, Policy};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::time::Instant;

use super::journal::{At, Entry, Leg, Published, Role, Taken, Wanted};
use super::{Accounted, Frames, Groups, Once, Reached};

fn uid(number: u64) -> Uid {
    Uid::new(number).expect("not 0")
}

fn at(node: u64, core: u16) -> At {
    (uid(node), core)
}

/// A subscription to the first topic.
fn subscribed(at: At, group: Option<usize>) -> Entry {
    let (topics, kind) = (1, 1);
    Entry::Subscribed(Wanted {
        at,
        topics,
        kind,
        group,
    })
}

fn confirmed(subscription: usize, nodes: &[u64]) -> Entry {
    Entry::Confirmed {
        subscription,
        nodes: nodes.iter().map(|it| uid(*it)).collect(),
    }
}

/// A publish to the first topic by core 0 of node 1, which reaches nodes 2 and 3.
fn published(number: u64, stops: &[At], change: impl FnOnce(&mut Published)) -> Entry {
    let mut published = Published {
        number,
        at: at(1, 0),
        topic: 0,
        kind: 1,
        audience: Audience::All,
        policy: Policy::Random,
        role: None,
        stops: stops.into(),
        cores: Cores::default(),
        groups: 0,
        reachable: [1, 2, 3].map(uid).into(),
        apart: Box::default(),
        is_crowded: false,
        blocked: Box::default(),
        unreached: 0,
    };
    change(&mut published);
    Entry::Published(Box::new(published))
}

fn taken(publish: u64, at: At, leg: Leg) -> Taken {
    Taken {
        publish,
        at,
        leg,
        named: 0,
        members: 0,
        forwards: 0,
        delivered: 0,
        shared: 0,
        dead_groups: 0,
        dead_letters: 0,
        without_credit: 0,
    }
}

fn handed(frame: u64, publish: u64, to: u64, group: Option<usize>) -> Entry {
    Entry::Handed {
        frame,
        publish,
        from: uid(1),
        to: uid(to),
        group,
        digest: frame,
    }
}

fn delivered(publish: u64, at: At, subscription: usize) -> Entry {
    let subscription = Some(subscription);
    Entry::Delivered {
        publish,
        at,
        by: at.1,
        subscription,
    }
}

/// What is said of the last of some entries; all before it are as they should be.
fn last(
    entries: Vec<Entry>,
    mut judge: impl FnMut(&Entry) -> Result<u64, String>,
) -> Result<u64, String> {
    let mut said = Ok(0);
    for entry in &entries {
        assert!(said.is_ok(), "{said:?}");
        said = judge(entry);
    }
    said
}

#[test]
fn a_copy_too_many_one_for_another_and_one_that_comes_too_late_are_found() {
    let two = at(2, 0);
    let once = |entries: Vec<Entry>| {
        let mut all = vec![
            subscribed(two, None),
            published(1, &[two], |_| {}),
            published(2, &[two], |_| {}),
        ];
        all.extend(entries);
        let mut once = Once::default();
        last(all, |it| once.judge(it))
    };
    let in_order = vec![delivered(1, two, 0), delivered(2, two, 0)];
    assert_eq!(once(in_order), Ok(1));
    let said = [
        (vec![delivered(1, two, 0), delivered(1, two, 0)], "twice"),
        (vec![delivered(2, two, 0), delivered(1, two, 0)], "behind 2"),
        (vec![delivered(3, two, 0)], "never published"),
        (vec![delivered(1, at(3, 0), 0)], "came to Subscription"),
        (vec![delivered(1, two, 7)], "nobody who subscribes"),
        (
            vec![Entry::Ended { subscription: 0 }, delivered(1, two, 0)],
            "has_ended: true",
        ),
        (
            vec![published(3, &[two], |it| it.kind = 2), delivered(3, two, 0)],
            "came to Subscription",
        ),
        (
            vec![
                published(3, &[two], |it| it.audience = Audience::GroupsOnly),
                delivered(3, two, 0),
            ],
            "for groups",
        ),
    ];
    for (entries, why) in said {
        let found = once(entries).expect_err(why);
        assert!(found.contains(why), "{found}");
    }
}

#[test]
fn a_route_that_changes_while_its_core_has_subscribers_is_found() {
    let (zero, one) = (at(2, 0), at(2, 1));
    let changed = |between: Option<Entry>| {
        let mut once = Once::default();
        let mut all = vec![
            subscribed(zero, None),
            confirmed(0, &[1, 2]),
            published(1, &[zero], |_| {}),
            published(2, &[zero], |_| {}),
        ];
        all.extend(between);
        all.push(published(3, &[one], |_| {}));
        last(all, |it| once.judge(it))
    };
    let why = changed(None).expect_err("it has one");
    assert!(why.contains("went to 0, which has subscribers"), "{why}");
    assert_eq!(changed(Some(Entry::Ended { subscription: 0 })), Ok(1));
    let nodes = [uid(2)].into();
    let apart = Entry::Apart {
        at: at(1, 0),
        nodes,
    };
    assert_eq!(changed(Some(apart)), Ok(0), "it was made anew");
}

#[test]
fn a_group_of_which_two_get_it_is_found() {
    let two = |policy, audience| {
        let mut groups = Groups::default();
        let all = vec![
            subscribed(at(2, 0), Some(1)),
            subscribed(at(3, 0), Some(1)),
            published(1, &[], |it| {
                it.policy = policy;
                it.audience = audience;
            }),
            delivered(1, at(2, 0), 0),
            delivered(1, at(3, 0), 1),
        ];
        let end = if audience == Audience::All { 5 } else { 4 };
        last(all.into_iter().take(end).collect(), |it| groups.judge(it))
    };
    let why = two(Policy::Random, Audience::All).expect_err("two");
    assert!(why.ends_with("came to group h twice"), "{why}");
    assert_eq!(two(Policy::Broadcast, Audience::All), Ok(1));
    assert!(two(Policy::Random, Audience::UngroupedOnly).is_err());
}

#[test]
fn frames_too_many_and_to_nodes_out_of_reach_are_found() {
    let said = |entries: Vec<Entry>| {
        let mut frames = Frames::default();
        last(entries, |it| frames.judge(it))
    };
    let begun = |policy| published(1, &[at(2, 0)], move |it| it.policy = policy);
    let one = || handed(1, 1, 2, None);
    let on = |frame| handed(frame, 1, 2, Some(0));
    assert_eq!(said(vec![begun(Policy::Random), one(), on(2)]), Ok(1));
    assert!(said(vec![begun(Policy::Random), one(), one()]).is_err());
    assert!(said(vec![begun(Policy::Random), on(2), on(3)]).is_err());
    let far = published(1, &[at(9, 0)], |_| {});
    assert!(said(vec![far]).is_err_and(|it| it.ends_with("out of reach")));
}

#[test]
fn who_has_subscribed_and_is_left_out_is_found() {
    let two = at(2, 1);
    let said = |group, entries: Vec<Entry>| {
        let mut reached = Reached::default();
        let mut all = vec![subscribed(two, group), confirmed(0, &[1, 2])];
        all.extend(entries);
        last(all, |it| reached.judge(it))
    };
    let none: &[At] = &[];
    let why = said(None, vec![published(1, none, |_| {})]).expect_err("it is left out");
    assert!(why.contains("does not go to"), "{why}");
    let blocked = |it: &mut Published| it.blocked = [uid(2)].into();
    assert_eq!(said(None, vec![published(1, none, blocked)]), Ok(0));
    let other = |it: &mut Published| it.role = Some(Role(true));
    assert_eq!(said(None, vec![published(1, none, other)]), Ok(0));
    let apart = |unreached| {
        move |it: &mut Published| {
            it.reachable = [uid(1)].into();
            it.apart = [uid(2)].into();
            it.unreached = unreached;
        }
    };
    assert_eq!(said(None, vec![published(1, none, apart(1))]), Ok(0));
    let why = said(None, vec![published(1, none, apart(0))]).expect_err("not counted");
    assert!(why.contains("does not count"), "{why}");
    // It comes to the node, and not to its other core.
    let through = |copy: Option<Entry>| {
        let mut all = vec![published(1, &[at(2, 0)], |_| {}), handed(1, 1, 2, None)];
        all.extend(copy);
        all.push(Entry::Taken(taken(1, at(2, 0), Leg::Frame(1))));
        said(None, all)
    };
    assert_eq!(through(Some(delivered(1, two, 0))), Ok(1));
    assert_eq!(through(Some(Entry::Ended { subscription: 0 })), Ok(1));
    let shared = Entry::Shared {
        publish: 1,
        node: uid(2),
    };
    assert_eq!(through(Some(shared)), Ok(1), "it is under way");
    let why = through(None).expect_err("it is nowhere");
    assert!(why.contains("and not to Subscription"), "{why}");
    let grouped = |groups| {
        let begun = published(1, none, move |it| it.groups = groups);
        let own = Entry::Taken(taken(1, at(1, 0), Leg::Publish));
        said(Some(0), vec![begun, own])
    };
    assert_eq!(grouped(1), Ok(1));
    assert!(grouped(2).is_err_and(|it| it.contains("no member of group g")));
}

#[test]
fn other_cores_and_places_of_the_own_node_that_are_left_out_are_found() {
    let own = |core, group, cores: &[u16], policy| {
        let mut reached = Reached::default();
        let mut given = Cores::default();
        cores.iter().for_each(|it| given.insert(CoreId(*it)));
        let mut all = vec![
            subscribed(at(1, core), group),
            confirmed(0, &[1]),
            published(1, &[], |it| {
                (it.cores, it.policy, it.groups) = (given, policy, 1);
            }),
        ];
        let (publish, node) = (1, uid(1));
        all.extend(cores.iter().map(|_| Entry::Shared { publish, node }));
        if group.is_none() && core == 0 {
            all.push(delivered(1, at(1, 0), 0));
        }
        all.push(Entry::Taken(taken(1, at(1, 0), Leg::Publish)));
        let mut said = Ok(0);
        for entry in &all {
            said = said.and_then(|_| reached.judge(entry));
        }
        said
    };
    assert!(own(1, None, &[1], Policy::Random).is_ok());
    assert!(own(1, None, &[2], Policy::Random).is_err());
    assert!(own(0, Some(0), &[], Policy::Random).is_ok());
    assert!(
        own(0, Some(0), &[], Policy::Broadcast).is_err(),
        "it is one"
    );
}

#[test]
fn a_member_on_a_node_that_leaves_is_one_of_its_group_all_the_same() {
    let (own, mut reached) = (at(1, 0), Reached::default());
    let said = last(
        vec![
            subscribed(own, Some(0)),
            Entry::Departed(own.0),
            subscribed(own, Some(0)),
            published(1, &[], |_| {}),
            delivered(1, own, 0),
            Entry::Taken(taken(1, own, Leg::Publish)),
        ],
        |it| reached.judge(it),
    );
    assert_eq!(said, Ok(1));
}

#[test]
fn accounts_that_are_wrong_are_found() {
    let two = at(2, 0);
    let judge = |taken: Taken| {
        let mut accounted = Accounted::default();
        accounted.judge(Instant::ZERO, &Entry::Taken(taken))
    };
    let mesh = taken(1, two, Leg::Mesh);
    let dead = Taken {
        dead_letters: 1,
        ..mesh
    };
    assert_eq!(judge(dead), Ok(1));
    assert!(
        judge(mesh).is_err(),
        "it came to nobody, and is not counted"
    );
    let both = Taken {
        delivered: 1,
        ..dead
    };
    assert!(judge(both).is_err(), "it came to one, and is counted");
    let member = Taken {
        named: 1,
        members: 1,
        delivered: 1,
        ..mesh
    };
    assert_eq!(judge(member), Ok(1));
    let lost = Taken { named: 2, ..member };
    assert!(judge(lost).is_err(), "one group is nowhere");
    assert!(judge(taken(1, two, Leg::Frame(7))).is_err(), "of nobody");
    let mut accounted = Accounted::default();
    let of = |frame| Entry::Received { frame, by: uid(2) };
    let why = last(vec![handed(1, 1, 2, None), of(1)], |it| {
        accounted.judge(Instant::ZERO, it)
    });
    assert!(why.is_err(), "no link took it");
    let wrong = Entry::Miscounted("a queue".to_owned());
    assert!(accounted.judge(Instant::ZERO, &wrong).is_err());
}
