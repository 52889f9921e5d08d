//! Death watch over nodes: actors of one hear of the ends of actors of another, and of its end.

mod loss;
mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use ringmesh::{
    Actor, ActorId, CoreId, Cx, Ended, Handler, LocalHandler, Msg, Node, Ref, SendError,
    Terminated, message, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, settled, total};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::LiveNode;

/// What happened to a fellow, in order.
#[derive(Clone, Debug, Default)]
struct Diary {
    entries: Arc<Mutex<Vec<Entry>>>,
    /// How many of them are about an end.
    ends: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Record(u64),
    Ended(ActorId, Ended),
}

impl Diary {
    fn note(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
        let is_end = matches!(entry, Entry::Ended(..));
        self.ends.fetch_add(usize::from(is_end), Ordering::Release);
    }

    fn entries(&self) -> Vec<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }

    /// Those that are about an end.
    fn ended(&self) -> Vec<(ActorId, Ended)> {
        let entries = self.entries();
        let ended = entries.iter().filter_map(|entry| match entry {
            Entry::Ended(who, why) => Some((*who, *why)),
            Entry::Record(_) => None,
        });
        ended.collect()
    }

    /// Waits for so many ends.
    fn until_ended(&self, node: &LiveNode, count: usize) -> Vec<(ActorId, Ended)> {
        let diary = self.clone();
        node.until_so("word of ends", move |_| {
            diary.ends.load(Ordering::Acquire) >= count
        });
        self.ended()
    }
}

type Deed = dyn FnOnce(&mut Fellow, &mut Cx<'_, Fellow>) + Send;

/// Something to do for a [`Fellow`].
#[message(local)]
struct Act(Box<Deed>);

protocol! { FellowApi = "tests.fellow" { Record, local Act } }

/// Does what it is told, and keeps a diary.
struct Fellow {
    diary: Diary,
}

impl Actor for Fellow {
    type Api = FellowApi;

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Ended(who.id(), who.why()));
    }
}

impl Handler<Record> for Fellow {
    fn handle(&mut self, record: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Record(record.number.to_native()));
    }
}

impl LocalHandler<Act> for Fellow {
    fn handle(&mut self, Act(deed): Act, cx: &mut Cx<'_, Self>) {
        deed(self, cx);
    }
}

fn record(number: u64, bytes: usize) -> Record {
    let body = Bytes::from(vec![7; bytes]);
    Record { number, body }
}

/// A fellow with a name on a core of the node.
fn fellow(at: &LiveNode, core: u16, name: &str, diary: &Diary) -> Ref<FellowApi> {
    let (diary, name) = (diary.clone(), name.to_owned());
    at.run(move |node| async move {
        let make = move || Fellow { diary };
        let spawned = node.spawn_named_on(CoreId(core), &name, make).await;
        spawned.expect("a free name, and room")
    })
}

/// A ref of a fellow of another node.
fn find(from: &LiveNode, path: String) -> Ref<FellowApi> {
    from.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

/// Has a fellow do something, and waits until it is done.
fn done<F, R>(node: &LiveNode, fellow: Ref<FellowApi>, deed: F) -> R
where
    F: FnOnce(&mut Fellow, &mut Cx<'_, Fellow>) -> R + Send + 'static,
    R: Send + 'static,
{
    node.run(move |_: Node| async move {
        let (said, heard) = oneshot::channel();
        let deed = move |fellow: &mut Fellow, cx: &mut Cx<'_, Fellow>| {
            drop(said.send(deed(fellow, cx)));
        };
        let told = fellow.tell_local(Act(Box::new(deed))).await;
        told.map_err(SendError::into_message)
            .map_err(drop)
            .expect("the fellow is there");
        heard.await.expect("the fellow does it")
    })
}

/// Entries of watches that the nodes hold, of whatever sort.
fn entries(nodes: &[&LiveNode]) -> u64 {
    let books = settled(nodes);
    books
        .iter()
        .map(|books| books.watches + books.watches_far)
        .sum()
}

/// Waits until none of the nodes holds any.
fn until_none(nodes: &[&LiveNode]) {
    until(nodes[0], "no entries", || entries(nodes) == 0);
}

/// Waits until so many watches of actors of the node are with their cores.
fn until_followed(node: &LiveNode, count: u64) {
    let followed = || total(&books_of(node), |books| books.watches);
    until(node, "watches from elsewhere", || followed() == count);
}

/// Waits for what several cores have to tell: they ring no bell.
fn until(node: &LiveNode, what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < WAIT, "waited in vain for {what}");
        node.run(|node| async move { node.sleep(Duration::from_millis(1)).await });
    }
}
