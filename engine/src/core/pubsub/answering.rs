//! Publishes that are to say whom they have reached, and the answers to those of others.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmesh_cluster::pubsub::{AnswerTo, Came, Outcome, Policy, Publishing, Reached};
use ringmesh_cluster::registry::Standing;
use ringmesh_proto::address::Uid;
use ringmesh_proto::message::Message as _;
use ringmesh_proto::time::Instant;
use rustc_hash::FxHashMap;

use super::super::{Alarm, Core};
use super::publishing::Reach;
use crate::pubsub::mediator::{self, Answered, Parts};

/// The publishes of a core that wait for answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    publishing: RefCell<Publishing>,
    /// Who waits, by the number of the publish.
    wakers: RefCell<FxHashMap<u64, Waker>>,
}

impl Answers {
    /// A number for a publish that is to be answered; `None` if too many are.
    pub(super) fn reserve(&self) -> Option<u64> {
        self.publishing.borrow_mut().reserve().ok()
    }

    /// The publish with that number has left for nodes, not for all of which there was room. This
    /// core answers when it has offered it to its own subscribers.
    pub(super) fn begin(
        &self,
        publish: (u64, Policy),
        deadline: Instant,
        own: Uid,
        nodes: &[(Uid, bool)],
    ) {
        let mut publishing = self.publishing.borrow_mut();
        publishing.begin(publish, deadline, own, nodes.iter().map(|it| it.0));
        let unsent = nodes.iter().filter(|it| !it.1);
        unsent.for_each(|it| publishing.handle_unsent(publish.0, it.0));
    }

    /// Answers that nobody waited for.
    pub(super) fn unwanted(&self) -> u64 {
        self.publishing.borrow().unwanted()
    }

    /// Some nodes may be there no more. Whom to wake.
    pub(super) fn retain_nodes(&self, is_there: impl Fn(Uid) -> bool, woken: &mut Vec<Waker>) {
        let mut publishing = self.publishing.borrow_mut();
        if publishing.is_empty() {
            return;
        }
        let mut wakers = self.wakers.borrow_mut();
        publishing.retain_nodes(is_there, |number| woken.extend(wakers.remove(&number)));
    }
}

/// A publish of this core that waits for answers. It does not once this drops.
pub(crate) struct AnswerWait {
    core: Rc<Core>,
    number: u64,
}

impl AnswerWait {
    /// For the publish that went there; `None` if nobody was to answer it.
    pub(crate) fn new(core: &Rc<Core>, reach: Reach) -> Option<Self> {
        let core = Rc::clone(core);
        reach.answer.map(|number| Self { core, number })
    }

    /// What came of it, when all have answered or the alarm rings.
    pub(crate) async fn outcome(self, alarm: &mut Alarm) -> Outcome {
        poll_fn(|context| self.poll(alarm, context)).await;
        let ended = self.answers().publishing.borrow_mut().end(self.number);
        ended.unwrap_or_default()
    }

    fn poll(&self, alarm: &mut Alarm, context: &mut Context<'_>) -> Poll<()> {
        if self.answers().publishing.borrow().is_over(self.number) || alarm.poll(context).is_ready()
        {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let former = { self.answers().wakers.borrow_mut() }.insert(self.number, waker);
        self.core.release(former);
        Poll::Pending
    }

    fn answers(&self) -> &Answers {
        &self.core.pubsub.answers
    }
}

impl Drop for AnswerWait {
    fn drop(&mut self) {
        let ended = self.answers().publishing.borrow_mut().end(self.number);
        drop(ended);
        let former = { self.answers().wakers.borrow_mut() }.remove(&self.number);
        self.core.release(former);
    }
}

impl Core {
    /// Says what a publish has reached here.
    pub(super) fn answer_published(self: &Rc<Self>, to: AnswerTo, reached: Reached) {
        let bytes = reached.to_bytes();
        let parts = Parts {
            head: &bytes,
            archive: &[],
        };
        let way = self.way_to(to.node, to.core).map(mediator::hearer_beside);
        let is_sent = way.is_some_and(|way| self.send_parts(&way, &Answered::TYPE, &parts, None));
        self.tally.publish_answers_lost.add(u64::from(!is_sent));
    }

    /// A core of a node says what a publish of this one has reached there.
    pub(crate) fn hear_reached(&self, from: Uid, bytes: &[u8]) {
        let Ok(reached) = Reached::parse(bytes) else {
            return self.tally.published_malformed.add(1);
        };
        self.note_reached(from, &reached);
    }

    /// So many subscribers of this core have a publish of it, and so many other cores of this node
    /// were given it.
    pub(super) fn note_reached_here(&self, publish: u64, taken: usize, cores: usize) {
        let reached = Reached {
            publish,
            // There are never as many cores, or as many subscribers on one.
            came: Came::Sent {
                cores: u16::try_from(cores).unwrap_or(u16::MAX),
            },
            sent_on: 0,
            subscribers: u32::try_from(taken).unwrap_or(u32::MAX),
        };
        self.note_reached(self.identity().uid, &reached);
    }

    fn note_reached(&self, from: Uid, reached: &Reached) {
        let answers = &self.pubsub.answers;
        let is_over = { answers.publishing.borrow_mut() }.handle_reached(from, reached);
        if is_over {
            let waker = { answers.wakers.borrow_mut() }.remove(&reached.publish);
            waker.into_iter().for_each(|it| self.wake(it));
        }
    }

    /// Whether answers of a node may still come.
    pub(super) fn may_answer(&self, node: Uid) -> bool {
        let snapshot = self.registry_snapshot();
        let standing = snapshot.listing(node).map(|it| it.standing());
        self.is_own_start(node) || standing.is_some_and(|it| it != Standing::Unreachable)
    }
}
