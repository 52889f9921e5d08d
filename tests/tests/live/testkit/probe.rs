//! Actors that are the test.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::testkit::{DeadLetterProbe, TestProbe, VirtualTime};
use ringmesh::transport::MemoryNetwork;
use ringmesh::{AskError, DeadLetterReason, Ended, Ref, SendError, message, protocol};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoed, Sink};
use ringmesh_tests::live::node::LiveNode;

use super::panic_of;

#[message(id = "tests.Line", v = 1)]
struct Line {
    number: u32,
}

#[message(id = "tests.Prompt", v = 1, reply = Line)]
struct Prompt;

#[message(local)]
struct Note(Box<dyn Fn() -> u32 + Send>);

protocol! {
    ScriptApi = "tests.script" { Line, Prompt, local Note }
}

#[test]
fn messages_questions_local_messages_and_ends_come_in_their_order() {
    let node = LiveNode::start_with(|builder| builder.virtual_time(&VirtualTime::new()));
    node.run(|node| async move {
        let mut probe = TestProbe::<ScriptApi>::spawn(&node).expect("room");
        let me = probe.me();
        me.try_tell(Line { number: 1 }).expect("room");
        me.try_tell_local(Note(Box::new(|| 2))).expect("room");
        let line = probe.expect_msg::<Line>().await;
        assert_eq!(line.message.number, 1);
        assert_eq!(&line.sender, node.id());
        assert!(!line.reply.is_asked());
        assert_eq!(probe.expect_local::<Note>().await.0(), 2);

        let asker = node.clone();
        let asked = async move { me.ask(Prompt).await.map(|line| u32::from(line.number)) };
        let (said, hear) = futures_channel::oneshot::channel();
        let asking = async move { drop(said.send(asked.await)) };
        asker.spawn_task(asking).expect("room");
        let prompt = probe.expect_msg::<Prompt>().await;
        prompt.reply.send(Line { number: 3 });
        assert_eq!(hear.await.expect("it ran").expect("an answer"), 3);

        let sink = node.spawn(Sink::default()).expect("room");
        probe.watch(&sink).expect("room");
        assert!(node.stop(&sink));
        let ended = probe.expect_terminated(&sink).await;
        assert_eq!(ended.why(), Ended::Stopped);
        probe.expect_no_msg(Duration::from_secs(3600)).await;
    });
    assert_closed(&node.counters());
}

#[test]
fn it_stands_for_an_actor_of_another_node_and_passes_over_what_it_does_not_look_for() {
    let (time, network) = (VirtualTime::new(), MemoryNetwork::new());
    let inside = |builder: ringmesh::NodeBuilder| {
        let builder = builder.virtual_time(&time).network(network.clone());
        builder.settings(|settings| settings.mailbox_messages_max = 8)
    };
    let (here, there) = (LiveNode::start_with(inside), LiveNode::start_with(inside));
    let path = there.path(ECHO);
    let (theirs, its) = (time.clone(), time.clone());
    let stands_for = there.begin(move |node| async move {
        let mut probe = TestProbe::<EchoApi>::spawn_named(&node, ECHO).expect("a free name");
        let caught = probe.fish_for::<Echo>(|echo| echo.number == 5).await;
        let body = Bytes::from_static(b"found");
        caught.reply.send(Echoed { number: 5, body });
        theirs.pass(Duration::ZERO).await;
    });
    let found = here.run(move |node| async move {
        let echo: Ref<EchoApi> = loop {
            match node.resolve(&path).await {
                Ok(echo) => break echo,
                Err(_) => its.pass(Duration::from_millis(1)).await,
            }
        };
        for number in 1..5 {
            let passed = echo
                .ask(Echo {
                    number,
                    body: Bytes::new(),
                })
                .await;
            assert!(matches!(passed, Err(AskError::Failed)), "{passed:?}");
        }
        let found = echo
            .ask(Echo {
                number: 5,
                body: Bytes::new(),
            })
            .await;
        found.expect("an answer").body.len()
    });
    assert_eq!(found, 5);
    stands_for.finish();
}

#[test]
fn it_is_as_full_as_any_actor_and_ends_when_it_is_dropped() {
    let time = VirtualTime::new();
    let node = LiveNode::start_with(|builder| {
        let builder = builder.virtual_time(&time);
        builder.settings(|settings| settings.mailbox_messages_max = 4)
    });
    node.run(move |node| async move {
        let mut letters = DeadLetterProbe::of(&node);
        let mut probe = TestProbe::<ScriptApi>::spawn(&node).expect("room");
        let me = probe.me();
        let mut told = 0;
        let full = loop {
            match me.try_tell(Line { number: told }) {
                Ok(()) => told += 1,
                Err(error) => break error,
            }
            time.pass(Duration::ZERO).await;
        };
        assert!(matches!(full, SendError::Full(_)), "{full:?}");
        assert_eq!(told, 4);
        for number in 0..told {
            assert_eq!(probe.expect_msg::<Line>().await.message.number, number);
        }
        // Its sender hears of the room.
        time.pass(Duration::ZERO).await;
        me.try_tell(Line { number: told }).expect("room again");
        time.pass(Duration::ZERO).await;
        drop(probe);
        letters.expect(DeadLetterReason::NoRecipient).await;
    });
    assert_closed(&node.counters());
}

#[test]
fn it_says_what_came_in_place_of_what_was_expected() {
    let nothing = panic_of(|node| async move {
        let mut probe = TestProbe::<ScriptApi>::spawn(&node).expect("room");
        probe.expect_msg::<Line>().await;
    });
    assert_eq!(nothing, "`tests.Line` was expected; nothing came");
    let other = panic_of(|node| async move {
        let mut probe = TestProbe::<ScriptApi>::spawn(&node).expect("room");
        probe.me().try_tell(Line { number: 1 }).expect("room");
        probe.expect_msg::<Prompt>().await;
    });
    assert_eq!(
        other,
        "`tests.Prompt` was expected; this came: `tests.Line`"
    );
    let some = panic_of(|node| async move {
        let mut probe = TestProbe::<ScriptApi>::spawn(&node).expect("room");
        probe
            .me()
            .try_tell_local(Note(Box::new(|| 1)))
            .expect("room");
        probe.expect_no_msg(Duration::from_secs(1)).await;
    });
    let (said, name) = some.split_once(": ").expect("a name");
    assert_eq!(said, "nothing was expected; this came");
    assert!(name.ends_with("Note`"), "{name}");
}
