//! What is sent before the first connection.

use std::time::{Duration, Instant};

use ringmesh::{AskError, CoreId, LinkState, Node, NodeEvent, SendError};
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::{Echo, Echoer, Recall, Sink};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::frames::{self as make, target_of};
use ringmesh_tests::live::raw::{OFFER, RawListener, RawPeer};
use ringmesh_tests::live::watched::account;

use super::{Apart, Refs, Spot, behind, hand, question, record, sized};

#[test]
fn it_arrives_in_order_and_once_when_the_peer_is_there() {
    let apart = Apart::start(|builder| builder);
    let Apart {
        sender,
        cutter,
        far,
        refs: (_, echo),
    } = &apart;
    let echo = *echo;
    let mut events = sender.run(|node| async move { node.events() });
    apart.tell(1, 100);
    let asking = sender.begin(move |_| async move { echo.ask(question(7)).await.map(|_| ()) });
    let now = sender.until("a question", |now| now.in_flight == 101);
    assert_eq!(now.acknowledged, 0);
    assert_closed(&now);
    let far_address = far.address().clone();
    let report = sender.run(|node| async move { node.links().await });
    let report = report.iter().find(|link| link.peer == far_address);
    let report = report.expect("a link on its way");
    let states = [LinkState::Dialling, LinkState::BackOff];
    assert!(states.contains(&report.state), "{report:?}");
    assert!(report.in_flight_bytes > 6400 && report.age.is_none());
    cutter.cut_all(false);
    asking.finish().expect("an answer");
    apart.tell(101, 200);
    sender.until("rest", |now| now.in_flight == 0);
    let seen = account(far);
    assert_eq!((seen.count, seen.highest, seen.out_of_order), (200, 200, 0));
    let names: Vec<NodeEvent> = std::iter::from_fn(|| events.try_next()).collect();
    let names = names.iter().filter(|event| {
        let link = event.link();
        link.is_some_and(|link| link.peer == *far.id())
    });
    let names: Vec<&str> = names.map(NodeEvent::label).collect();
    assert_eq!(names, ["forming", "associated"]);
    let books = [sender.counters(), far.counters()];
    books.iter().for_each(assert_closed);
    assert_eq!(books[0].dead_sent + books[0].dead_received, 0);
}

#[test]
fn one_over_its_window_is_refused_or_waits_for_the_connection() {
    let apart = Apart::start(|builder| builder);
    let Apart { sender, cutter, .. } = &apart;
    let (sink, _) = apart.refs;
    let told = sender.run(move |_| async move {
        // More than every peer takes, and than any does.
        let large = sink.try_tell(sized(1, 100 << 10));
        assert!(matches!(large, Err(SendError::Full(_))), "{large:?}");
        let vast = sink.try_tell(sized(1, 3 << 20));
        assert!(matches!(vast, Err(SendError::TooLarge { .. })), "{vast:?}");
        let mut number = 1;
        while sink.try_tell(record(number)).is_ok() {
            number += 1;
        }
        let full = sink.try_tell(record(number));
        assert!(matches!(full, Err(SendError::Full(_))), "{full:?}");
        let patience = Duration::from_millis(1);
        let waited = sink.tell(record(number)).timeout(patience).await;
        assert!(matches!(waited, Err(SendError::TimedOut { .. })));
        number - 1
    });
    let in_flight = sender.counters().in_flight;
    assert_eq!(in_flight, told);
    let waiting = sender.begin(move |_| async move {
        sink.tell(record(told + 1)).await.expect("room");
        sink.tell(sized(told + 2, 100 << 10)).await.expect("room");
    });
    cutter.cut_all(false);
    waiting.finish();
    sender.until("rest", |now| now.in_flight == 0);
    let seen = account(&apart.far);
    assert_eq!((seen.count, seen.out_of_order), (told + 2, 0));
}

