//! The life of actors on one node: who hears of an end, who ends with whom, and who begins anew.

mod causes;
mod ending;
mod failure;
mod family;
mod quiet;
mod stash;
mod storms;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_channel::oneshot;
use ringmesh::{
    Actor, ActorId, AsyncHandler, CoreId, Cx, Ended, Handler, LocalHandler, Msg, Node, Props, Ref,
    SendError, Supervision, Terminated, async_handler, message, protocol,
};
use ringmesh_tests::live::node::LiveNode;

use super::actors::gate::Gate;

/// What happened to the members of a test, in order.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<Entry>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Line(u64),
    /// A handler at a gate.
    Waits,
    /// A local message.
    Moved(u64),
    Ended(ActorId, Ended),
    Stopped(u64),
    Dropped(u64),
}

impl Diary {
    fn note(&self, entry: Entry) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(entry);
    }

    fn entries(&self) -> Vec<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.clone()
    }

    fn count(&self, is_one: impl Fn(&Entry) -> bool) -> usize {
        self.entries().iter().filter(|entry| is_one(entry)).count()
    }

    /// Waits until so many of these are in it.
    fn until(&self, node: &LiveNode, count: usize, is_one: fn(&Entry) -> bool) -> Vec<Entry> {
        let diary = self.clone();
        node.until_so("the entries of a diary", move |_| {
            diary.count(is_one) >= count
        });
        self.entries()
    }
}

/// A node of its own, with what its actors note and wait at.
struct Scene {
    node: LiveNode,
    diary: Diary,
    gate: Gate,
}

impl Scene {
    /// Does `job` on the node, with the diary and the gate, which is shut.
    fn play<F, Fut>(job: F) -> Self
    where
        F: FnOnce(Node, Diary, Gate) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let scene = Self {
            node: LiveNode::start(),
            diary: Diary::default(),
            gate: Gate::default(),
        };
        let (diary, gate) = (scene.diary.clone(), scene.gate.clone());
        scene.node.run(move |node| job(node, diary, gate));
        scene
    }
}

fn is_ended(entry: &Entry) -> bool {
    matches!(entry, Entry::Ended(..))
}

/// A line of a diary.
#[message(id = "tests.Line", v = 1)]
#[derive(Clone, Copy, Debug)]
struct Line {
    number: u64,
}

/// Has the handler of a [`Waiter`] wait at its gate.
#[message(id = "tests.AtTheGate", v = 1)]
#[derive(Clone, Copy, Debug)]
struct AtTheGate;

/// A line that moves.
#[message(local)]
struct Moved(u64);

type Deed = dyn FnOnce(&mut Member, &mut Cx<'_, Member>) + Send;

/// Something to do for a [`Member`].
#[message(local)]
struct Act(Box<Deed>);

impl Act {
    fn new(deed: impl FnOnce(&mut Member, &mut Cx<'_, Member>) + Send + 'static) -> Self {
        Self(Box::new(deed))
    }
}

protocol! { MemberApi = "tests.member" { Line, local Moved, local Act } }
protocol! { WaiterApi = "tests.waiter" { Line, AtTheGate, local Moved, local Watch, local Bear } }

/// Where a member panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fuse {
    #[default]
    Nowhere,
    /// At the end of another.
    End,
    Start,
    Stop,
    Drop,
}

impl Fuse {
    fn blow_at(self, place: Self) {
        assert!(self != place, "a member panics at its {place:?}");
    }
}

/// Does what it is told, and keeps a diary.
#[derive(Debug)]
struct Member {
    diary: Diary,
    number: u64,
    fuse: Fuse,
}

impl Member {
    fn new(diary: &Diary) -> Self {
        Self::numbered(diary, 0)
    }

    fn numbered(diary: &Diary, number: u64) -> Self {
        Self {
            diary: diary.clone(),
            number,
            fuse: Fuse::default(),
        }
    }
}

impl Actor for Member {
    type Api = MemberApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        if self.fuse == Fuse::Start {
            let child = Self::numbered(&self.diary, self.number + 1);
            cx.spawn(child).expect("room for a child");
        }
        self.fuse.blow_at(Fuse::Start);
    }

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Ended(who.id(), who.why()));
        self.fuse.blow_at(Fuse::End);
    }

    fn stopped(&mut self) {
        self.diary.note(Entry::Stopped(self.number));
        self.fuse.blow_at(Fuse::Stop);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.diary.note(Entry::Dropped(self.number));
        self.fuse.blow_at(Fuse::Drop);
    }
}

