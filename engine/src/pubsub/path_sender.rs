//! Senders of single messages to whoever is under a path.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_cluster::pubsub::{Path as PathName, Policy, Whom};
use ringmesh_proto::message::Message;

use super::error::PathError;
use super::topic::number_of;
use crate::core::{Alarm, Core, InLine, PathOrder, Standing, Undelivered};
use crate::reference::Recipient;

/// What came of a message that was sent to all under a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentToAll {
    /// How many actors were told it.
    pub told: usize,
    /// How many were not, for want of room or because their nodes cannot be reached any more.
    pub lost: usize,
}

/// Sends to the actors under a path; from [`Node::path_sender`](crate::Node::path_sender). It stays
/// on its core.
///
/// Whom there is this core knows without asking anybody. Actors of nodes that cannot be reached, or
/// are joining or leaving, get nothing.
pub struct PathSender<M> {
    core: Rc<Core>,
    path: PathName,
    policy: Policy,
    is_local_preferred: bool,
    is_self_excluded: bool,
    role: Option<String>,
    timeout: Option<Duration>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> PathSender<M> {
    pub(crate) fn new(core: &Rc<Core>, path: PathName) -> Self {
        Self {
            core: Rc::clone(core),
            path,
            policy: Policy::default(),
            is_local_preferred: false,
            is_self_excluded: false,
            role: None,
            timeout: None,
            message: PhantomData,
        }
    }

    /// Sends one message to an actor of this node, on whatever core, as long as there is one.
    #[must_use]
    pub fn prefer_local(mut self) -> Self {
        self.is_local_preferred = true;
        self
    }

    /// Sends to all but those of this node.
    #[must_use]
    pub fn all_but_self(mut self) -> Self {
        self.is_self_excluded = true;
        self
    }

    /// Sends one message to each in turn, and not to any.
    #[must_use]
    pub fn in_turn(mut self) -> Self {
        self.policy = Policy::RoundRobin;
        self
    }

    /// For nodes with that role alone. Actors of this node get it in any case.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// How long a send waits for room: the `send_timeout` of the settings.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends a message to one of the actors, if there is one with room.
    ///
    /// # Errors
    /// [`PathError`]; it gives the message back.
    pub fn try_send(&self, message: M) -> Result<(), PathError<M>> {
        let sent = self
            .core
            .send_to_one(&self.order(self.one()), &message, None);
        sent.map_err(|why| PathError::new(why, message))
    }

    /// Sends a message to one of the actors; waits until one has room.
    ///
    /// # Errors
    /// [`PathError`]; [`PathError::Full`] says that the time is over.
    pub async fn send(&self, message: M) -> Result<(), PathError<M>> {
        let mut waits = Waits {
            line: InLine::default(),
            alarm: self.core.alarm(self.time()),
        };
        let sent = poll_fn(|context| waits.attempt(self, &message, context)).await;
        sent.map_err(|why| PathError::new(why, message))
    }

    /// Sends a message to all of the actors that have room. What the others lose is counted, in
    /// the answer too.
    ///
    /// # Errors
    /// [`PathError`], but never [`PathError::Full`].
    pub fn send_to_all_lossy(&self, message: M) -> Result<SentToAll, PathError<M>> {
        let mut sent = SentToAll::default();
        let order = self.order(self.all());
        let found = match self.core.find_by_path(&order) {
            Ok(found) => found,
            Err(why) => return Err(PathError::new(why, message)),
        };
        for actor in found {
            match self.core.tell_found(actor, &message, None) {
                Err(why @ Undelivered::TooLarge) => return Err(PathError::new(why, message)),
                told => sent.count(&self.core, told.is_ok()),
            }
        }
        Ok(sent)
    }

    /// The same, and waits for each that has no room, until the time of all is over.
    ///
    /// # Errors
    /// As [`send_to_all_lossy`](Self::send_to_all_lossy).
    pub async fn send_to_all(&self, message: M) -> Result<SentToAll, PathError<M>> {
        let mut sent = SentToAll::default();
        let order = self.order(self.all());
        let found = match self.core.find_by_path(&order) {
            Ok(found) => found,
            Err(why) => return Err(PathError::new(why, message)),
        };
        let mut waits = Waits {
            line: InLine::default(),
            alarm: self.core.alarm(self.time()),
        };
        for actor in found {
            let told = poll_fn(|context| waits.tell(&self.core, actor, &message, context));
            match told.await {
                Err(why @ Undelivered::TooLarge) => return Err(PathError::new(why, message)),
                told => sent.count(&self.core, told.is_ok()),
            }
            waits.line = InLine::default();
        }
        Ok(sent)
    }

    fn one(&self) -> Whom {
        Whom::One {
            policy: self.policy,
            is_local_preferred: self.is_local_preferred,
        }
    }

    fn all(&self) -> Whom {
        Whom::All {
            is_self_excluded: self.is_self_excluded,
        }
    }

    fn order(&self, whom: Whom) -> PathOrder<'_> {
        PathOrder {
            path: &self.path,
            protocol: number_of(&M::TYPE),
            whom,
            role: self.role.as_deref(),
        }
    }

    fn time(&self) -> Duration {
        let usual = || self.core.settings().send_timeout;
        self.timeout.unwrap_or_else(usual)
    }
}

impl SentToAll {
    fn count(&mut self, core: &Core, is_told: bool) {
        self.told += usize::from(is_told);
        self.lost += usize::from(!is_told);
        core.count_lost_by_path(!is_told);
    }
}

/// A send that waits for room.
struct Waits {
    line: InLine,
    alarm: Alarm,
}

impl Waits {
    /// To one of those under the path.
    fn attempt<M: Message>(
        &mut self,
        sender: &PathSender<M>,
        message: &M,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Undelivered>> {
        let core = &sender.core;
        self.wait(core, context, |place| {
            core.send_to_one(&sender.order(sender.one()), message, place)
        })
    }

    /// To that actor.
    fn tell<M: Message>(
        &mut self,
        core: &Rc<Core>,
        actor: Recipient,
        message: &M,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Undelivered>> {
        self.wait(core, context, |place| {
            core.tell_found(actor, message, place)
        })
    }

    fn wait(
        &mut self,
        core: &Rc<Core>,
        context: &mut Context<'_>,
        send: impl FnOnce(Standing<'_>) -> Result<(), Undelivered>,
    ) -> Poll<Result<(), Undelivered>> {
        if !core.take_turn_share() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let sent = send(self.line.standing());
        let Err(Undelivered::Full(Some(blocked))) = sent else {
            return Poll::Ready(sent);
        };
        if self.alarm.poll(context).is_ready() || !self.line.wait(core, blocked, context) {
            return Poll::Ready(sent);
        }
        Poll::Pending
    }
}

impl<M> fmt::Debug for PathSender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathSender")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
