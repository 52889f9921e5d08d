//! Sends that wait for room at one peer get it in turn, whatever else is sent there.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{Ref, SendError};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::{LiveNode, Pending};

/// How long one send may wait for its turn, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// A task that fills the link to a sink without a pause.
struct Stream {
    enough: Arc<AtomicBool>,
    sent: Pending<u64>,
}

impl Stream {
    fn start(from: &LiveNode, to: Ref<SinkApi>) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let sent = from.begin(move |_| async move {
            let mut number = 0;
            while !is_enough.load(Ordering::Relaxed) {
                number += 1;
                match to.try_tell(record(number, 40)) {
                    Err(SendError::Full(record)) => to.tell(record).await.expect("its turn comes"),
                    sent => sent.expect("the sink takes it"),
                }
            }
            number
        });
        // From here on the stream finds no room by itself.
        from.until("a full link", |now| now.acknowledged > 10_000);
        Self { enough, sent }
    }

    fn stop(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        self.sent.finish()
    }
}

fn pair() -> (LiveNode, LiveNode, Ref<SinkApi>, Ref<EchoApi>) {
    let server = LiveNode::start_serving();
    let client = LiveNode::start();
    let (sink, echo) = (server.path(SINK), server.path(ECHO));
    let (sink, echo) = client.run(|node| async move {
        let sink = node.resolve(&sink).await.expect("the sink is there");
        (sink, node.resolve(&echo).await.expect("the echo is there"))
    });
    (server, client, sink, echo)
}

#[test]
fn questions_get_their_turn_beside_a_stream() {
    let (_server, client, sink, echo) = pair();
    let stream = Stream::start(&client, sink);
    client.run(move |_| async move {
        for number in 0..50 {
            let question = Echo {
                number,
                body: Bytes::from_static(b"beside a stream"),
            };
            let answer = echo
                .ask(question)
                .timeout(PATIENCE)
                .await
                .expect("its turn comes");
            assert_eq!(answer.number, number);
        }
    });
    assert!(stream.stop() > 10_000);
}

#[test]
fn a_large_message_gets_its_room_beside_small_ones() {
    let (server, client, sink, _) = pair();
    let stream = Stream::start(&client, sink);
    client.run(move |_| async move {
        for number in 0..20 {
            let large = record(number, 200_000);
            sink.tell(large)
                .timeout(PATIENCE)
                .await
                .expect("its turn comes");
        }
    });
    let small = stream.stop();
    client.until("quiet", |now| now.in_flight == 0);
    let seen = ringmesh_tests::live::watched::account(&server);
    assert_eq!(seen.count, small + 20);
}

#[test]
fn a_send_that_nobody_polls_holds_up_nobody() {
    let (_server, client, sink, _) = pair();
    let stream = Stream::start(&client, sink);
    client.run(move |node| async move {
        // Polled until it waits, then kept like one branch of a select that goes on with another.
        let mut kept = pin!(sink.tell(record(0, 200_000)).timeout(PATIENCE));
        while kept
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
        {
            kept.set(sink.tell(record(0, 200_000)).timeout(PATIENCE));
        }
        for number in 0..50 {
            let message = record(number, 100);
            sink.tell(message)
                .timeout(PATIENCE)
                .await
                .expect("its turn comes");
            node.sleep(Duration::from_millis(1)).await;
        }
        let polled = kept.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(!matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
    });
    assert!(stream.stop() > 10_000);
}

fn record(number: u64, body_bytes: usize) -> Record {
    Record {
        number,
        body: vec![0x2d; body_bytes].into(),
    }
}
