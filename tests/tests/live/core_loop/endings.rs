//! Actors that end in the middle of something, or do something with others while they end.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ringmesh::{Actor, AskError, Cx, Handler, Msg, Node, Ref, SpawnError};
use ringmesh_tests::live::messages::{
    ECHO, Echo, EchoApi, Echoed, Echoer, Ignite, Inflate, PANIC, Recall, Record, Retire, SINK,
    Sink, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::watched::Watched;

/// What became of an actor, in order.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn note(&self, event: &'static str) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
    }

    fn events(&self) -> Vec<&'static str> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }
}

/// Does what a test wants at its beginning and its end.
struct Guest {
    diary: Diary,
    when_started: fn(&mut Cx<'_, Self>),
    when_dropped: Option<Box<dyn FnOnce()>>,
}

impl Guest {
    fn new(diary: &Diary) -> Self {
        Self {
            diary: diary.clone(),
            when_started: |_| {},
            when_dropped: None,
        }
    }

    /// The same, with something to do when it is dropped.
    fn with_last_words(diary: &Diary, act: impl FnOnce() + 'static) -> Self {
        let mut guest = Self::new(diary);
        guest.when_dropped = Some(Box::new(act));
        guest
    }

    /// One whose drop panics.
    fn fragile(diary: &Diary) -> Self {
        Self::with_last_words(diary, || panic!("{PANIC}"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.diary.note("dropped");
        if let Some(act) = self.when_dropped.take() {
            act();
        }
    }
}

impl Actor for Guest {
    type Api = EchoApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        (self.when_started)(cx);
    }

    fn stopped(&mut self) {
        self.diary.note("stopped");
    }
}

impl Handler<Echo> for Guest {
    fn handle(&mut self, message: Msg<Echo>, _: &mut Cx<'_, Self>) -> Echoed {
        Echoed {
            number: message.number.to_native(),
            body: Bytes::new(),
        }
    }
}

impl Handler<Ignite> for Guest {
    fn handle(&mut self, _: Msg<Ignite>, _: &mut Cx<'_, Self>) -> Echoed {
        panic!("{PANIC}");
    }
}

impl Handler<Inflate> for Guest {
    fn handle(&mut self, _: Msg<Inflate>, _: &mut Cx<'_, Self>) -> Echoed {
        Echoed {
            number: 0,
            body: Bytes::new(),
        }
    }
}

impl Handler<Retire> for Guest {
    fn handle(&mut self, _: Msg<Retire>, cx: &mut Cx<'_, Self>) {
        cx.stop();
    }
}

#[test]
fn an_actor_may_stop_itself_while_it_starts() {
    let ways: [fn(&mut Cx<'_, Guest>); 2] = [
        |cx| cx.stop(),
        |cx| {
            let me = cx.me();
            assert!(cx.node().stop(&me), "it runs");
        },
    ];
    for when_started in ways {
        let node = LiveNode::start();
        node.run(move |node| async move {
            let diary = Diary::default();
            let actors = node.counters().actors;
            let mut guest = Guest::new(&diary);
            guest.when_started = when_started;
            let guest = node.spawn_named("guest", guest).expect("a free name");
            assert_eq!(diary.events(), ["stopped", "dropped"]);
            assert_eq!(node.counters().actors, actors);
            assert!(!node.stop(&guest), "it runs still");
            let gone = guest.ask(question()).await.expect_err("it stopped");
            assert_eq!(gone, AskError::NotRunning);
            let next = node.spawn_named("guest", Guest::new(&diary));
            next.expect("the name is free");
        });
    }
}

#[test]
fn a_panic_in_the_drop_of_an_actor_ends_nobody_else() {
    let watched = Watched::start();
    let client = LiveNode::start();
    let diary = Diary::default();
    let ways = [Way::Told, Way::Stopped, Way::Panicked, Way::NotStarted];
    for way in ways {
        end_one(&watched, &client, way, {
            let diary = diary.clone();
            move |_| Guest::fragile(&diary)
        });
    }
    // Two of them panicked before they were dropped.
    assert_eq!(watched.node.counters().panics, 6);
    assert_eq!(
        diary.events(),
        [
            "stopped", "dropped", "stopped", "dropped", "dropped", "dropped"
        ]
    );
    // And one that still runs when its node stops.
    let last = Diary::default();
    let noted = last.clone();
    let node = LiveNode::start();
    node.run(|node| async move {
        node.spawn(Guest::fragile(&noted))
            .expect("room for one more");
    });
    node.stop();
    assert_eq!(last.events(), ["stopped", "dropped"]);
    watched.saw_nothing();
}

#[test]
fn the_drop_of_an_actor_may_use_the_node_and_other_actors() {
    let watched = Watched::start();
    let client = LiveNode::start();
    let sink = watched.node.path(SINK);
    let sink: Ref<SinkApi> = watched
        .node
        .run(|node| async move { node.resolve(&sink).await.expect("the sink is there") });
    let ways = [Way::Told, Way::Stopped, Way::Panicked, Way::NotStarted];
    for (way, told) in ways.into_iter().zip(1..) {
        let (diary, other) = (Diary::default(), Diary::default());
        let (of_one, noted, of_other) = (diary.clone(), diary.clone(), other.clone());
        end_one(&watched, &client, way, move |node| {
            let victim = node
                .spawn(Guest::new(&of_other))
                .expect("room for one more");
            let node = node.clone();
            Guest::with_last_words(&of_one, move || {
                use_the_node(&node, &noted, victim, sink);
            })
        });
        assert_eq!(diary.events().last(), Some(&"used"), "{way:?}");
        assert_eq!(other.events(), ["stopped", "dropped"], "{way:?}");
        let seen = watched.node.run(move |_| async move {
            let account = sink.ask(Recall).await.expect("the sink answers");
            account.count.to_native()
        });
        assert_eq!(seen, told, "{way:?}");
    }
    // The panics of the handler and of the start, and none besides.
    assert_eq!(watched.node.counters().panics, 2);
    watched.saw_nothing();
}

/// What an actor's drop may do with the rest of its core.
fn use_the_node(node: &Node, diary: &Diary, victim: Ref<EchoApi>, sink: Ref<SinkApi>) {
    assert!(node.stop(&victim), "the other one runs");
    assert!(!node.stop(&victim), "it is stopped once");
    let heir = node
        .spawn_named("guest", Echoer::default())
        .expect("the name is free again");
    assert!(node.stop(&heir), "it runs");
    let unnamed = node.spawn(Sink::default()).expect("room for one more");
    assert!(node.stop(&unnamed), "it runs");
    sink.try_tell(Record {
        number: 1,
        body: Bytes::from_static(b"last words"),
    })
    .expect("there is room");
    assert!(node.counters().actors > 0);
    diary.note("used");
}

/// How an actor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By itself, in a handler.
    Told,
    /// From outside.
    Stopped,
    /// In a handler that panics.
    Panicked,
    /// While it starts.
    NotStarted,
}

/// Spawns an actor and ends it; checks that it is gone, and that its core goes on.
fn end_one(
    watched: &Watched,
    client: &LiveNode,
    way: Way,
    make: impl FnOnce(&Node) -> Guest + Send + 'static,
) {
    let started = watched.node.run(move |node| async move {
        let mut guest = make(&node);
        if way == Way::NotStarted {
            guest.when_started = |_| panic!("{PANIC}");
        }
        match node.spawn_named("guest", guest) {
            Ok(guest) if way == Way::Stopped => {
                assert!(node.stop(&guest), "it ran");
                false
            }
            Ok(_) => true,
            Err(SpawnError::Panicked { .. }) if way == Way::NotStarted => false,
            Err(error) => panic!("{error}"),
        }
    });
    let (guest, echo) = (watched.node.path("guest"), watched.node.path(ECHO));
    client.run(move |node| async move {
        if started {
            // From another node, so that it ends in the middle of a link's batch.
            let guest: Ref<EchoApi> = node.resolve(&guest).await.expect("it is there");
            guest.ask(question()).await.expect("an answer");
            if way == Way::Panicked {
                let failed = guest.ask(Ignite).await.expect_err("a panic");
                assert_eq!(failed, AskError::Failed);
            } else {
                guest.tell(Retire).await.expect("it runs");
            }
            let gone = guest.ask(question()).await.expect_err("it ended");
            assert_eq!(gone, AskError::NotRunning);
        }
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("the echo is there");
        assert_eq!(echo.ask(question()).await.expect("an answer").number, 7);
    });
    watched.node.run(|node| async move {
        let next = node
            .spawn_named("guest", Echoer::default())
            .expect("the name is free");
        assert!(node.stop(&next), "it runs");
    });
}

fn question() -> Echo {
    Echo {
        number: 7,
        body: Bytes::from_static(&[0x77; 40]),
    }
}
