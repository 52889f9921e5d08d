//! Publishers: they send to a topic from the core they are on.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_cluster::pubsub::{Audience, Outcome, Policy, Pressure, Publish, TopicName, Topics};
use ringmesh_proto::message::Message;

use super::error::{PublishError, WaitError};
use super::topic::number_of;
use crate::core::{
    Alarm, AnswerWait, Core, InLine, Order, Reach, Refused, RoomWait, Standing, Track,
};

/// Where a message went that was published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Subscribers on this core. Their queues may have lost it, as their policies say.
    pub here: usize,
    /// Other cores of this node that have subscribers.
    pub cores: usize,
    /// Other nodes that have subscribers.
    pub nodes: usize,
    /// Nodes and cores that it did not leave for, because there was no room on the way: of
    /// [`publish_lossy`](Publisher::publish_lossy) alone, unless memory is short.
    pub lost: usize,
}

impl Reached {
    /// Whether nobody listens: it is counted as
    /// [`published_to_nobody`](crate::Counters::published_to_nobody).
    pub fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Reach> for Reached {
    fn from(reach: Reach) -> Self {
        let Reach {
            here,
            cores,
            nodes,
            lost,
            ..
        } = reach;
        Self {
            here,
            cores,
            nodes,
            lost,
        }
    }
}

/// Publishes to a topic; from [`Node::publisher`](crate::Node::publisher). It stays on its core.
///
/// What one core publishes to a topic reaches each subscription in that order, whatever publisher
/// it came from.
pub struct Publisher<M> {
    core: Rc<Core>,
    topic: TopicName,
    publish: Publish,
    role: Option<String>,
    timeout: Option<Duration>,
    track: Track,
    message: std::marker::PhantomData<fn() -> M>,
}

impl<M: Message> Publisher<M> {
    pub(crate) fn new(core: &Rc<Core>, topic: TopicName) -> Self {
        Self {
            core: Rc::clone(core),
            topic,
            publish: Publish::default(),
            role: None,
            timeout: None,
            track: Track::default(),
            message: std::marker::PhantomData,
        }
    }

    /// For whom: all without a group and one member of each group, or only either of them.
    #[must_use]
    pub fn audience(mut self, audience: Audience) -> Self {
        self.publish.audience = audience;
        self
    }

    /// Which member of a group gets a message: random by default, or in turn, or one at each core.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.publish.policy = policy;
        self
    }

    /// For nodes with that role alone. Subscribers on this node get it in any case.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// How long [`publish`](Self::publish) waits for room: the `ask_timeout` of the settings.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Publishes a message if there is room on the way to all nodes with subscribers, and else to
    /// nobody.
    ///
    /// # Errors
    /// [`PublishError`]; it gives the message back.
    pub fn try_publish(&self, message: M) -> Result<Reached, PublishError<M>> {
        let published = self.attempt(&message, (Pressure::Refuse, None), None);
        let published = published.map(Reached::from);
        published.map_err(|refused| self.error(refused, message))
    }

    /// Publishes a message to the nodes to which there is room on the way. What the others lose is
    /// counted, in the answer too.
    ///
    /// # Errors
    /// [`PublishError`], but never [`PublishError::Full`].
    pub fn publish_lossy(&self, message: M) -> Result<Reached, PublishError<M>> {
        let published = self.attempt(&message, (Pressure::Lose, None), None);
        let published = published.map(Reached::from);
        published.map_err(|refused| self.error(refused, message))
    }

    /// Publishes a message when there is room on the way to all nodes with subscribers; waits for
    /// that, and for subscribers on this node that want to be [waited for](super::OnFull::Wait).
    ///
    /// # Errors
    /// [`PublishError`]; [`PublishError::Full`] says that the time is over.
    pub async fn publish(&self, message: M) -> Result<Reached, PublishError<M>> {
        let published = self.patiently(&message, None).await;
        let published = published.map(Reached::from);
        published.map_err(|refused| self.error(refused, message))
    }

    /// Publishes a message as [`publish`](Self::publish) does, and waits until all whom it went to
    /// have said how many subscribers have it in their queues: all of it for as long as that
    /// [waits](Self::timeout). The [`Outcome`] says whom it has reached, which nodes did not answer
    /// by then, and which cannot be reached any more; of both some may have it.
    ///
    /// Where nobody listens the outcome is [nobody](Outcome::is_dead_letter) at once, and counted
    /// as [`published_to_nobody`](crate::Counters::published_to_nobody). Nobody waits any more
    /// when this future drops; what was published stays so.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringmesh::prelude::*;
    /// use ringmesh::pubsub::Topic;
    ///
    /// #[message(id = "doc.Closed", v = 1)]
    /// #[derive(Debug)]
    /// struct Closed;
    /// const CLOSED: Topic<Closed> = Topic::new("market.closed");
    ///
    /// async fn close(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
    ///     let publisher = node.publisher(&CLOSED)?.timeout(Duration::from_secs(2));
    ///     let outcome = publisher.publish_acknowledged(Closed).await?;
    ///     println!("{} on {} nodes know", outcome.subscribers, outcome.nodes);
    ///     for node in outcome.missing {
    ///         println!("{node} has not answered");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`PublishError`]: nobody got it. [`PublishError::TooManyWait`] if as many wait as may.
    pub async fn publish_acknowledged(&self, message: M) -> Result<Outcome, PublishError<M>> {
        let time = self.time();
        let mut alarm = self.core.alarm(time);
        let reach = match self.patiently(&message, Some(time)).await {
            Ok(reach) => reach,
            Err(refused) => return Err(self.error(refused, message)),
        };
        Ok(match AnswerWait::new(&self.core, reach) {
            Some(answers) => answers.outcome(&mut alarm).await,
            None => Outcome::default(),
        })
    }

