//! Topics, as a node publishes and subscribes to them.

use super::topic::number_of;
use super::{NameError, Path, PathSender, Pattern, Publisher, PutError, Subscribe, Topic};
use crate::actor::Accepts;
use crate::core::{Interest, Put};
use crate::message::Message;
use crate::node::Node;
use crate::reference::Ref;
use crate::registry::RegisterError;
use ringmesh_cluster::registry::{Acknowledgement, Extent};

impl Node {
    /// Begins to subscribe to a topic on this core; [`begin`](Subscribe::begin) does.
    ///
    /// # Errors
    /// [`NameError`]: the name of the topic is none.
    pub fn subscribe<M: Message>(&self, topic: &Topic<M>) -> Result<Subscribe<M>, NameError> {
        // A name with a wildcard is none of a topic.
        topic.checked()?;
        Ok(self.subscribe_to(Pattern::new(topic.name())?))
    }

    /// The same to all topics whose names match a pattern, as far as their messages are `M`s.
    pub fn subscribe_to<M: Message>(&self, pattern: Pattern) -> Subscribe<M> {
        Subscribe::new(&self.core, pattern)
    }

    /// Ends what an actor of this core [subscribes](Subscribe::begin_for) to by that name, in
    /// whatever group. Says whether there was anything; what was told before comes all the same.
    pub fn unsubscribe<M: Message, P>(&self, topic: &Topic<M>, actor: &Ref<P>) -> bool {
        let is_it =
            |it: &Interest| matches!(it, Interest::Topics(of, _) if of.as_str() == topic.name());
        let protocol = number_of(&M::TYPE);
        self.core.leave_actor(actor.recipient, protocol, is_it)
    }

    /// The same of topics that it subscribes to by a pattern.
    pub fn unsubscribe_from<M: Message, P>(&self, pattern: &Pattern, actor: &Ref<P>) -> bool {
        let is_it = |it: &Interest| matches!(it, Interest::Topics(of, _) if of == pattern);
        let protocol = number_of(&M::TYPE);
        self.core.leave_actor(actor.recipient, protocol, is_it)
    }

    /// Publishes to a topic from this core.
    ///
    /// # Errors
    /// [`NameError`]: the name of the topic is none.
    pub fn publisher<M: Message>(&self, topic: &Topic<M>) -> Result<Publisher<M>, NameError> {
        Ok(Publisher::new(&self.core, topic.checked()?))
    }

    /// Puts an actor of this node, on whatever core, under a path: messages of that type that are
    /// [sent](PathSender) there, from anywhere, go to it or to others that are there. Other members
    /// find it within a batch (10 ms, or 100 ms with more than 32 members);
    /// [`put_everywhere`](Self::put_everywhere) waits for that. What is there already stays.
    ///
    /// It ends with the actor, when this node begins to leave, or by [`remove`](Self::remove).
    ///
    /// ```
    /// # use ringmesh::prelude::*;
    /// use ringmesh::pubsub::Path;
    /// # #[message(id = "doc.Order", v = 1)]
    /// # #[derive(Debug)]
    /// # struct Order { article: u64 }
    /// # protocol! { ClerkApi = "doc.clerk" { Order } }
    /// # struct Clerk;
    /// # impl Actor for Clerk { type Api = ClerkApi; }
    /// # impl Handler<Order> for Clerk {
    /// #     fn handle(&mut self, _: Msg<Order>, _: &mut Cx<'_, Self>) {}
    /// # }
    /// const ORDERS: Path<Order> = Path::new("shop/orders");
    ///
    /// async fn order(node: &Node) -> Result<(), Box<dyn std::error::Error>> {
    ///     let clerk = node.spawn(Clerk)?;
    ///     node.put(&ORDERS, &clerk).await?;
    ///     let orders = node.path_sender(&ORDERS)?.prefer_local();
    ///     orders.send(Order { article: 7 }).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put<M, P>(&self, path: &Path<M>, actor: &Ref<P>) -> Result<(), PutError>
    where
        M: Message,
        P: Accepts<M>,
    {
        let put = put_of(path, actor)?;
        self.core.put_actor(put, None).await?;
        Ok(())
    }

    /// The same, and waits until every core of every member that can be reached now finds it: 5 s
    /// at most. The answer says who did not say so by then; the actor is there all the same.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put_everywhere<M, P>(
        &self,
        path: &Path<M>,
        actor: &Ref<P>,
    ) -> Result<Acknowledgement, PutError>
    where
        M: Message,
        P: Accepts<M>,
    {
        let put = put_of(path, actor)?;
        let known = self.core.put_actor(put, Some(Extent::AllReachable)).await?;
        // It was asked for, so it is there.
        Ok(known.ok_or(RegisterError::Stopping)?)
    }

    /// Takes an actor of this node from a path. Says whether it was there.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn remove<M, P>(&self, path: &Path<M>, actor: &Ref<P>) -> Result<bool, PutError>
    where
        M: Message,
        P: Accepts<M>,
    {
        Ok(self.core.take_actor(put_of(path, actor)?).await?)
    }

    /// Sends to a path from this core.
    ///
    /// # Errors
    /// [`NameError`]: the name of the path is none.
    pub fn path_sender<M: Message>(&self, path: &Path<M>) -> Result<PathSender<M>, NameError> {
        Ok(PathSender::new(&self.core, path.checked()?))
    }

    /// The names of all topics and patterns that somebody subscribes to, on nodes that can be
    /// reached, as this core knows.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.core.topics();
        let names = topics.iter().flat_map(|it| it.names());
        names.map(str::to_owned).collect()
    }
}

/// An actor, and under what it is put.
fn put_of<M: Message, P>(path: &Path<M>, actor: &Ref<P>) -> Result<Put, PutError> {
    Ok(Put {
        actor: actor.recipient,
        path: path.checked()?,
        message: (M::TYPE, number_of(&M::TYPE)),
    })
}
