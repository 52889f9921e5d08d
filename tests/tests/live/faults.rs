//! What goes wrong on the way: peers that are killed, handlers that panic, refs that are too old.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{
    Actor, AskError, Counters, Cx, Engine, EngineError, Executed, Handler, IdleMode, Msg, Node,
    Ref, SendError, SpawnError,
};
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::messages::{
    Account, ECHO, Echo, EchoApi, Echoed, Echoer, Ignite, Inflate, PANIC, Recall, Record, Retire,
    SINK, Sink, SinkApi, Tally,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::{Watched, account};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// Tasks that ask at the same time while their peer is killed.
const ASKERS: usize = 8;

/// Where the numbers of records for the peer's second start begin.
const SECOND_START: u64 = 1 << 40;

#[test]
fn a_peer_that_is_killed_under_load_is_accounted_for_and_replaced() {
    let folder = tempfile::tempdir().expect("a folder for the tallies");
    let tallies = folder.path().to_str().expect("a path in UTF-8");
    let victim = Serving::start(LIVE_NODE, &["--tallies", tallies]);
    let survivor = LiveNode::start_serving();
    let bystander = Bystander::of(&survivor.path(ECHO));
    let (sink, echo) = refs(&survivor, &victim);

    let telling = survivor.begin(move |_| tell_until_it_fails(sink));
    let asking: Vec<_> = (0..ASKERS)
        .map(|_| survivor.begin(move |_| ask_until_it_fails(echo)))
        .collect();
    survivor.until("a load", |now| now.acknowledged > 20_000);
    victim.process.kill();
    let (told, refused) = telling.finish();
    assert!(matches!(refused, SendError::Unreachable(_)), "{refused:?}");
    assert_eq!(refused.executed(), Executed::No);
    let asked: Vec<(u64, AskError)> = asking.into_iter().map(|asker| asker.finish()).collect();
    let answered: u64 = asked.iter().map(|(answered, _)| answered).sum();
    let maybe = asked
        .iter()
        .filter(|(_, error)| error.executed() == Executed::Maybe)
        .count();
    for (_, error) in &asked {
        assert_ne!(error.executed(), Executed::Yes, "{error}");
    }

    assert!(answered > 0, "no question got its turn beside the tells");
    let bystanding = bystander.saw_nothing();
    let books = survivor.until("quiet", |now| now.in_flight == 0);
    // Two look-ups of the victim, the bystander's look-up and its questions, and the load. Whether
    // a question that certainly did not run was accepted first is not for its asker to know.
    let beside = 2 + 1 + bystanding;
    let least = told + answered + maybe as u64 + beside;
    assert!(
        books.sent >= least,
        "at least {least} were accepted: {books:#?}"
    );
    assert!(
        books.sent <= least + ASKERS as u64,
        "at least {least} were accepted: {books:#?}"
    );
    assert_balanced(&books);
    // What the victim handled stands in files that outlived it.
    let handled = tally(folder.path(), SINK) + tally(folder.path(), ECHO);
    let acknowledged = books.acknowledged - beside;
    assert!(
        acknowledged <= handled,
        "{acknowledged} acknowledged, {handled} handled"
    );
    assert!(
        handled <= acknowledged + books.dead_maybe,
        "{handled} handled: {books:#?}"
    );
    println!(
        "{told} told, {answered} answered, {handled} handled, {} maybe, {} unsent",
        books.dead_maybe, books.dead_unsent
    );
    the_next_start_gets_nothing_of_the_old(&survivor, &victim, (sink, echo));
    survivor.stop();
}

/// Nothing is in flight, and every message has become one thing.
/// Checks that the accounts close, and that nothing is under way.
fn assert_balanced(books: &Counters) {
    assert_closed(books);
    assert_eq!((books.in_flight, books.waiting), (0, 0), "{books:#?}");
}

/// Starts the victim again at its port while it is looked up, and talks to it.
fn the_next_start_gets_nothing_of_the_old(
    survivor: &LiveNode,
    victim: &Serving,
    (old_sink, old_echo): (Ref<SinkApi>, Ref<EchoApi>),
) {
    let folder = tempfile::tempdir().expect("a folder for the tallies");
    let tallies = folder.path().to_str().expect("a path in UTF-8");
    let path = victim.path(SINK);
    let looking = survivor.begin(move |node| async move {
        node.resolve::<SinkApi>(&path)
            .await
            .expect("the next start answers")
    });
    let bind = format!("127.0.0.1:{}", victim.id.address.port());
    let next = Serving::start(LIVE_NODE, &["--tallies", tallies, "--bind", &bind]);
    assert_eq!(next.id.address, victim.id.address);
    assert_ne!(next.id.uid, victim.id.uid);
    let sink = looking.finish();
    assert_ne!(sink, old_sink, "the same ref for another start");

    survivor.run(move |_| async move {
        // Neither the old link's bytes nor the old refs reach it.
        assert_eq!(seen_by(sink).await, Account::default());
        match old_sink.try_tell(record(1)) {
            Err(SendError::NotRunning(message)) => assert_eq!(message, record(1)),
            other => panic!("an old ref: {other:?}"),
        }
        let error = old_echo.ask(question(1)).await.expect_err("an old ref");
        assert_eq!(
            (error.executed(), error),
            (Executed::No, AskError::NotRunning)
        );
        for number in SECOND_START..SECOND_START + 100 {
            sink.tell(record(number)).await.expect("it runs");
        }
        let seen = seen_by(sink).await;
        assert_eq!(
            (seen.count, seen.lowest, seen.out_of_order),
            (100, SECOND_START, 0)
        );
    });
    assert_eq!(tally(folder.path(), SINK), 100);
    assert_eq!(tally(folder.path(), ECHO), 0);
}

fn tally(folder: &Path, name: &str) -> u64 {
    Tally::read(&folder.join(name)).expect("the process made the file")
}

fn refs(node: &LiveNode, peer: &Serving) -> (Ref<SinkApi>, Ref<EchoApi>) {
    let (sink, echo) = (peer.path(SINK), peer.path(ECHO));
    node.run(|node| async move {
        let sink = node.resolve(&sink).await.expect("the sink is there");
        (sink, node.resolve(&echo).await.expect("the echo is there"))
    })
}

/// Tells as fast as there is room; returns how many were accepted, and what ended it.
async fn tell_until_it_fails(sink: Ref<SinkApi>) -> (u64, SendError<Record>) {
    let mut accepted = 0;
    loop {
        let sent = match sink.try_tell(record(accepted + 1)) {
            // A short patience: without the peer no room will come.
            Err(SendError::Full(message)) => {
                sink.tell(message).timeout(Duration::from_millis(100)).await
            }
            sent => sent,
        };
        match sent {
            Ok(()) => accepted += 1,
            Err(SendError::TimedOut { .. }) => {}
            Err(error) => return (accepted, error),
        }
    }
}

/// Asks one question after the other; returns how many were answered, and what ended it.
async fn ask_until_it_fails(echo: Ref<EchoApi>) -> (u64, AskError) {
    let mut answered = 0;
    loop {
        match echo
            .ask(question(answered))
            .timeout(Duration::from_secs(3))
            .await
        {
            Ok(answer) => assert_eq!(answer.number, answered),
            Err(error) => return (answered, error),
        }
        answered += 1;
    }
}

async fn seen_by(sink: Ref<SinkApi>) -> Account {
    sink.ask(Recall)
        .await
        .expect("the sink answers")
        .deserialize()
}

#[test]
fn a_question_to_a_killed_peer_fails_long_before_its_deadline() {
    let victim = Serving::start(LIVE_NODE, &[]);
    let survivor = LiveNode::start_serving();
    let bystander = Bystander::of(&survivor.path(ECHO));
    let (_, echo) = refs(&survivor, &victim);
    let asking = survivor.begin(move |_| async move {
        loop {
            let begin = Instant::now();
            let question = echo.ask(question(1)).timeout(Duration::from_secs(20));
            if let Err(error) = question.await {
                return (error, begin.elapsed());
            }
        }
    });
    victim.process.kill();
    let (error, after) = asking.finish();
    // The one on its way fails with its link. If none was, the next waits for the peer to return.
    match error {
        AskError::Unreachable { .. } => assert!(after < Duration::from_secs(5), "{after:?}"),
        AskError::Timeout { .. } => assert_eq!(error.executed(), Executed::No),
        other => panic!("{other}"),
    }
    bystander.saw_nothing();
}

#[test]
fn a_panicking_handler_stops_its_actor_alone() {
    let watched = Watched::start();
    let client = LiveNode::start();
    watched.node.run(|node| async move {
        node.spawn_named("fuse", Echoer::default())
            .expect("a free name");
    });
    let (fuse, echo) = (watched.node.path("fuse"), watched.node.path(ECHO));
    client.run(|node| async move {
        let fuse: Ref<EchoApi> = node.resolve(&fuse).await.expect("it is there");
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("it is there");
        // All on their way at once: what is behind the panic in the stream goes on.
        let begin = Instant::now();
        fuse.try_tell(Inflate { body_bytes: 1 })
            .expect("there is room");
        let failed = fuse
            .ask(Ignite)
            .timeout(Duration::from_secs(20))
            .await
            .expect_err("a panic");
        assert_eq!(
            (failed.executed(), failed),
            (Executed::Maybe, AskError::Failed)
        );
        assert_eq!(echo.ask(question(1)).await.expect("an answer").number, 1);
        let gone = fuse.ask(question(2)).await.expect_err("it stopped");
        assert_eq!(
            (gone.executed(), gone),
            (Executed::No, AskError::NotRunning)
        );
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "after {:?}",
            begin.elapsed()
        );
    });
    let counters = watched.node.counters();
    assert_eq!(
        (counters.panics, counters.closed_for_fault),
        (1, 0),
        "{counters:?}"
    );
    let lines = watched.node.log().with(PANIC);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("fuse"),
        "it does not name the actor: {lines:#?}"
    );
    watched.saw_nothing();
}

