//! What the invariants are for, planted: each has to find it.

use std::sync::Arc;

use ringmesh_cluster::membership::event::Numbered;
use ringmesh_cluster::membership::gossip::Gossip;
use ringmesh_cluster::membership::message::Message;
use ringmesh_cluster::membership::reachability::{Reason, Record};
use ringmesh_cluster::resolver::{Decision, Why};

use super::*;
use crate::happening::Happening;

/// A view that the member of a node takes over, as if it had written that by itself.
fn forge(world: &mut World<Participant>, node: usize, change: impl FnOnce(&mut Gossip)) {
    let by = (node + 1) % world.nodes();
    let place = &mut world.nodes[by];
    let by = place.process.as_ref().unwrap().id.as_ref().clone();
    let place = &mut world.nodes[node];
    let shared = &mut world.shared;
    place.call(shared, &mut world.published, |it, cx| {
        let mut view = it.control.membership().gossip().unwrap().clone();
        change(&mut view);
        view.touch(by.uid);
        let own = it.control.topology().own().uid;
        let body = Message::Gossip(Box::new(view)).encode(Some(own), cx.now);
        it.call(cx, |control, inner| {
            control.handle_message(inner, &by, &body)
        });
    });
}

/// Four nodes that are one cluster, the last let in by the others, and the uid of the last.
fn four() -> (World<Participant>, Uid) {
    let mut world = members(7, 4);
    world.follow(Script::new().start(0..3).at(secs(8)).start(3..4));
    world.run(secs(20)).unwrap();
    let last = world.uid(3).unwrap();
    (world, last)
}

fn exit(view: &mut Gossip, uid: Uid) {
    let member = view.member_mut(uid).unwrap();
    member.become_next(Status::Leaving);
    member.become_next(Status::Exiting);
}

/// What an invariant says of what a node wrote.
fn judge(
    invariant: &mut dyn Invariant<Participant>,
    world: &World<Participant>,
    node: usize,
) -> Result<u64, String> {
    invariant.observe(world, &Happening::Acted { node, acts: 0 })
}

#[test]
fn who_moves_others_on_and_does_not_lead_is_found() {
    let (mut world, last) = four();
    let mut written = Written::default();
    let judged = judge(&mut written, &world, 0).unwrap();
    assert!(judged > 3, "{judged}");
    assert_eq!(judge(&mut written, &world, 0), Ok(0), "once");
    judge(&mut written, &world, 1).unwrap();
    forge(&mut world, 1, |view| exit(view, last));
    let why = judge(&mut written, &world, 1).unwrap_err();
    assert!(why.ends_with("leads"), "{why}");
}

#[test]
fn a_leader_that_waits_for_nobody_is_found() {
    let (mut world, last) = four();
    let mut written = Written::default();
    judge(&mut written, &world, 0).unwrap();
    forge(&mut world, 0, |_| {});
    forge(&mut world, 0, |view| exit(view, last));
    let why = judge(&mut written, &world, 0).unwrap_err();
    assert!(why.ends_with("has not seen its view"), "{why}");

    let (mut world, last) = four();
    let mut written = Written::default();
    judge(&mut written, &world, 0).unwrap();
    let (one, other) = (world.uid(1).unwrap(), world.uid(2).unwrap());
    forge(&mut world, 0, |view| {
        let record = Record {
            reason: Reason::Silence,
            witnesses: Vec::new(),
        };
        view.reachability_mut().accuse(one, other, record);
        exit(view, last);
    });
    let why = judge(&mut written, &world, 0).unwrap_err();
    assert!(why.ends_with("is unreachable"), "{why}");

    let (mut world, last) = four();
    let mut written = Written::default();
    forge(&mut world, 0, |view| assert!(view.resign(last)));
    judge(&mut written, &world, 0).unwrap();
    let now = world.clock(0).read(world.now());
    forge(&mut world, 0, |view| {
        view.remove(now, last);
    });
    let why = judge(&mut written, &world, 0).unwrap_err();
    assert!(why.ends_with("nobody else did"), "{why}");
}

