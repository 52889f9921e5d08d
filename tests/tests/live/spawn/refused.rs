//! What is refused, and by whom.

use std::time::Duration;

use ringmesh::__private::{Place, Spawn, SpawnVerdict, Spawned, Strategy};
use ringmesh::{
    Actor, Address, CoreId, Cx, Deploy, Handler, Message, Msg, Placement, SpawnAtError, Spawnable,
    Supervision, message,
};
use ringmesh_proto::archive::access;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{Extension, Head};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::Target;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::{Learnt, Lesson, Pupil, PupilApi, PupilArgs, pupil};
use ringmesh_tests::live::raw::{RawListener, RawPeer, frames as make};
use ringmesh_tests::live::watched::Watched;

use super::{boss, hire, holdings, school, spawn, until_holds};

/// A type of the key of [`Pupil`], of other arguments.
struct Impostor;

#[message(id = "tests.ImpostorArgs", v = 1)]
struct ImpostorArgs;

impl Actor for Impostor {
    type Api = PupilApi;
}

impl Spawnable for Impostor {
    const KEY: &'static str = Pupil::KEY;
    type Args = ImpostorArgs;

    fn make(_: Msg<ImpostorArgs>) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Handler<Lesson> for Impostor {
    fn handle(&mut self, _: Msg<Lesson>, _: &mut Cx<'_, Self>) -> Learnt {
        Learnt {
            text: String::new(),
            lessons: 0,
        }
    }
}

fn at(node: &LiveNode) -> Placement {
    Placement::node(node.address().clone())
}

#[test]
fn each_refusal_has_its_error_and_leaves_nothing() {
    let (here, there) = (LiveNode::start(), school(1));
    let bare = LiveNode::start();
    let closed = LiveNode::start_with(|builder| {
        builder
            .spawnable::<Pupil>()
            .set("spawn.allow", "tests.other")
    });
    let (teacher, _) = boss(&here, Supervision::Stop);
    let before = [&here, &there].map(holdings);
    let key = Pupil::KEY;
    let refused = |deploy| hire(&here, teacher, deploy).expect_err("it is refused");
    let node = bare.address().clone();
    let unknown = SpawnAtError::UnknownFactory { node, key };
    assert_eq!(refused(pupil("").at(at(&bare))), unknown);
    let node = closed.address().clone();
    let not_allowed = SpawnAtError::NotAllowed { node, key };
    assert_eq!(refused(pupil("").at(at(&closed))), not_allowed);
    let long = format!("refuse{}", "!".repeat(2000));
    let told = SpawnAtError::Start(long[..1024].to_owned());
    assert_eq!(refused(pupil(&long).at(at(&there))), told);
    for word in ["panic", "panic at the start"] {
        let error = refused(pupil(word).named("one").at(at(&there)));
        let SpawnAtError::Start(text) = error else {
            panic!("{error}")
        };
        assert!(text.contains("as it was told"), "{text}");
    }
    let elsewhere = at(&there);
    let impostor = here.run(|node| async move {
        let deploy = Deploy::<Impostor>::new(ImpostorArgs).at(elsewhere);
        node.spawn_at(deploy).await.expect_err("other arguments")
    });
    assert_eq!(impostor, SpawnAtError::OtherArguments { key });
    let core = CoreId(7);
    let node = there.address().clone();
    let no_core = SpawnAtError::NoSuchCore { node, core };
    assert_eq!(refused(pupil("").at(at(&there).on_core(core))), no_core);
    [&here, &there]
        .into_iter()
        .zip(before)
        .for_each(|(node, before)| until_holds(node, before));
    assert_eq!(there.counters().spawns_refused, 5);
    assert_eq!(there.counters().spawned_for_others, 0);
    assert_closed(&there.counters());
}

#[test]
fn one_over_the_bytes_of_a_frame_is_refused_wherever_it_is_placed() {
    let small = || {
        LiveNode::start_with(|builder| {
            let builder = builder.spawnable::<Pupil>();
            builder.settings(|settings| settings.frame_bytes_max = 64 << 10)
        })
    };
    let (here, there) = (small(), small());
    let limit = 64 << 10;
    // A word of that many bytes takes eight more.
    let words = [limit - 8, limit - 7].map(|bytes| "w".repeat(bytes));
    for placement in [Placement::here(), at(&there)] {
        let fits = pupil(&words[0]).at(placement.clone());
        spawn(&here, fits).expect("it fits");
        let over = spawn(&here, pupil(&words[1]).at(placement)).expect_err("one over");
        let bytes = limit + 1;
        assert_eq!(over, SpawnAtError::TooLarge { bytes, limit });
    }
}

#[test]
fn nodes_that_are_not_there_or_know_nothing_of_it_are_told_apart() {
    let here = LiveNode::start();
    let before = holdings(&here);
    let gone = LiveNode::start();
    let node: Address = gone.address().clone();
    gone.stop();
    let nobody = pupil("").at(Placement::node(node.clone()));
    let nobody = nobody.within(Duration::from_millis(200));
    let error = spawn(&here, nobody).expect_err("nobody listens");
    assert!(
        matches!(&error, SpawnAtError::Unreachable { node: at, .. } if *at == node),
        "{error}"
    );
    let listener = RawListener::bind();
    let older = Placement::node(listener.address.clone());
    let pending = here.begin(|node| async move { node.spawn_at(pupil("").at(older)).await });
    let (mut peer, preface) = listener.accept();
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let question = peer.frame_of(Kind::Ask);
    let answer = Head {
        extension: Some(Extension {
            correlation: question.extension.expect("a question's").correlation,
            remaining_us: 0,
            code: ErrorCode::UnknownMessage.to_wire(),
        }),
        ..Head::plain(Kind::Error)
    };
    peer.send(&make::frame(&answer, &[]));
    let error = pending.finish().expect_err("it is older");
    let node = listener.address;
    assert_eq!(error, SpawnAtError::TooOld { node });
    until_holds(&here, before);
}

#[test]
fn both_sides_of_a_quarantine_say_so() {
    let (here, there) = (school(1), school(1));
    let before = [&here, &there].map(holdings);
    let placed = |on: &LiveNode| pupil("").at(at(on));
    spawn(&here, placed(&there)).expect("the two have met");
    let quarantined = there.id().clone();
    let done = here.run(move |node| async move { node.quarantine(&quarantined, "a test") });
    assert_eq!(done, Ok(true));
    there.until("word of it", |books| books.quarantines_told == 1);
    // To look whether another start is there has a link form for a moment, and so comes last.
    for (from, to, by_peer) in [(&there, &here, true), (&here, &there, false)] {
        let node = to.address().clone();
        let error = spawn(from, placed(to)).expect_err("nothing passes");
        assert_eq!(error, SpawnAtError::Quarantined { node, by_peer });
    }
    until_holds(&here, before[0]);
    until_holds(&there, before[1]);
}

/// A question of a peer that the test plays.
fn question(stand_in: u64, args: Vec<u8>) -> Spawn {
    let known = PupilArgs::TYPE;
    Spawn {
        key: Pupil::KEY.to_owned(),
        args_id: known.id.as_u64(),
        args_version: known.version,
        args_fingerprint: known.fingerprint,
        args,
        name: None,
        core: None,
        strategy: Strategy::from(Supervision::Stop),
        stand_in: Place {
            slot: 5,
            generation: stand_in,
        },
    }
}

#[test]
fn arguments_that_are_not_valid_are_refused_and_a_repeated_question_makes_nothing_twice() {
    let watched = Watched::start_with(|builder| builder.spawnable::<Pupil>());
    let before = holdings(&watched.node);
    let mut peer = RawPeer::link(watched.id());
    let directory = Target {
        slot: 0,
        generation: 0,
    };
    let word = String::new();
    let args = make::archived(&PupilArgs { word });
    let mut bytes = make::definitions::<Spawn>(directory);
    for (number, args) in [(1, vec![7; 5]), (2, args.clone()), (2, args)] {
        bytes.extend(make::ask(&question(number, args), number));
    }
    peer.send(&bytes);
    let mut verdicts: Vec<SpawnVerdict> = Vec::new();
    for _ in 0..3 {
        let answer = peer.frame_of(Kind::Reply);
        let answered = access::<Spawned>(&answer.payload).expect("an answer");
        verdicts.push(ringmesh_proto::archive::deserialize::<Spawned>(answered).verdict);
    }
    verdicts.sort_unstable_by_key(|verdict| *verdict as u8);
    let expected = [
        SpawnVerdict::Made,
        SpawnVerdict::InvalidArguments,
        SpawnVerdict::NoRoom,
    ];
    assert_eq!(verdicts, expected);
    peer.is_answered();
    let books = watched.node.counters();
    assert_eq!((books.spawned_for_others, books.spawns_refused), (1, 2));
    drop(peer);
    // The stand-in, which never was, is looked for in vain: its node is not there.
    until_holds(&watched.node, before);
    watched.saw_nothing();
}