#[test]
fn messages_behind_a_panic_in_one_batch_are_delivered() {
    let node = LiveNode::start_serving();
    let seen = node.run(|node| async move {
        let sink = node.spawn(Sink::default()).expect("room for one more");
        let fuse = node.spawn(Echoer::default()).expect("room for one more");
        for number in 1..=50 {
            sink.try_tell(record(number)).expect("there is room");
            fuse.try_tell(Ignite).expect("there is room");
        }
        seen_by(sink).await
    });
    assert_eq!((seen.count, seen.out_of_order), (50, 0));
    let counters = node.until("the dead letters", |now| now.dead_no_recipient == 49);
    assert_eq!(counters.panics, 1, "an actor panics once: {counters:?}");
}

/// Panics at the moments its fields say.
#[derive(Default)]
struct Fragile {
    when_started: bool,
    when_stopped: bool,
}

impl Actor for Fragile {
    type Api = EchoApi;

    fn started(&mut self, _: &mut Cx<'_, Self>) {
        assert!(!self.when_started, "{PANIC}");
    }

    fn stopped(&mut self) {
        assert!(!self.when_stopped, "{PANIC}");
    }
}

impl Handler<Echo> for Fragile {
    fn handle(&mut self, message: Msg<Echo>, _: &mut Cx<'_, Self>) -> Echoed {
        Echoed {
            number: message.number.to_native(),
            body: Bytes::new(),
        }
    }
}

