//! A control core that is kept free of actors of users.

use std::cell::Cell;
use std::future::Future;
use std::time::Instant;

use bytes::Bytes;
use ringmesh::testkit::TestProbe;
use ringmesh::{
    CoreId, Counters, Engine, EngineError, Node, Placement, Props, Ref, ResolveError, SendError,
    SpawnAtError, SpawnError, StartError, Supervision,
};
use ringmesh_tests::live::cores::{books_of, on_core, run_on, settled};
use ringmesh_tests::live::messages::{Echo, EchoApi, Echoer, Recall, Record, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::{Lesson, Pupil, PupilApi, pupil};
use ringmesh_tests::live::{SYSTEM, WAIT};

const CONTROL: CoreId = CoreId(0);

const RESERVED: SpawnError = SpawnError::CoreReserved { core: 0 };

fn reserved(cores: usize) -> LiveNode {
    LiveNode::start_with(|builder| {
        let builder = builder.cores(cores).spawnable::<Pupil>();
        builder.settings(|settings| settings.reserve_control_core = true)
    })
}

/// Actors of the control core: its directory, and who stands for actors elsewhere.
fn actors_of_control(node: &LiveNode) -> u64 {
    books_of(node)[0].actors
}

#[test]
fn nothing_is_spawned_on_it_and_the_errors_say_where_to() {
    let node = reserved(2);
    node.run(|node| async move {
        let made = Cell::new(false);
        let make = || {
            made.set(true);
            Echoer::default()
        };
        assert_eq!(node.core(), CONTROL);
        assert_eq!(node.spawn(Echoer::default()), Err(RESERVED));
        assert_eq!(node.spawn_named("echo", Echoer::default()), Err(RESERVED));
        let refused = node.try_spawn(|| Ok::<_, String>(make()));
        assert!(matches!(refused, Err(StartError::Spawn(RESERVED))));
        assert!(!made.get(), "what has no place is not made");
        let props = Props::new(|| -> Echoer { panic!("it is not made") });
        let refused = node.spawn_props(props.named("echo").supervised(Supervision::restart()));
        assert!(matches!(refused, Err(StartError::Spawn(RESERVED))));
        let probe = TestProbe::<EchoApi>::spawn(&node);
        assert_eq!(probe.err(), Some(RESERVED));
        let factory = || -> Echoer { panic!("it is not made") };
        assert_eq!(node.spawn_on(CONTROL, factory).await, Err(RESERVED));
        let named = node.spawn_named_on(CONTROL, "echo", factory).await;
        assert_eq!(named, Err(RESERVED));
        let text = RESERVED.to_string();
        assert!(text.contains("core.reserve_control_core"), "{text}");
        assert!(
            text.contains("spawn_on") && text.contains("spawn_each"),
            "{text}"
        );
        // The name was not taken meanwhile.
        let there = node.spawn_named_on(CoreId(1), "echo", Echoer::default);
        there.await.expect("its name is free");
    });
    // Another core is told the same of it, and takes actors itself.
    run_on(&node, 1, |node| async move {
        assert_eq!(node.spawn_on(CONTROL, Echoer::default).await, Err(RESERVED));
        node.spawn(Echoer::default()).expect("room");
        TestProbe::<EchoApi>::spawn(&node).map(drop).expect("room");
    });
    assert_eq!(actors_of_control(&node), 1, "the directory");
}

#[test]
fn one_actor_for_each_core_leaves_it_out() {
    let node = reserved(3);
    let (cores, echoes) = node.run(|node| async move {
        let echoes = node.spawn_each(|_| Echoer::default()).await.expect("room");
        for echo in &echoes {
            let (number, body) = (7, Bytes::new());
            echo.ask(Echo { number, body }).await.expect("an answer");
        }
        let cores: Vec<CoreId> = node.actor_cores().collect();
        assert_eq!(node.cores().len(), 3, "it is a core all the same");
        (cores, echoes)
    });
    assert_eq!(cores, [1, 2].map(CoreId));
    let homes: Vec<CoreId> = echoes.iter().map(|echo| echo.id().core).collect();
    assert_eq!(homes, cores);
    let open = LiveNode::of_cores(2);
    let cores = open.run(|node| async move { node.actor_cores().collect::<Vec<_>>() });
    assert_eq!(cores, [0, 1].map(CoreId), "unless it is reserved");
}

fn spawn(node: &LiveNode, at: Placement) -> Result<Ref<PupilApi>, SpawnAtError> {
    node.run(|node| async move { node.spawn_at(pupil("abc").at(at)).await })
}

/// Where an actor of that node says that it lives.
fn home(node: &LiveNode, pupil: Ref<PupilApi>) -> String {
    node.run(move |_| async move {
        let what = "core".to_owned();
        let learnt = pupil.ask(Lesson { what }).await.expect("an answer");
        learnt.text.to_string()
    })
}

#[test]
fn what_may_live_anywhere_is_spread_over_the_others() {
    let (here, there) = (reserved(3), reserved(3));
    let at = |node: &LiveNode| Placement::node(node.address().clone());
    for placement in [Placement::here(), at(&here), at(&there)] {
        let homes = [(); 4].map(|()| {
            let pupil = spawn(&here, placement.clone()).expect("room");
            home(&here, pupil)
        });
        assert_eq!(homes, ["1", "2", "1", "2"], "{placement:?}");
    }
    // A core that takes actors keeps those that are to live with who spawns them.
    let beside = run_on(&here, 2, |node| async move {
        node.spawn_at(pupil("abc")).await.expect("room").id().core
    });
    assert_eq!(beside, CoreId(2));
    let wanted = Placement::core(CoreId(2));
    assert_eq!(home(&here, spawn(&here, wanted).expect("room")), "2");
    let refused = spawn(&here, Placement::core(CONTROL));
    assert_eq!(refused, Err(SpawnAtError::Spawn(RESERVED)));
    let before = there.counters().spawns_refused;
    let refused = spawn(&here, at(&there).on_core(CONTROL));
    let node = there.address().clone();
    let core = CONTROL;
    assert_eq!(refused, Err(SpawnAtError::CoreReserved { node, core }));
    let refused = spawn(&here, at(&there).on_core(CoreId(3)));
    let (node, core) = (there.address().clone(), CoreId(3));
    assert_eq!(refused, Err(SpawnAtError::NoSuchCore { node, core }));
    assert_eq!(there.counters().spawns_refused, before + 2);
    assert_eq!(actors_of_control(&there), 1, "the directory");
}

#[test]
fn what_is_placed_here_lives_elsewhere_and_its_name_is_that_of_a_stand_in() {
    let spawn = |node: &LiveNode| {
        node.run(|node| async move {
            let pupil = node.spawn_at(pupil("abc").named("one")).await;
            let pupil = pupil.expect("room");
            let what = "path".to_owned();
            let learnt = pupil.ask(Lesson { what }).await.expect("an answer");
            let path = format!("{}/user/one", node.address());
            let found = node.resolve::<PupilApi>(&path).await;
            (pupil, learnt.text.to_string(), found)
        })
    };
    let node = reserved(2);
    let (pupil, path, found) = spawn(&node);
    assert_eq!(home(&node, pupil), "1");
    assert!(path.starts_with(&node.path("remote/")), "{path}");
    assert!(path.contains("/one#"), "{path}");
    let stand_in = found.expect_err("it speaks another protocol");
    assert!(
        matches!(stand_in, ResolveError::WrongProtocol { .. }),
        "{stand_in}"
    );
    // Unless the control core takes actors.
    let open = LiveNode::start_with(|builder| builder.cores(2).spawnable::<Pupil>());
    let (pupil, path, found) = spawn(&open);
    assert_eq!(home(&open, pupil), "0");
    assert!(path.starts_with(&open.path("one#")), "{path}");
    assert_eq!(found.expect("it is there"), pupil);
}

/// Sends that a busy core makes.
const RECORDS: u64 = 5000;

async fn send_records(sink: Ref<SinkApi>) {
    for number in 1..=RECORDS {
        let body = Bytes::from_static(b"work");
        let sent = sink.tell(Record { number, body }).await;
        sent.map_err(SendError::into_message)
            .expect("there is room");
    }
}

/// Runs `job` on another core, to its end.
async fn beside<Fut>(node: &Node, core: u16, job: impl FnOnce() -> Fut + Send + 'static)
where
    Fut: Future<Output = ()> + 'static,
{
    on_core(node, CoreId(core), |_| job()).await;
}

#[test]
fn it_dispatches_no_message_of_users_while_the_others_are_busy() {
    let (node, peer) = (reserved(3), LiveNode::start());
    let (sinks, paths) = node.run(|node| async move {
        let mut sinks = Vec::new();
        for core in node.actor_cores() {
            let name = format!("sink-{}", core.0);
            let sink = node.spawn_named_on(core, &name, Sink::default).await;
            sinks.push(sink.expect("room"));
        }
        let paths = [1, 2].map(|core| format!("{}/user/sink-{core}", node.address()));
        (sinks, paths)
    });
    // The links of the peer are made, and the directory has said what it is asked.
    let far = peer.run(|node| async move {
        let mut far: Vec<Ref<SinkApi>> = Vec::new();
        for path in paths {
            let sink = node.resolve::<SinkApi>(&path).await.expect("it is there");
            sink.ask(Recall).await.expect("an answer");
            far.push(sink);
        }
        far
    });
    let before: Vec<Counters> = settled(&[&node]);
    // The others send to each other, another node to both, and the control core's own future too.
    let (one, other) = (sinks[0], sinks[1]);
    let inside = node.begin(move |node| async move {
        beside(&node, 1, move || send_records(other)).await;
        beside(&node, 2, move || send_records(one)).await;
        send_records(one).await;
    });
    let outside = peer.begin(move |_| async move {
        for sink in far {
            send_records(sink).await;
        }
    });
    inside.finish();
    outside.finish();
    let handled = |books: &[Counters], core: usize| books[core].delivered - before[core].delivered;
    let is_handled = |books: &[Counters]| handled(books, 1) + handled(books, 2) >= 5 * RECORDS;
    let begin = Instant::now();
    let mut after = settled(&[&node]);
    while !is_handled(&after) {
        assert!(begin.elapsed() < WAIT, "{after:#?}");
        after = settled(&[&node]);
    }
    assert_eq!(handled(&after, 0), 0, "{:#?}", after[0]);
    assert_eq!(handled(&after, 1), 3 * RECORDS);
    assert_eq!(handled(&after, 2), 2 * RECORDS);
    assert_eq!(after[0].hopped, before[0].hopped, "{:#?}", after[0]);
    assert_eq!(after[0].actors, 1, "the directory");
}

#[test]
fn a_node_of_one_core_does_not_start_with_it_and_one_of_two_does() {
    let of_cores = |cores: usize| {
        let builder = Engine::node(SYSTEM).cores(cores);
        builder.set("core.reserve_control_core", "on")
    };
    let refused = of_cores(1)
        .run(|_| async {})
        .expect_err("no actor finds a place");
    let text = refused.to_string();
    assert!(matches!(refused, EngineError::Configuration(_)), "{text}");
    assert!(text.contains("set core.count to 2 at least"), "{text}");
    let lives = of_cores(2).run(|node| async move {
        let echo = node.spawn_on(CoreId(1), Echoer::default).await;
        (node.actor_cores().len(), echo.is_ok())
    });
    assert_eq!(lives.expect("it starts"), (1, true));
}
