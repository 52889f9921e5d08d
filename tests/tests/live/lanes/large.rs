//! Messages above the ordinary cap.

use std::time::Duration;

use ringmesh::{AskError, Lane, SendError};
use ringmesh_proto::limits::{
    EXTENSION_BYTES, FRAME_BYTES_LARGE, FRAME_BYTES_ORDINARY, PACED_BYTES_MAX,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{
    Account, ECHO, Echo, EchoApi, Inflate, Recall, SINK, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;

use super::{LARGE_BYTES, WideApi, WideSink, at, links_on, record, record_of};

#[test]
fn one_over_the_ordinary_cap_takes_the_large_lane_from_the_first_send_on() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let path = server.path(SINK);
    let said = client.run(move |node| async move {
        let sink = at::<SinkApi>(&node, &path).await;
        let mut said = Account::default();
        let ordinary = FRAME_BYTES_ORDINARY as usize;
        let sizes = [ordinary, ordinary + 1, FRAME_BYTES_LARGE as usize];
        for (number, bytes) in (1..).zip(sizes) {
            let message = record_of(number, bytes);
            said.note_record(number, &message.body);
            sink.tell(message).await.expect("there is a lane for it");
            // One after the other, for the lanes keep no order among them.
            while node.counters().in_flight > 0 {
                node.sleep(Duration::from_millis(1)).await;
            }
        }
        let refused = sink.try_tell(record_of(4, FRAME_BYTES_LARGE as usize + 1));
        let Err(SendError::TooLarge { bytes, limit, .. }) = refused else {
            panic!("one over the large cap: {refused:?}");
        };
        let large = FRAME_BYTES_LARGE as usize;
        assert_eq!((bytes, limit), (large + 1, large));
        assert_eq!(
            sink.ask(Recall).await.expect("an answer").deserialize(),
            said
        );
        said
    });
    assert_eq!(said.count, 3);
    let [large] = &links_on(&client, Lane::Large)[..] else {
        panic!("one link of the large lane");
    };
    assert_eq!(large.messages_sent, 2, "{large:?}");
    assert!(large.bytes_sent > u64::from(FRAME_BYTES_ORDINARY + FRAME_BYTES_LARGE));
    let [ordinary] = &links_on(&client, Lane::Ordinary)[..] else {
        panic!("one link of the ordinary lane");
    };
    assert!(ordinary.bytes_sent > u64::from(FRAME_BYTES_ORDINARY));
    assert_eq!(links_on(&server, Lane::Large).len(), 1);
    [server, client]
        .iter()
        .for_each(|node| assert_closed(&node.counters()));
}

#[test]
fn a_declared_recipient_gets_messages_of_all_sizes_in_order() {
    const MESSAGES: u64 = 60;
    let (server, client) = (LiveNode::start(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named("wide", WideSink::default())
            .expect("a free name");
    });
    let path = server.path("wide");
    let (said, heard) = client.run(move |node| async move {
        let sink = at::<WideApi>(&node, &path).await;
        let mut said = Account::default();
        for number in 1..=MESSAGES {
            let bytes = [10, 300 << 10, 2000, LARGE_BYTES][number as usize % 4];
            let message = record(number, bytes);
            said.note_record(number, &message.body);
            sink.tell(message).await.expect("the lane takes it");
        }
        let heard = sink.ask(Recall).await.expect("an answer").deserialize();
        (said, heard)
    });
    assert_eq!(heard, said);
    assert_eq!((heard.count, heard.out_of_order), (MESSAGES, 0));
    assert_paced(&server);
    assert_paced(&client);
    let [large] = &links_on(&client, Lane::Large)[..] else {
        panic!("one link of the large lane");
    };
    assert_eq!(large.messages_sent, MESSAGES + 1, "the question too");
    [server, client]
        .iter()
        .for_each(|node| assert_closed(&node.counters()));
}

/// Checks that no turn moved more of the large lane, in either direction, than one bounded piece.
fn assert_paced(node: &LiveNode) {
    let now = node.counters();
    assert!(
        now.paced_bytes > 10 << 20,
        "it carries what is large: {now:#?}"
    );
    assert!(
        now.paced_bytes <= now.paced * PACED_BYTES_MAX as u64,
        "{now:#?}"
    );
    assert!(now.paced <= 2 * now.turns, "one piece each way: {now:#?}");
}

#[test]
fn answers_take_the_lane_of_their_question() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let echo = at::<EchoApi>(&node, &path).await;
        let body = vec![5; LARGE_BYTES];
        let question = Echo {
            number: 1,
            body: body.clone().into(),
        };
        let answer = echo.ask(question).await.expect("a large answer");
        assert!(answer.body[..] == body);
        let inflate = Inflate {
            body_bytes: LARGE_BYTES as u32,
        };
        let refused = echo
            .ask(inflate.clone())
            .await
            .expect_err("it is too large");
        assert_eq!(refused, AskError::ReplyTooLarge);
        let answer = echo.ask(inflate).large().await.expect("a large answer");
        assert_eq!(answer.body.len(), LARGE_BYTES);
        let one_over = Echo {
            number: 2,
            body: vec![5; FRAME_BYTES_LARGE as usize].into(),
        };
        let refused = echo.ask(one_over).await.expect_err("it is too large");
        let AskError::TooLarge { bytes, limit } = refused else {
            panic!("one over the large cap: {refused:?}");
        };
        assert!(bytes > limit + EXTENSION_BYTES && limit == FRAME_BYTES_LARGE as usize);
    });
    [server, client]
        .iter()
        .for_each(|node| assert_closed(&node.counters()));
}

#[test]
fn within_a_node_large_messages_pass_in_order_and_one_over_is_refused() {
    let node = LiveNode::of_cores(2);
    for core in [0, 1] {
        let (said, heard) = node.run(move |node| async move {
            let cores: Vec<_> = node.cores().collect();
            let sink = node.spawn_on(cores[core], WideSink::default).await;
            let sink = sink.expect("there is room");
            let mut said = Account::default();
            for number in 1..=20 {
                let bytes = [10, LARGE_BYTES, 300 << 10][number as usize % 3];
                let message = record(number, bytes);
                said.note_record(number, &message.body);
                sink.tell(message).await.expect("it is taken");
            }
            let largest = record_of(21, FRAME_BYTES_LARGE as usize);
            said.note_record(21, &largest.body);
            sink.tell(largest).await.expect("the cap itself is taken");
            let refused = sink.try_tell(record_of(22, FRAME_BYTES_LARGE as usize + 1));
            assert!(
                matches!(refused, Err(SendError::TooLarge { .. })),
                "{refused:?}"
            );
            let heard = sink.ask(Recall).await.expect("an answer").deserialize();
            (said, heard)
        });
        assert_eq!(heard, said);
    }
    assert_closed(&node.counters());
}
