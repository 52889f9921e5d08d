//! What reconnects leave behind: nothing.

use std::time::Instant;

use bytes::Bytes;
use ringmesh::Ref;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::inspector::Inspection;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::procfs::Holdings;
use ringmesh_tests::live::serving::Serving;

use super::behind;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// Reconnects before the first look: by then every table is as large as it gets.
const FIRST: u64 = 50;

/// Live memory that may stay. A leak of 100 bytes for each reconnect would be more.
const SLACK_BYTES: u64 = 64 << 10;

/// Resident memory that may stay: allocators and page tables keep some, whatever was freed.
const SLACK_RESIDENT: u64 = 4 << 20;

#[test]
fn a_thousand_reconnects_leave_no_memory_and_no_descriptor() {
    reconnects_leave_nothing(1000);
}

#[test]
#[ignore = "takes a minute or two"]
fn ten_thousand_reconnects_leave_no_memory_and_no_descriptor() {
    reconnects_leave_nothing(10_000);
}

/// What both sides hold is back where it was: links, live memory, which slabs are part of, resident
/// memory, descriptors, and receive buffers, of which none was short.
fn reconnects_leave_nothing(reconnects: u64) {
    // One for the dials of each side: the one that did not dial does when the other is slow.
    let cutters = [0, 1].map(|_| Cutter::start(&Cuts::none()));
    let advertise = format!("node.advertise={}", cutters[0].address());
    let bind = cutters[0].behind().to_string();
    let serving = Serving::start(LIVE_NODE, &["--bind", &bind, "--set", &advertise]);
    let client = behind(&cutters[1], |builder| builder);
    let path = serving.path(ECHO);
    let echo: Ref<EchoApi> = client.run(move |node| async move {
        let echo = node.resolve(&path).await;
        echo.expect("it is there")
    });
    reconnect(&client, &cutters, echo, FIRST);
    let before = serving.inspect(&client, |_| true);
    let holdings = Holdings::of(serving.process.pid());
    let own = client.counters().resumed;
    reconnect(&client, &cutters, echo, reconnects);
    let resumed = client.counters().resumed - own;
    // Each answer comes over a connection that was made behind the cut before its question.
    assert!(resumed >= reconnects, "{resumed}");
    let begin = Instant::now();
    loop {
        let links = before.links;
        let is_back = move |seen: &Inspection| seen.links == links;
        let seen = serving.inspect(&client, is_back);
        assert_eq!(seen.frames_copied_pinned, 0, "its buffers came back");
        let held = Holdings::of(serving.process.pid());
        let now = [
            seen.live_bytes,
            held.resident_bytes,
            held.descriptors as u64,
        ];
        let bounds = [
            before.live_bytes + SLACK_BYTES,
            holdings.resident_bytes + SLACK_RESIDENT,
            holdings.descriptors as u64,
        ];
        if now.iter().zip(&bounds).all(|(now, bound)| now <= bound) {
            println!("{now:?} after {resumed} reconnects, within {bounds:?}");
            break;
        }
        assert!(begin.elapsed() < WAIT, "{now:?} is over {bounds:?}");
    }
    let counters = client.until("rest", |now| now.in_flight == 0);
    assert_closed(&counters);
    assert_eq!(counters.dead_sent + counters.dead_received, 0);
    assert_eq!((counters.links, counters.frames_copied_pinned), (1, 0));
}

/// Cuts the connection, and asks over the next, again and again.
fn reconnect(client: &LiveNode, cutters: &[Cutter], echo: Ref<EchoApi>, times: u64) {
    for number in 0..times {
        cutters.iter().for_each(|cutter| cutter.cut_all(false));
        client.run(move |_| async move {
            let body = Bytes::from_static(&[5; 100]);
            let answer = echo.ask(Echo { number, body }).await;
            assert_eq!(answer.expect("an answer").number.to_native(), number);
        });
    }
}
