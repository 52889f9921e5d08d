//! Topics, as an actor subscribes to them in its handlers.

use ringmesh_proto::message::Message;

use super::{SubscribeError, Topic};
use crate::actor::{Accepts, Actor, Cx};

impl<A: Actor> Cx<'_, A> {
    /// Has the actor told what is published to a topic from now on, into its mailbox:
    /// [`Subscribe::begin_for`](crate::pubsub::Subscribe::begin_for) says more, and subscribes to
    /// patterns, in groups, and until others know.
    ///
    /// ```
    /// # use ringmesh::prelude::*;
    /// # use ringmesh::pubsub::Topic;
    /// #[message(id = "doc.Tick", v = 1)]
    /// struct Tick { price: i64 }
    /// protocol! { TickerApi = "doc.ticker" { Tick } }
    /// const TICKS: Topic<Tick> = Topic::new("market.ticks");
    ///
    /// struct Ticker(i64);
    /// impl Actor for Ticker {
    ///     type Api = TickerApi;
    ///     fn started(&mut self, cx: &mut Cx<'_, Self>) {
    ///         cx.subscribe(&TICKS).expect("there is room");
    ///     }
    /// }
    /// impl Handler<Tick> for Ticker {
    ///     fn handle(&mut self, tick: Msg<Tick>, _: &mut Cx<'_, Self>) {
    ///         self.0 = tick.price.to_native();
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe<M>(&self, topic: &Topic<M>) -> Result<(), SubscribeError>
    where
        M: Message,
        A::Api: Accepts<M>,
    {
        self.node().subscribe(topic)?.begin_for(&self.me())
    }

    /// Takes that back, in whatever group it is. Says whether there was anything; what was told
    /// before comes all the same.
    pub fn unsubscribe<M: Message>(&self, topic: &Topic<M>) -> bool {
        self.node().unsubscribe(topic, &self.me())
    }
}