#[test]
fn what_its_peer_grants_is_not_exceeded_by_messages_longer_than_every_peer_takes() {
    const BODY_BYTES: usize = 100 << 10;
    let listener = RawListener::bind();
    let sender = LiveNode::start();
    let spot = Spot::nowhere(listener.address.clone());
    let (sink, _) = hand(&sender, std::slice::from_ref(&spot))[0];
    sender.run(move |_| async move { sink.try_tell(record(1)).expect("room") });
    let (mut peer, preface) = listener.accept();
    peer.me.uid = spot.id.uid;
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let address = listener.address;
    let in_flight = sender.run(move |node| async move {
        let first = sink.tell(sized(2, BODY_BYTES)).await;
        first.expect("room when the link is up");
        while sink.try_tell(sized(3, BODY_BYTES)).is_ok() {}
        let links = node.links().await;
        let link = links.iter().find(|link| link.peer == address);
        link.expect("a link").in_flight_bytes
    });
    let limit = OFFER.limit;
    assert!(
        (limit - 110_000..=limit).contains(&in_flight),
        "{in_flight}"
    );
}

#[test]
fn a_question_that_is_given_up_before_a_connection_is_accounted_for() {
    let apart = Apart::start(|builder| builder);
    let Apart { sender, cutter, .. } = &apart;
    let (_, echo) = apart.refs;
    let error = sender.run(move |_| async move {
        let ask = echo.ask(question(1)).timeout(Duration::from_millis(20));
        ask.await.err()
    });
    assert!(matches!(error, Some(AskError::Timeout { .. })), "{error:?}");
    assert_eq!(sender.counters().in_flight, 1);
    cutter.cut_all(false);
    sender.until("its answer", |now| now.dead_late_answer == 1);
    let answer = sender.run(move |_| async move { echo.ask(question(2)).await.map(|_| ()) });
    answer.expect("the link lives");
    sender.until("rest", |now| now.in_flight == 0);
    for node in [sender, &apart.far] {
        assert_closed(&node.counters());
    }
}

#[test]
fn two_that_send_to_each_other_before_they_met_lose_nothing() {
    const ROUNDS: u64 = 6;
    const RECORDS: u64 = 50;
    for _ in 0..ROUNDS {
        let cutters = [0, 1].map(|_| Cutter::start(&Cuts::none()));
        let nodes = [0, 1].map(|place: usize| behind(&cutters[place], |builder| builder));
        let spots = [0, 1].map(|place: usize| Spot::on(&nodes[place]));
        let refs: [Refs; 2] = [0, 1].map(|place: usize| {
            let other = spots[1 - place].clone();
            hand(&nodes[place], &[other])[0]
        });
        cutters.iter().for_each(|cutter| cutter.cut_all(true));
        let tell = |place: usize, from: u64| {
            let (sink, _) = refs[place];
            nodes[place].begin(move |_| async move {
                for number in from..from + RECORDS {
                    sink.tell(record(number)).await.expect("room");
                }
            })
        };
        for told in [0, 1].map(|place| tell(place, 1)) {
            told.finish();
        }
        let telling = [0, 1].map(|place| tell(place, 1 + RECORDS));
        cutters.iter().for_each(|cutter| cutter.cut_all(false));
        for told in telling {
            told.finish();
        }
        for node in &nodes {
            node.until("rest", |now| now.in_flight == 0);
        }
        for node in &nodes {
            let seen = account(node);
            let all = 2 * RECORDS;
            assert_eq!((seen.count, seen.highest, seen.out_of_order), (all, all, 0));
            let books = node.counters();
            assert_closed(&books);
            assert_eq!(books.dead_sent, 0, "{books:#?}");
        }
    }
}