impl Handler<Ignite> for Fragile {
    fn handle(&mut self, _: Msg<Ignite>, _: &mut Cx<'_, Self>) -> Echoed {
        panic!("{PANIC}");
    }
}

impl Handler<Inflate> for Fragile {
    fn handle(&mut self, _: Msg<Inflate>, cx: &mut Cx<'_, Self>) -> Echoed {
        cx.stop();
        panic!("{PANIC}");
    }
}

impl Handler<Retire> for Fragile {
    fn handle(&mut self, _: Msg<Retire>, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

#[test]
fn a_panic_while_starting_gives_the_name_back() {
    let watched = Watched::start();
    watched.node.run(|node| async move {
        let fragile = Fragile {
            when_started: true,
            ..Fragile::default()
        };
        match node.spawn_named("fragile", fragile) {
            Err(SpawnError::Panicked { message }) => assert!(message.contains(PANIC), "{message}"),
            other => panic!("it started: {other:?}"),
        }
        let next = node
            .spawn_named("fragile", Fragile::default())
            .expect("the name is free");
        assert_eq!(next.ask(question(3)).await.expect("an answer").number, 3);
    });
    assert_eq!(watched.node.counters().panics, 1);
    watched.saw_nothing();
}

#[test]
fn a_panic_while_stopping_stops_all_the_same() {
    let watched = Watched::start();
    watched.node.run(|node| async move {
        let fragile = || Fragile {
            when_stopped: true,
            ..Fragile::default()
        };
        let by_itself = node.spawn_named("fragile", fragile()).expect("a free name");
        by_itself.tell(Retire).await.expect("it runs");
        let gone = by_itself.ask(question(1)).await.expect_err("it stopped");
        assert_eq!(gone, AskError::NotRunning);
        let by_others = node
            .spawn_named("fragile", fragile())
            .expect("the name is free");
        assert!(node.stop(&by_others), "it ran");
        assert!(!node.stop(&by_others), "it runs still");
        // And one that still runs when its node stops.
        node.spawn_named("fragile", fragile())
            .expect("the name is free");
    });
    assert_eq!(watched.node.counters().panics, 2);
    watched.saw_nothing();
}

#[test]
fn a_panic_in_a_handler_that_wanted_to_stop_stops_once() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let fragile = node
            .spawn_named("fragile", Fragile::default())
            .expect("a free name");
        let failed = fragile
            .ask(Inflate { body_bytes: 0 })
            .await
            .expect_err("a panic");
        assert_eq!(failed, AskError::Failed);
        node.spawn_named("fragile", Fragile::default())
            .expect("the name is free");
        assert_eq!(node.counters().panics, 1);
    });
}