#[test]
fn who_gives_another_up_though_nobody_wants_that_is_found() {
    let (mut world, last) = four();
    let mut downed = Downed::by(Downing::KeepMajority);
    judge(&mut downed, &world, 1).unwrap();
    forge(&mut world, 1, |view| {
        view.member_mut(last).unwrap().become_next(Status::Down);
    });
    let why = judge(&mut downed, &world, 1).unwrap_err();
    assert!(why.ends_with("nothing was decided"), "{why}");
    assert!(downed.finish(&world).is_err(), "it is a member still");
}

/// A world of five in which three have just given two up, by a vote: where, and what they wrote.
fn voted() -> (World<Participant>, usize, Writing) {
    let mut world = members(11, 5);
    let cut = Fault::partition(&[0, 1, 2], &[3, 4]);
    world.follow(Script::new().start(0..5).at(secs(15)).befall(cut));
    world.run(secs(15)).unwrap();
    for _ in 0..3_000 {
        world.run(Duration::from_millis(10)).unwrap();
        let is_vote = |it: &&Writing| it.decision.as_ref().is_some_and(|it| it.why == Why::Voted);
        let find = |node| {
            let writings = world.machine(node)?.writings();
            Some((node, writings.iter().find(is_vote)?.clone()))
        };
        let found = world.running().find_map(find);
        if let Some((node, writing)) = found {
            return (world, node, writing);
        }
    }
    panic!("nobody was given up");
}

#[test]
fn a_decision_for_which_no_quorum_is_on_record_is_found() {
    let (world, node, writing) = voted();
    let own = world.uid(node).unwrap();
    let mut downed = Downed::by(Downing::KeepMajority);
    let mut judge = |change: fn(&mut Decision)| {
        let mut forged = writing.clone();
        change(Arc::make_mut(forged.decision.as_mut().unwrap()));
        downed.judge(&world, (node, own), &forged)
    };
    assert_eq!(judge(|_| {}), Ok(2));
    assert!(judge(|it| it.why = Why::Unvoted).is_err());
    assert!(judge(|it| it.explanation.votes = None).is_err());
    let nobody = |it: &mut Decision| {
        let votes = it.explanation.votes.as_mut().unwrap();
        votes.answers.iter_mut().for_each(|it| it.1 = None);
    };
    assert!(judge(nobody).unwrap_err().ends_with("1 agreed, of 5"));
    let another = |it: &mut Decision| it.explanation.votes.as_mut().unwrap().number += 1;
    assert!(judge(another).unwrap_err().ends_with("has not agreed"));
    assert!(judge(|it| it.down.clear()).is_err(), "it names nobody");
    let fewer = |it: &mut Decision| {
        let mut members = it.explanation.members.iter_mut();
        members.find(|it| it.is_counted).unwrap().is_counted = false;
    };
    assert!(judge(fewer).unwrap_err().contains(" count, of "));
    let mut more = Downed::by(Downing::StaticQuorum(4));
    assert!(more.judge(&world, (node, own), &writing).is_err());
}

#[test]
fn a_decision_of_members_of_another_data_centre_is_found() {
    let (world, node, mut writing) = voted();
    let own = world.uid(node).unwrap();
    let decision = writing.decision.clone().unwrap();
    let named = |it: &&Standing| decision.down.iter().any(|node| node.uid == it.uid);
    let far: Vec<Standing> = writing.members.iter().filter(named).cloned().collect();
    assert_eq!(far.len(), 2);
    let judge = |writing: &Writing| {
        let mut downed = Downed::by(Downing::KeepMajority);
        downed.judge(&world, (node, own), writing)
    };
    assert_eq!(judge(&writing), Ok(2));
    writing
        .members
        .retain(|it| far.iter().all(|far| far.uid != it.uid));
    let east = far.into_iter().map(|it| ("east".into(), it));
    writing.elsewhere.extend(east);
    let why = judge(&writing).unwrap_err();
    assert!(why.ends_with("who is of east"), "{why}");
}

