//! Cuts at random bytes, under load in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_channel::oneshot;
use ringmesh::{Node, Ref};
use ringmesh_tests::live::cutter::Cuts;
use ringmesh_tests::live::messages::{
    Account, Echo, EchoApi, Echoer, Recall, Record, Sink, SinkApi,
};
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::seed;

use super::{Pair, settled, total};

/// Cuts of one run.
const CUTS: u64 = 100;

/// A connection carries at most this much before it is cut.
const BYTES_MAX: u64 = 120_000;

/// Has each core keep a sink for every core of its peer, and an echo.
pub(crate) fn serve(node: &LiveNode) {
    node.run(move |node| async move {
        for core in node.cores() {
            for from in node.cores() {
                let name = format!("sink{}from{}", core.0, from.0);
                let sink = node.spawn_named_on(core, &name, Sink::default).await;
                sink.expect("a free name");
            }
            let name = format!("echo{}", core.0);
            let echo = node.spawn_named_on(core, &name, Echoer::default).await;
            echo.expect("a free name");
        }
    });
}

/// Every core of `from` tells and asks every core of `to`, until it is `enough`.
pub(crate) fn talk(from: &LiveNode, to: &LiveNode, enough: &Arc<AtomicBool>) -> Pending<u64> {
    let address = to.address().to_string();
    let enough = Arc::clone(enough);
    from.begin(move |node| async move {
        let mut talking = Vec::new();
        for core in node.cores() {
            let (address, enough) = (address.clone(), Arc::clone(&enough));
            let (said, heard) = oneshot::channel();
            let task = move |there: Node| async move {
                let said_all = talk_to_all(&there, &address, &enough).await;
                said.send(said_all).expect("somebody waits");
            };
            node.spawn_task_on(core, task).await.expect("room");
            talking.push(heard);
        }
        let mut records = 0;
        for talk in talking {
            records += talk.await.expect("the task ends");
        }
        records
    })
}

struct Talk {
    sink: Ref<SinkApi>,
    echo: Ref<EchoApi>,
    said: Account,
}

async fn talk_to_all(there: &Node, address: &str, enough: &AtomicBool) -> u64 {
    let me = there.core().0;
    let path = |name: String| format!("{address}/user/{name}");
    let mut talks = Vec::new();
    for to in there.cores() {
        let to = to.0;
        let sink = there.resolve(&path(format!("sink{to}from{me}"))).await;
        let echo = there.resolve(&path(format!("echo{to}"))).await;
        talks.push(Talk {
            sink: sink.expect("it is there"),
            echo: echo.expect("it is there"),
            said: Account::default(),
        });
    }
    let mut number = 0;
    while !enough.load(Ordering::SeqCst) || number < 100 {
        number += 1;
        for talk in &mut talks {
            talk.go_on(number).await;
        }
    }
    for talk in &talks {
        // The question comes behind them, on the same way.
        let seen = talk.sink.ask(Recall).await.expect("it runs").deserialize();
        assert_eq!(seen, talk.said, "from {me}");
    }
    number * talks.len() as u64
}

impl Talk {
    async fn go_on(&mut self, number: u64) {
        let body = Bytes::from(vec![number as u8; (number as usize * 37) % 3000]);
        self.said.note_record(number, &body);
        let told = self.sink.tell(Record { number, body }).await;
        told.expect("it runs");
        if number.is_multiple_of(20) {
            let body = Bytes::from(vec![8; 2000]);
            let answer = self.echo.ask(Echo { number, body }).await;
            let answer = answer.expect("an answer, once");
            assert_eq!(answer.number.to_native(), number);
        }
    }
}

fn nothing_is_lost(cores: usize, links_max: usize) {
    let cuts = Cuts::plan(seed::generator(), CUTS, BYTES_MAX);
    let pair = Pair::start(&cuts, |builder| {
        builder.cores(cores).settings(|settings| {
            settings.links_per_association_max = links_max;
        })
    });
    let [first, second] = &pair.nodes;
    pair.nodes.iter().for_each(serve);
    let enough = Arc::new(AtomicBool::new(false));
    let talks = [talk(first, second, &enough), talk(second, first, &enough)];
    cuts.wait_for(CUTS);
    enough.store(true, Ordering::SeqCst);
    let records: u64 = talks.into_iter().map(Pending::finish).sum();
    let books = settled(&pair.nodes);
    let (cuts, lossy) = cuts.made();
    let resumed = total(&books, |book| book.resumed);
    println!("{records} records, {cuts} cuts ({lossy} with bytes), {resumed} resumed");
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
    assert_eq!(
        total(&books, |book| book.replies_dropped + book.dropped_unread),
        0
    );
    assert!(resumed > 0 && lossy > 0);
}

#[test]
fn a_hundred_cuts_lose_repeat_and_reorder_nothing() {
    nothing_is_lost(1, 64);
}

#[test]
fn cuts_between_many_cores_lose_repeat_and_reorder_nothing() {
    nothing_is_lost(3, 64);
}

#[test]
fn cuts_of_shared_links_lose_repeat_and_reorder_nothing() {
    nothing_is_lost(3, 1);
}
