//! What each invariant of pub-sub is for, written into a journal: it has to find it.

use std::time::Duration;

use ringmesh_cluster::pubsub::{Audience, Cores, Outcome, Policy, Whom};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::time::Instant;

use super::journal::{Actor, At, Entry, Leg, Published, Role, Sent, Taken, Wanted};
use super::{Accounted, Answered, Frames, Groups, Once, Paths, Reached, Waited};

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
        is_asked: false,
    };
    change(&mut published);
    Entry::Published(Box::new(published))
}

fn taken(publish: u64, at: At, leg: Leg) -> Taken {
    Taken::of(at, (publish, leg), Default::default())
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
        is_taken: true,
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

#[test]
fn a_share_that_is_lost_is_not_demanded_of_its_core_alone() {
    let said = |core| {
        let mut reached = Reached::default();
        let two = at(2, 1);
        let publish = 1;
        let mut all = vec![subscribed(two, None), confirmed(0, &[1, 2])];
        all.extend([
            published(1, &[at(2, 0)], |_| {}),
            handed(1, 1, 2, None),
            Entry::Unshared {
                publish,
                to: at(2, core),
            },
            Entry::Taken(taken(1, at(2, 0), Leg::Frame(1))),
        ]);
        last(all, |it| reached.judge(it))
    };
    assert_eq!(said(1), Ok(1));
    assert!(said(2).is_err());
}

/// What is said of an answer to a publish that went to node 2 and came to so many subscribers on
/// each of the two.
fn answered(here: usize, there: usize, between: Vec<Entry>, outcome: Outcome) -> bool {
    let mut answered = Answered::default();
    let mut all = vec![published(1, &[at(2, 0)], |it| it.is_asked = true)];
    all.extend((0..here).map(|it| delivered(1, at(1, 0), it)));
    all.push(Entry::Taken(taken(1, at(1, 0), Leg::Publish)));
    all.push(handed(1, 1, 2, None));
    all.extend((0..there).map(|it| delivered(1, at(2, 0), 10 + it)));
    all.extend(between);
    let publish = 1;
    all.push(Entry::Answered { publish, outcome });
    last(all, |it| answered.judge(Instant::ZERO, it)).is_ok()
}

#[test]
fn an_answer_that_says_more_than_have_it_or_fewer_though_it_is_complete_is_found() {
    let complete = |nodes, subscribers| Outcome {
        nodes,
        subscribers,
        ..Outcome::default()
    };
    assert!(answered(1, 2, Vec::new(), complete(2, 3)));
    assert!(!answered(1, 2, Vec::new(), complete(2, 4)), "too many");
    assert!(!answered(0, 2, Vec::new(), complete(2, 2)), "one node");
    assert!(!answered(1, 2, Vec::new(), complete(2, 2)), "too few");
    let lost = Entry::Delivered {
        publish: 1,
        at: at(2, 0),
        by: 0,
        subscription: Some(3),
        is_taken: false,
    };
    assert!(answered(1, 1, vec![lost], complete(2, 2)), "it lost one");
    let sent_on = handed(2, 1, 3, Some(0));
    let more = delivered(1, at(3, 0), 20);
    assert!(answered(1, 1, vec![sent_on, more], complete(2, 2)));
}

#[test]
fn an_answer_that_names_the_wrong_nodes_is_found() {
    let without = |missing: &[u64], lost: &[u64]| Outcome {
        nodes: 1,
        subscribers: 1,
        missing: missing.iter().map(|it| uid(*it)).collect(),
        lost: lost.iter().map(|it| uid(*it)).collect(),
    };
    assert!(answered(1, 1, Vec::new(), without(&[2], &[])));
    assert!(answered(1, 1, Vec::new(), without(&[], &[2])));
    assert!(!answered(1, 1, Vec::new(), without(&[3], &[])), "not there");
    assert!(!answered(1, 1, Vec::new(), without(&[1, 2], &[])), "done");
    let (publish, node) = (1, uid(1));
    let shared = vec![Entry::Shared { publish, node }];
    assert!(answered(1, 1, shared, without(&[1, 2], &[])), "not done");
}

/// Actor 7 of a core, under the first path.
fn actor(node: u64, core: u16) -> Actor {
    (uid(node), core, 7)
}

/// Core 0 of node 1 sends to one of those, or to all, as it says.
fn sent(number: u64, known: &[Actor], told: &[Actor], change: impl FnOnce(&mut Sent)) -> Entry {
    let mut sent = Sent {
        number,
        at: at(1, 0),
        path: 0,
        kind: 1,
        whom: Whom::One {
            policy: Policy::Random,
            is_local_preferred: false,
        },
        role: None,
        known: known.into(),
        reachable: [1, 2].map(uid).into(),
        ended: Box::default(),
        full: Box::default(),
        told: told.into(),
        is_to_nobody: false,
    };
    change(&mut sent);
    Entry::Sent(Box::new(sent))
}

fn paths(entries: Vec<Entry>) -> Result<u64, String> {
    let mut paths = Paths::default();
    last(entries, |it| paths.judge(Instant::ZERO, it))
}

#[test]
fn what_is_sent_to_the_wrong_one_or_to_nobody_though_some_are_there_is_found() {
    let (own, far, lost) = (actor(1, 1), actor(2, 0), actor(3, 0));
    let one = |told: &[Actor], change: fn(&mut Sent)| {
        paths(vec![sent(1, &[own, far], told, change)]).is_ok()
    };
    assert!(one(&[far], |_| {}) && one(&[own], |_| {}));
    assert!(!one(&[own, far], |_| {}), "two");
    assert!(!one(&[lost], |_| {}), "not known");
    assert!(paths(vec![sent(1, &[lost], &[lost], |_| {})]).is_err());
    let near = |it: &mut Sent| {
        it.whom = Whom::One {
            policy: Policy::RoundRobin,
            is_local_preferred: true,
        };
    };
    assert!(one(&[own], near) && !one(&[far], near));
    let nobody = |it: &mut Sent| it.is_to_nobody = true;
    assert!(!one(&[], nobody) && !one(&[], |_| {}));
    assert!(one(&[], |it| it.full = it.known.clone()));
    assert!(!one(&[far], |it| it.full = it.known.clone()), "no room");
    assert!(one(&[], |it| {
        (it.ended, it.is_to_nobody) = (it.known.clone(), true);
    }));
    assert!(paths(vec![sent(1, &[], &[], nobody)]).is_ok());
    // Node 2 has the other role, and the own node is asked in any case.
    let role = |it: &mut Sent| it.role = Some(Role(true));
    assert!(one(&[own], role) && !one(&[far], role));
}

#[test]
fn who_is_left_out_of_all_or_told_twice_is_found() {
    let (own, far) = (actor(1, 1), actor(2, 0));
    let all = |told: &[Actor], is_self_excluded| {
        let sent = sent(1, &[own, far], told, |it| {
            it.whom = Whom::All { is_self_excluded };
        });
        paths(vec![sent]).is_ok()
    };
    assert!(all(&[own, far], false) && !all(&[own], false));
    assert!(all(&[far], true) && !all(&[own, far], true));
    assert!(!all(&[own, far, far], false), "twice");
    let told = |actor| {
        let (send, frame) = (1, None);
        Entry::Told { send, actor, frame }
    };
    let begun = || sent(1, &[own, far], &[own], |_| {});
    assert_eq!(paths(vec![begun(), told(own)]), Ok(1));
    assert!(paths(vec![begun(), told(far)]).is_err(), "another one");
    assert!(paths(vec![begun(), told(own), told(own)]).is_err());
    let (path, kind) = (0, 1);
    let put = || Entry::Put {
        actor: far,
        path,
        kind,
    };
    let confirmed = || {
        let nodes = [uid(1)].into();
        Entry::PutConfirmed { number: 0, nodes }
    };
    let unknown = || sent(1, &[own], &[own], |_| {});
    assert!(paths(vec![put(), unknown()]).is_ok());
    let why = paths(vec![put(), confirmed(), unknown()]).expect_err("it is known");
    assert!(why.contains("does not know of"), "{why}");
    let ended = Entry::ActorEnded(far);
    assert!(paths(vec![put(), confirmed(), ended, unknown()]).is_ok());
}

#[test]
fn who_is_given_up_too_early_is_found() {
    let said = |left, is_given_up| {
        let (number, node) = (1, uid(1));
        let over = Entry::Waited {
            number,
            left: Duration::from_millis(left),
            is_given_up,
        };
        let mut waited = Waited::default();
        let all = vec![Entry::Waits { number, node }, over];
        last(all, |it| waited.judge(Instant::ZERO, it)).is_ok()
    };
    assert!(said(0, true) && said(1, false) && !said(1, true));
}