    fn time(&self) -> Duration {
        let usual = || self.core.settings().ask_timeout;
        self.timeout.unwrap_or_else(usual)
    }

    /// Publishes a message when there is room, to be answered within some time if that is said.
    async fn patiently(&self, message: &M, answers: Option<Duration>) -> Result<Reach, Refused> {
        let mut waits = Waits {
            line: InLine::default(),
            room: None,
            alarm: None,
            timeout: self.time(),
            answers,
        };
        let published = poll_fn(|context| {
            if !self.core.take_turn_share() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            waits.attempt(self, message, context)
        });
        published.await
    }

    /// How many subscribe to the topic, as far as this core knows: of all nodes that can be
    /// reached.
    pub fn subscribers(&self) -> u64 {
        let count = |it: &Topics| it.subscribers(self.topic.topic(), Some(number_of(&M::TYPE)));
        self.core.topics().as_deref().map_or(0, count)
    }

    /// Waits until [as many](Self::subscribers) subscribe to the topic, for so long at most. Says
    /// how many do.
    ///
    /// # Errors
    /// [`WaitError`].
    pub async fn wait_for_subscribers(
        &self,
        count: u64,
        timeout: Duration,
    ) -> Result<u64, WaitError> {
        let mut waiting = self.core.wait_for_topics();
        let mut alarm = self.core.alarm(timeout);
        let seat = self.core.stop_seat();
        poll_fn(|context| {
            let known = self.subscribers();
            if known >= count {
                return Poll::Ready(Ok(known));
            }
            if self.core.poll_stopping(&seat, context).is_ready() {
                return Poll::Ready(Err(WaitError::Stopping));
            }
            waiting.wake(context.waker());
            alarm
                .poll(context)
                .map(|()| Err(WaitError::TimedOut { known }))
        })
        .await
    }

    fn attempt(
        &self,
        message: &M,
        (pressure, answers): (Pressure, Option<Duration>),
        place: Standing<'_>,
    ) -> Result<Reach, Refused> {
        let order = Order {
            topic: self.topic.topic(),
            protocol: number_of(&M::TYPE),
            publish: Publish {
                pressure,
                ..self.publish
            },
            role: self.role.as_deref(),
            place,
            track: &self.track,
            answers,
        };
        self.core.publish(&order, message)
    }

    fn error(&self, refused: Refused, message: M) -> PublishError<M> {
        match refused {
            Refused::Full(nodes, _) => PublishError::Full { message, nodes },
            Refused::Waits(_) => PublishError::Full {
                message,
                nodes: vec![self.core.identity().uid],
            },
            Refused::TooLarge => PublishError::TooLarge { message },
            Refused::TooManyWait => PublishError::TooManyWait { message },
            Refused::Stopping => PublishError::Stopping { message },
        }
    }
}

/// A publish that waits for room.
struct Waits {
    line: InLine,
    /// A subscriber of this core that is waited for, and how long.
    room: Option<(RoomWait, Alarm)>,
    alarm: Option<Alarm>,
    timeout: Duration,
    answers: Option<Duration>,
}

impl Waits {
    fn attempt<M: Message>(
        &mut self,
        publisher: &Publisher<M>,
        message: &M,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reach, Refused>> {
        let core = &publisher.core;
        let place = self.line.standing();
        let refused = match publisher.attempt(message, (Pressure::Refuse, self.answers), place) {
            Ok(reach) => return Poll::Ready(Ok(reach)),
            Err(refused) => refused,
        };
        let alarm = self.alarm.get_or_insert_with(|| core.alarm(self.timeout));
        let is_over = alarm.poll(context).is_ready();
        match &refused {
            Refused::Full(_, Some(blocked)) if !is_over => {
                match self.line.wait(core, *blocked, context) {
                    true => Poll::Pending,
                    false => Poll::Ready(Err(refused)),
                }
            }
            Refused::Waits(subscriber) if !is_over => {
                if !self.room.as_ref().is_some_and(|it| it.0.is_at(subscriber)) {
                    let patience = core.alarm(subscriber.patience());
                    self.room = Some((RoomWait::at(subscriber), patience));
                }
                let Some((room, patience)) = &mut self.room else {
                    return Poll::Ready(Err(refused));
                };
                if patience.poll(context).is_ready() {
                    // It had its time: the others get the message without it.
                    let loses = (Pressure::Lose, self.answers);
                    let standing = self.line.standing();
                    return Poll::Ready(publisher.attempt(message, loses, standing));
                }
                room.wake(context.waker());
                Poll::Pending
            }
            _ => Poll::Ready(Err(refused)),
        }
    }
}

impl<M> fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}
