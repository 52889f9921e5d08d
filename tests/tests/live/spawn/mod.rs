//! Actors that are spawned elsewhere: by whom, where, and how long they live.

mod far;
mod finish;
mod here;
mod refused;
mod ties;
mod versions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::{
    Actor, ActorId, Cx, Deploy, Ended, LocalHandler, Props, Ref, SendError, SpawnAtError,
    Spawnable, Supervision, Terminated, message, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, total};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::{Lesson, Pupil, PupilApi};

type Deed = dyn FnOnce(&mut Teacher, &mut Cx<'_, Teacher>) + Send;

/// Something to do for a [`Teacher`].
#[message(local)]
struct Act(Box<Deed>);

protocol! { TeacherApi = "tests.teacher" { local Act } }

/// A parent that does what it is told, and notes what it hears of ends, for all its states.
#[derive(Clone, Debug, Default)]
struct Teacher {
    heard: Arc<Mutex<Vec<(ActorId, Ended)>>>,
}

impl Teacher {
    fn heard(&self) -> Vec<(ActorId, Ended)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

impl Actor for Teacher {
    type Api = TeacherApi;

    fn terminated(&mut self, who: Terminated, _: &mut Cx<'_, Self>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push((who.id(), who.why()));
    }
}

impl LocalHandler<Act> for Teacher {
    fn handle(&mut self, Act(deed): Act, cx: &mut Cx<'_, Self>) {
        deed(self, cx);
    }
}

/// A node with a factory of pupils.
fn school(cores: usize) -> LiveNode {
    LiveNode::start_with(|builder| builder.cores(cores).spawnable::<Pupil>())
}

/// A teacher under the name `boss`, with its notes.
fn boss(at: &LiveNode, supervision: Supervision) -> (Ref<TeacherApi>, Teacher) {
    let teacher = Teacher::default();
    let state = teacher.clone();
    let boss = at.run(move |node| async move {
        let props = Props::new(move || state.clone()).named("boss");
        node.spawn_props(props.supervised(supervision))
    });
    (boss.expect("a free name"), teacher)
}

/// Has a teacher do something, and waits until it is done.
fn done<F, R>(node: &LiveNode, boss: Ref<TeacherApi>, deed: F) -> R
where
    F: FnOnce(&mut Teacher, &mut Cx<'_, Teacher>) -> R + Send + 'static,
    R: Send + 'static,
{
    node.run(move |_| async move {
        let (said, heard) = oneshot::channel();
        let deed = move |teacher: &mut Teacher, cx: &mut Cx<'_, Teacher>| {
            drop(said.send(deed(teacher, cx)));
        };
        let told = boss.tell_local(Act(Box::new(deed))).await;
        told.map_err(SendError::into_message)
            .map_err(drop)
            .expect("the teacher is there");
        heard.await.expect("the teacher does it")
    })
}

/// Has a teacher spawn a child.
fn hire<W: Spawnable<Args: Send>>(
    node: &LiveNode,
    boss: Ref<TeacherApi>,
    deploy: Deploy<W>,
) -> Result<Ref<W::Api>, SpawnAtError> {
    let answer = done(node, boss, |_, cx| {
        let (said, heard) = oneshot::channel();
        let spawning = cx.spawn_at(deploy);
        let task = async move { drop(said.send(spawning.await)) };
        cx.node().spawn_task(task).expect("room");
        heard
    });
    node.run(|_| async move { answer.await.expect("it comes to an end") })
}

/// The same without a parent.
fn spawn(node: &LiveNode, deploy: Deploy<Pupil>) -> Result<Ref<PupilApi>, SpawnAtError> {
    node.run(|node| async move { node.spawn_at(deploy).await })
}

/// What a pupil answers; its text, and how many lessons it has had.
fn lesson(node: &LiveNode, pupil: Ref<PupilApi>, what: &str) -> (String, u64) {
    let what = what.to_owned();
    node.run(move |_| async move {
        let learnt = pupil.ask(Lesson { what }).await.expect("an answer");
        (learnt.text.to_string(), learnt.lessons.to_native())
    })
}

/// Tells a pupil what to do.
fn tell(node: &LiveNode, pupil: Ref<PupilApi>, what: &str) {
    let what = what.to_owned();
    let told = node.run(move |_| async move { pupil.tell(Lesson { what }).await.is_ok() });
    assert!(told, "there is room");
}

/// Actors of all cores, and entries of watches.
fn holdings(node: &LiveNode) -> (u64, u64) {
    let books = books_of(node);
    let watches = |books: &ringmesh::Counters| books.watches + books.watches_far;
    (total(&books, |it| it.actors), total(&books, watches))
}

/// Waits until a node holds that again.
fn until_holds(node: &LiveNode, before: (u64, u64)) {
    until_so(node, "what it held", || holdings(node) == before);
}

/// Waits until a count of all cores is that.
fn until_total(node: &LiveNode, count: fn(&ringmesh::Counters) -> u64, wanted: u64) {
    let is_so = || total(&books_of(node), count) == wanted;
    until_so(node, &format!("a count of {wanted}"), is_so);
}

/// Waits for what rings no bell, as counters of several cores.
fn until_so(node: &LiveNode, what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        let now = holdings(node);
        assert!(begin.elapsed() < WAIT, "waited in vain for {what}: {now:?}");
        node.run(|node| async move { node.sleep(Duration::from_millis(1)).await });
    }
}