#[test]
fn other_cores_and_shared_links_work_the_same_way() {
    for links_max in [1000, 1] {
        let set = |settings: &mut ringmesh::Settings| {
            settings.links_per_association_max = links_max;
        };
        let far = LiveNode::start_with(|builder| builder.cores(3).settings(set));
        let sender = LiveNode::start_with(|builder| builder.cores(3).settings(set));
        let control = Spot::on(&far);
        let (sink, echo) = far.run(|node| async move {
            let sink = node.spawn_on(CoreId(2), Sink::default).await;
            let echo = node.spawn_on(CoreId(2), Echoer::default).await;
            let (sink, echo) = (sink.expect("room"), echo.expect("room"));
            (target_of(&sink), target_of(&echo))
        });
        let spot = Spot {
            core: 2,
            sink,
            echo,
            ..control
        };
        let (sink, echo) = hand(&sender, &[spot])[0];
        sender.run(move |node: Node| async move {
            // Which cores may have a link nobody has said yet.
            let early = sink.try_tell(record(1));
            assert!(matches!(early, Err(SendError::Full(_))), "{early:?}");
            sink.tell(record(1)).await.expect("room");
            for number in 2..=50 {
                sink.tell(record(number)).await.expect("room");
            }
            echo.ask(question(1)).await.expect("an answer");
            // The others know by now, and have no link.
            for core in [CoreId(1), CoreId(2)] {
                let (said, heard) = futures_channel::oneshot::channel();
                let task = move |_: Node| async move {
                    sink.try_tell(record(60 + u64::from(core.0))).expect("room");
                    let answer = echo.ask(question(2)).await;
                    drop(said.send(answer.map(|_| ())));
                };
                node.spawn_task_on(core, task).await.expect("room");
                heard.await.expect("it ends").expect("an answer");
            }
        });
        sender.until_so("rest", |node| node.metrics().total.in_flight == 0);
        let seen = sender.run(move |_| async move {
            let seen = sink.ask(Recall).await.expect("an answer");
            seen.deserialize()
        });
        assert_eq!((seen.count, seen.out_of_order), (52, 0), "{seen:?}");
        for node in [&sender, &far] {
            let metrics = node.run(|node| async move { node.metrics() });
            metrics.cores.iter().for_each(assert_closed);
            assert_eq!(metrics.total.dead_sent + metrics.total.dead_received, 0);
        }
    }
}

#[test]
fn a_question_leaves_with_what_is_left_of_its_time() {
    const DEADLINE: Duration = Duration::from_secs(20);
    let listener = RawListener::bind();
    let sender = LiveNode::start();
    let spot = Spot::nowhere(listener.address.clone());
    let (_, echo) = hand(&sender, std::slice::from_ref(&spot))[0];
    let asking = sender.begin(move |_| async move {
        let hasty = echo.ask(question(1)).timeout(Duration::from_millis(30));
        assert!(hasty.await.is_err(), "nobody answers");
        let patient = echo.ask(question(2)).timeout(DEADLINE);
        patient.await.err()
    });
    sender.until("both", |now| now.in_flight == 2);
    let (mut peer, preface) = listener.accept();
    assert_eq!(preface.expected_uid, Some(spot.id.uid));
    let asked = Instant::now();
    peer.me.uid = spot.id.uid;
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let times = [(); 2].map(|()| {
        let extension = peer.frame_of(Kind::Ask).extension;
        Duration::from_micros(extension.expect("a question's").remaining_us.into())
    });
    assert_eq!(times[0], Duration::ZERO, "nobody waits for it");
    assert!(times[1] < DEADLINE && times[1] + asked.elapsed() + WAIT > DEADLINE);
    drop(peer);
    drop(listener);
    assert!(asking.finish().is_some(), "it ends with its link");
    sender.until("the end", |now| now.in_flight == 0);
    assert_closed(&sender.counters());
}

#[test]
fn a_question_without_time_is_not_handled() {
    let node = LiveNode::start();
    let spot = Spot::on(&node);
    let mut peer = RawPeer::link(node.id());
    peer.send(&make::definitions::<Echo>(spot.echo));
    for (number, remaining_us) in [(1, 0), (2, 10_000_000)] {
        peer.send(&make::ask_within(&question(number), number, remaining_us));
    }
    let expired = ErrorCode::Expired.to_wire();
    let answers = [(1, Kind::Error, expired), (2, Kind::Reply, 0)];
    assert_eq!(peer.answers(2), answers);
    let books = node.counters();
    assert_eq!((books.dead_expired, books.delivered), (1, 1), "{books:#?}");
    assert_closed(&books);
}