#[test]
fn who_was_removed_and_does_not_listen_is_found() {
    let mut found = Vec::new();
    for is_deaf in [false, true] {
        let (mut world, last) = four();
        world.hold_to(Box::new(Expelled::default()));
        world.nodes[3].process.as_mut().unwrap().machine.is_deaf = is_deaf;
        let now = world.clock(0).read(world.now());
        forge(&mut world, 0, |view| {
            view.member_mut(last).unwrap().become_next(Status::Down);
            view.remove(now, last);
        });
        let violation = world.run(secs(12)).err();
        found.push(violation.map(|it| it.invariant));
    }
    assert_eq!(found, [None, Some("expelled")]);
}

fn numbered(event: Event) -> Numbered {
    Numbered { number: 1, event }
}

#[test]
fn who_left_and_is_removed_as_another_or_not_at_all_is_found() {
    let (mut world, last) = four();
    let node = world.machine(0).unwrap().control().topology();
    let mut member = node.member(last).unwrap().clone();
    let node = member.node().clone();
    member.become_next(Status::Leaving);
    let leaves = numbered(Event::Member(member));
    let mut leaver = Leaver::default();
    assert_eq!(leaver.observe_event(&world, 3, &leaves), Ok(1));
    let removed = |previous| {
        let node = node.clone();
        numbered(Event::Removed { node, previous })
    };
    let [left, down] = [Status::Exiting, Status::Down].map(removed);
    assert_eq!(leaver.observe_event(&world, 0, &left), Ok(1));
    assert!(leaver.observe_event(&world, 1, &down).is_err());
    let mut leaver = Leaver::default();
    leaver.observe_event(&world, 3, &leaves).unwrap();
    world.run(secs(11)).unwrap();
    let why = leaver.check(&world).unwrap_err();
    assert!(why.ends_with("has not removed it"), "{why}");
}

#[test]
fn who_says_more_than_it_needs_while_nothing_happens_is_found() {
    let world = |interval| {
        let mut settings = Members::default().settings;
        settings.monitor.interval = interval;
        let disks = Disks::default();
        let maker = move |birth: &Birth<'_>| {
            Participant::new(birth, settings.clone(), SEEDS, disks.clone())
        };
        let mut world = World::new(WorldSettings::new(3, 5), Trace::hashed(), maker);
        world.hold_to(Box::new(Quiet::default()));
        world.follow(Script::new().start(0..5));
        world.run(secs(60)).map(|()| {
            let checks = world.checks();
            checks.iter().find(|it| it.name == "quiet").unwrap().checks
        })
    };
    assert!(world(secs(1)).unwrap() > 5);
    let violation = world(Duration::from_millis(400)).unwrap_err();
    assert_eq!(violation.invariant, "quiet");
}

#[test]
fn who_removes_one_of_another_data_centre_that_has_others_is_found() {
    let disks = Disks::default();
    let subject = Members::default();
    let maker = move |birth: &Birth<'_>| {
        let name = if birth.node < 2 { "default" } else { "east" };
        Participant::within(
            name,
            birth,
            subject.settings.clone(),
            (SEEDS, disks.clone()),
        )
    };
    let mut world = World::new(WorldSettings::new(9, 4), Trace::hashed(), maker);
    world.follow(Script::new().start(0..4));
    world.run(secs(30)).unwrap();
    let mut written = Written::default();
    judge(&mut written, &world, 0).unwrap();
    let (last, now) = (world.uid(3).unwrap(), world.clock(0).read(world.now()));
    forge(&mut world, 0, |view| {
        view.member_mut(last).unwrap().become_next(Status::Down);
        view.remove(now, last);
    });
    let why = judge(&mut written, &world, 0).unwrap_err();
    assert!(why.ends_with("is left in east"), "{why}");
}
