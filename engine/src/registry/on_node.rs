//! Services, as a node announces and finds them.

use super::{Acknowledgement, Listing, Listings, RegisterError, ServiceKey};
use crate::actor::Protocol;
use crate::core::Service;
use crate::node::Node;
use crate::reference::Ref;

impl Node {
    /// Announces an actor of this node, on whatever core, as one that serves `key`: to this node
    /// and to all members of its cluster, which find it within a batch (10 ms, or 100 ms with more
    /// than 32 members). [`register_everywhere`](Self::register_everywhere) waits for that. What
    /// is announced already stays as it is.
    ///
    /// It ends with the actor, when this node begins to leave, or by [`deregister`].
    ///
    /// [`deregister`]: Self::deregister
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register<P: Protocol>(
        &self,
        key: &ServiceKey<P>,
        actor: &Ref<P>,
    ) -> Result<(), RegisterError> {
        let announced = self.core.announce(service(key, actor), false);
        announced.await.map(drop)
    }

    /// The same, and waits until every core of every member that can be reached now finds it: 5 s
    /// at most. The answer says who did not say so by then, and who was lost meanwhile; the actor
    /// is announced all the same.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn register_everywhere<P: Protocol>(
        &self,
        key: &ServiceKey<P>,
        actor: &Ref<P>,
    ) -> Result<Acknowledgement, RegisterError> {
        let announced = self.core.announce(service(key, actor), true).await?;
        // It was asked for, so it is there.
        announced.ok_or(RegisterError::Stopping)
    }

    /// Takes back that an actor of this node serves `key`. Says whether it was announced.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn deregister<P: Protocol>(
        &self,
        key: &ServiceKey<P>,
        actor: &Ref<P>,
    ) -> Result<bool, RegisterError> {
        self.core.take_back(service(key, actor)).await
    }

    /// The actors that serve `key`, as this core knows: without asking anybody. On a node that has
    /// just joined, or is about to, it waits for what the others announce, 5 s at most.
    pub async fn find<P: Protocol>(&self, key: &ServiceKey<P>) -> Listing<P> {
        super::listing::find(&self.core, key).await
    }

    /// Subscribes to which actors serve `key`.
    pub fn listings<P: Protocol>(&self, key: &ServiceKey<P>) -> Listings<P> {
        Listings::new(&self.core, key)
    }
}

fn service<P: Protocol>(key: &ServiceKey<P>, actor: &Ref<P>) -> Service {
    Service {
        key: key.entry_key(),
        actor: actor.recipient,
    }
}