impl Handler<Line> for Member {
    fn handle(&mut self, line: Msg<Line>, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Line(line.number.to_native()));
    }
}

impl LocalHandler<Moved> for Member {
    fn handle(&mut self, Moved(number): Moved, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Moved(number));
    }
}

impl LocalHandler<Act> for Member {
    fn handle(&mut self, Act(deed): Act, cx: &mut Cx<'_, Self>) {
        deed(self, cx);
    }
}

/// Whom a [`Waiter`] watches.
#[message(local)]
struct Watch(Ref<MemberApi>, oneshot::Sender<()>);

/// Has a [`Waiter`] spawn a child.
#[message(local)]
struct Bear(oneshot::Sender<Ref<MemberApi>>);

/// Waits at a gate when it is told to, and keeps a diary.
struct Waiter {
    diary: Diary,
    gate: Gate,
}

impl Actor for Waiter {
    type Api = WaiterApi;

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Ended(who.id(), who.why()));
    }
}

impl Handler<Line> for Waiter {
    fn handle(&mut self, line: Msg<Line>, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Line(line.number.to_native()));
    }
}

#[async_handler]
impl AsyncHandler<AtTheGate> for Waiter {
    async fn handle(&mut self, _: Msg<AtTheGate>, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Waits);
        self.gate.pass().await;
    }
}

impl LocalHandler<Moved> for Waiter {
    fn handle(&mut self, Moved(number): Moved, _: &mut Cx<'_, Self>) {
        self.diary.note(Entry::Moved(number));
    }
}

impl LocalHandler<Watch> for Waiter {
    fn handle(&mut self, Watch(actor, done): Watch, cx: &mut Cx<'_, Self>) {
        cx.watch(&actor).expect("room for a watch");
        let _ = done.send(());
    }
}

impl LocalHandler<Bear> for Waiter {
    fn handle(&mut self, Bear(born): Bear, cx: &mut Cx<'_, Self>) {
        let child = Member::numbered(&self.diary, 1);
        let _ = born.send(cx.spawn(child).expect("room for a child"));
    }
}

/// A member on a core of the node.
async fn member_on(node: &Node, core: u16, diary: &Diary) -> Ref<MemberApi> {
    let diary = diary.clone();
    let spawned = node.spawn_on(CoreId(core), move || Member::new(&diary));
    spawned.await.expect("room for a member")
}

/// The same future, which has begun and is not done.
async fn begun<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending()));
    assert!(polled.await, "it waits for something");
    future
}

/// Has a member do something.
async fn act<F>(member: Ref<MemberApi>, deed: F)
where
    F: FnOnce(&mut Member, &mut Cx<'_, Member>) + Send + 'static,
{
    let told = member.tell_local(Act::new(deed)).await;
    told.map_err(SendError::into_message)
        .map_err(drop)
        .expect("the member is there");
}

/// The same, and waits until it is done.
async fn done<F, R>(member: Ref<MemberApi>, deed: F) -> R
where
    F: FnOnce(&mut Member, &mut Cx<'_, Member>) -> R + Send + 'static,
    R: Send + 'static,
{
    let (said, heard) = oneshot::channel();
    let deed = move |member: &mut Member, cx: &mut Cx<'_, Member>| {
        let _ = said.send(deed(member, cx));
    };
    act(member, deed).await;
    heard.await.expect("the member does it")
}
