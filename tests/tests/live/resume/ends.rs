//! Links that do not go on, and those that do at the last moment: every message is accounted for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{AskError, Engine, Node, Ref, SendError};
use ringmesh_tests::live::books::{assert_closed, assert_closed_at_the_end};
use ringmesh_tests::live::cores::{balanced, total};
use ringmesh_tests::live::messages::{
    Account, ECHO, Echo, EchoApi, Echoer, Recall, Record, SINK, Sink, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::watched::account;

use super::{PATIENCE, Pair, behind};

fn record(number: u64) -> Record {
    let body = Bytes::from_static(&[7; 64]);
    Record { number, body }
}

fn serve(node: &LiveNode) {
    node.run(|node| async move {
        let sink = node.spawn_named(SINK, Sink::default());
        sink.expect("a free name");
        let echo = node.spawn_named(ECHO, Echoer::default());
        echo.expect("a free name");
    });
}

fn find(from: &LiveNode, to: &LiveNode) -> (Ref<SinkApi>, Ref<EchoApi>) {
    let (sink, echo) = (to.path(SINK), to.path(ECHO));
    from.run(move |node| async move {
        let sink = node.resolve(&sink).await.expect("it is there");
        let echo = node.resolve(&echo).await.expect("it is there");
        (sink, echo)
    })
}

/// What the sink saw, up to the last that `from` told it.
fn recall(from: &LiveNode, sink: Ref<SinkApi>) -> Account {
    from.run(move |_| async move { sink.ask(Recall).await.expect("it runs").deserialize() })
}

/// Cuts the pair off, waits until the first node noticed, and has it tell `count` records.
fn tell_into_the_gap(pair: &Pair, sink: Ref<SinkApi>, count: u64) {
    let [first, second] = &pair.nodes;
    for node in [first, second] {
        node.until("rest", |now| now.in_flight == 0);
    }
    pair.cut_all(true);
    first.until("the loss", |now| now.links == 0);
    first.run(move |_| async move {
        for number in 1..=count {
            sink.try_tell(record(number)).expect("room in the window");
        }
    });
}

#[test]
fn what_is_sent_in_a_gap_arrives_after_it() {
    let pair = Pair::calm(|builder| builder);
    let [first, second] = &pair.nodes;
    serve(second);
    let (sink, echo) = find(first, second);
    tell_into_the_gap(&pair, sink, 100);
    let counters = first.counters();
    assert_eq!(counters.in_flight, 100, "{counters:?}");
    assert_closed(&counters);
    // Credit is what there was: a window that nobody empties is full.
    let full = first.begin(move |_| async move {
        let mut number = 100;
        loop {
            number += 1;
            match sink.try_tell(record(number)) {
                Ok(()) => {}
                Err(SendError::Full(_)) => return number,
                Err(other) => panic!("{other}"),
            }
        }
    });
    let number = full.finish();
    assert_eq!(first.counters().dead_sent, 0);
    // Who waits for room, or an answer, waits until the link goes on.
    let waiting = first.begin(move |_| async move {
        sink.tell(record(number)).await.expect("room");
        let body = Bytes::new();
        echo.ask(Echo { number, body }).await.map(|_| ())
    });
    pair.cut_all(false);
    waiting.finish().expect("an answer");
    let seen = account(second);
    assert_eq!((seen.count, seen.highest), (number, number));
    assert_eq!(seen.out_of_order, 0);
    let books = balanced(&pair.nodes);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
    assert!(total(&books, |book| book.resumed) >= 2);
    let log = first.log();
    assert!(!log.with("link lost").is_empty() && !log.with("link resumed").is_empty());
}

#[test]
fn a_question_keeps_its_deadline_in_a_gap() {
    let pair = Pair::calm(|builder| builder);
    let [first, second] = &pair.nodes;
    serve(second);
    let (_, echo) = find(first, second);
    pair.cut_all(true);
    first.until("the loss", |now| now.links == 0);
    let error = first.run(move |_| async move {
        let (number, body) = (1, Bytes::new());
        let ask = echo.ask(Echo { number, body });
        ask.timeout(Duration::from_millis(50)).await.err()
    });
    assert!(matches!(error, Some(AskError::Timeout { .. })), "{error:?}");
    pair.cut_all(false);
    // Its late answer, or the error that says it was cancelled, comes and is counted.
    first.until("the answer", |now| now.dead_late_answer == 1);
    balanced(&pair.nodes);
}

#[test]
fn a_link_that_finds_no_connection_in_time_is_given_up_by_both_sides() {
    const RESUME_TIMEOUT: Duration = Duration::from_millis(300);
    let pair =
        Pair::calm(|builder| builder.settings(|settings| settings.resume_timeout = RESUME_TIMEOUT));
    let [first, second] = &pair.nodes;
    serve(second);
    let (sink, echo) = find(first, second);
    tell_into_the_gap(&pair, sink, 50);
    let asked = first.begin(move |_| async move {
        let (number, body) = (1, Bytes::new());
        echo.ask(Echo { number, body }).await.err()
    });
    let error = asked.finish();
    assert!(
        matches!(error, Some(AskError::Unreachable { .. })),
        "{error:?}"
    );
    let counters = first.counters();
    // The question too.
    assert_eq!((counters.dead_unsent, counters.in_flight), (51, 0));
    assert_closed(&counters);
    for node in &pair.nodes {
        node.until_so("the end of the link", |node| node.counters().links == 0);
    }
    pair.cut_all(false);
    // A new link, and nothing of the old one.
    let told = first.run(move |_| async move { sink.tell(record(60)).await });
    told.expect("the same process runs there");
    let seen = recall(first, sink);
    let books = balanced(&pair.nodes);
    assert_eq!(total(&books, |book| book.dead_unsent), 51);
    assert_eq!((seen.count, seen.highest), (1, 60));
}

#[test]
fn nothing_of_a_gap_reaches_the_next_start_of_the_peer() {
    let pair = Pair::calm(|builder| builder);
    serve(&pair.nodes[1]);
    let (sink, _) = find(&pair.nodes[0], &pair.nodes[1]);
    tell_into_the_gap(&pair, sink, 70);
    let Pair {
        nodes: [first, second],
        cutters,
    } = pair;
    second.stop();
    let second = behind(&cutters[1], |builder| builder);
    serve(&second);
    cutters.iter().for_each(|cutter| cutter.cut_all(false));
    let counters = first.until("the end of the old link", |now| now.in_flight == 0);
    assert_eq!((counters.dead_unsent, counters.dead_maybe), (70, 0));
    assert_closed(&counters);
    let refused = first.run(move |_| async move { sink.tell(record(71)).await });
    assert!(
        matches!(refused, Err(SendError::NotRunning(_))),
        "{refused:?}"
    );
    let (sink, _) = find(&first, &second);
    let told = first.run(move |_| async move { sink.tell(record(72)).await });
    told.expect("the new one runs");
    let seen = recall(&first, sink);
    assert_eq!((seen.count, seen.highest), (1, 72));
    assert_eq!(first.log().with("a peer was restarted").len(), 1);
}

#[test]
fn a_node_that_stops_in_a_gap_says_its_last_words_when_it_can() {
    for opens in [true, false] {
        let flush = Duration::from_millis(if opens { 10_000 } else { 100 });
        let pair =
            Pair::calm(|builder| builder.settings(|settings| settings.flush_timeout = flush));
        serve(&pair.nodes[1]);
        let (sink, _) = find(&pair.nodes[0], &pair.nodes[1]);
        let reader = pair.nodes[0].run(|node: Node| async move { node.metrics_reader() });
        tell_into_the_gap(&pair, sink, 40);
        if opens {
            pair.cut_all(false);
        }
        let Pair {
            nodes: [first, second],
            cutters: _cutters,
        } = pair;
        first.stop();
        let metrics = Engine::metrics(&reader);
        assert_closed_at_the_end(&metrics);
        let gone = if opens { 0 } else { 40 };
        assert_eq!(metrics.total.dead_sent, gone, "{metrics:?}");
        assert_eq!(account(&second).count, 40 - gone);
    }
}

#[test]
fn a_link_to_a_process_that_is_gone_ends_long_before_its_time() {
    let Pair {
        nodes: [first, second],
        cutters,
    } = Pair::calm(|builder| builder);
    serve(&second);
    let (sink, _) = find(&first, &second);
    // Nobody listens there any more, and nobody said goodbye.
    drop(cutters);
    first.until("the loss", |now| now.links == 0);
    first.run(move |_| async move {
        sink.try_tell(record(1)).expect("room in the window");
    });
    let begin = Instant::now();
    let counters = first.until("the end", |now| now.in_flight == 0);
    assert_eq!(counters.dead_unsent, 1);
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
}