#[test]
fn a_panic_in_a_task_ends_that_task_alone() {
    let watched = Watched::start();
    watched.node.run(|node| async move {
        let sink = node.spawn(Sink::default()).expect("room for one more");
        let room = "room for one more task";
        node.spawn_task(async { panic!("{PANIC}") }).expect(room);
        let other = node.clone();
        node.spawn_task(async move {
            other.sleep(Duration::from_millis(20)).await;
            sink.tell(record(1)).await.expect("it runs");
        })
        .expect(room);
        while seen_by(sink).await.count == 0 {
            node.sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!(watched.node.counters().panics, 1);
    let lines = watched.node.log().with(PANIC);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    watched.saw_nothing();
}

#[test]
fn a_panic_in_the_main_future_is_the_error_of_the_run() {
    let builder = || Engine::node(SYSTEM).idle(IdleMode::Park);
    let panicked: [Result<(), EngineError>; 2] = [
        builder().run(|_| -> std::future::Ready<()> { panic!("{PANIC}") }),
        builder().run(|node: Node| async move {
            node.sleep(Duration::from_millis(1)).await;
            panic!("{PANIC}");
        }),
    ];
    for ran in panicked {
        match ran {
            Err(EngineError::MainPanicked { message }) => {
                assert!(message.contains(PANIC), "{message}");
            }
            other => panic!("it did not panic: {other:?}"),
        }
    }
}

#[test]
fn a_ref_to_a_stopped_actor_never_reaches_a_later_one_of_its_name() {
    let watched = Watched::start();
    let client = LiveNode::start();
    let path = watched.node.path("successor");
    let spawn = |watched: &Watched| {
        watched.node.run(|node| async move {
            node.spawn_named("successor", Echoer::default())
                .expect("a free name");
        });
    };
    let mut old: Vec<Ref<EchoApi>> = Vec::new();
    for _ in 0..3 {
        spawn(&watched);
        let (path, earlier) = (path.clone(), old.clone());
        old.push(client.run(move |node| async move {
            let current: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
            // The same slot and link, and never the same actor.
            for earlier in earlier {
                assert_ne!(earlier, current);
                let error = earlier.ask(question(1)).await.expect_err("an old ref");
                assert_eq!(
                    (error.executed(), error),
                    (Executed::No, AskError::NotRunning)
                );
                earlier.tell(Retire).await.expect("it can be sent");
            }
            assert_eq!(current.ask(question(2)).await.expect("an answer").number, 2);
            current.tell(Retire).await.expect("it runs");
            current
        }));
        let actors = watched
            .node
            .until("the actor to stop", |now| now.actors == 3);
        assert_eq!(actors.closed_for_fault, 0, "{actors:?}");
    }
    let counters = watched.node.counters();
    assert_eq!(counters.dead_no_recipient, 2 * 3, "{counters:?}");
    watched.saw_nothing();
}

#[test]
fn a_ref_to_a_stopped_actor_of_the_own_core_never_reaches_a_later_one() {
    let node = LiveNode::start_serving();
    node.run(|node| async move {
        let old = node
            .spawn_named("successor", Sink::default())
            .expect("a free name");
        old.try_tell(record(1)).expect("there is room");
        assert!(node.stop(&old));
        let new = node
            .spawn_named("successor", Sink::default())
            .expect("the name is free");
        old.try_tell(record(2)).expect("it can be sent");
        assert_eq!(
            old.ask(Recall).await.expect_err("an old ref"),
            AskError::NotRunning
        );
        assert_eq!(seen_by(new).await, Account::default());
    });
    // The message that was on its way when the actor stopped, and the two after.
    assert_eq!(node.counters().dead_no_recipient, 3);
    assert_eq!(account(&node), Account::default());
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(&[0x77; 40]),
    }
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::from_static(&[0x77; 40]),
    }
}
