//! What is found by a key, and how it changes.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringmesh_cluster::registry::{EntryId, Snapshot, Standing};
use ringmesh_proto::address::Uid;

use super::ServiceKey;
use crate::actor::Protocol;
use crate::core::{Core, Listening};
use crate::reference::Ref;

/// How long whoever looks waits for what others have announced, on a node that has just joined.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(5);

/// The actors that are found by a key, at some moment. Those of this node come first.
pub struct Listing<P> {
    services: Vec<Ref<P>>,
    here: usize,
    unreachable: Vec<Ref<P>>,
    is_settled: bool,
    were_added_or_removed: bool,
}

impl<P> Listing<P> {
    /// Those on this node, and on members that can be reached.
    pub fn services(&self) -> &[Ref<P>] {
        &self.services
    }

    /// Those of them that are on this node.
    pub fn here(&self) -> &[Ref<P>] {
        &self.services[..self.here]
    }

    /// Those of them that are on other nodes.
    pub fn remote(&self) -> &[Ref<P>] {
        &self.services[self.here..]
    }

    /// Those on members that cannot be reached just now.
    pub fn unreachable(&self) -> &[Ref<P>] {
        &self.unreachable
    }

    /// Whether some came or went since the last listing of the same [`Listings`]: else all that
    /// changed is which of them can be reached. `true` of the first.
    pub fn were_added_or_removed(&self) -> bool {
        self.were_added_or_removed
    }

    /// Whether this node has heard of all that the members it can reach announce, or has waited
    /// long enough for that. Before it may still be about to learn of some.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }
}

impl<P: Protocol> fmt::Debug for Listing<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing")
            .field("services", &self.services)
            .field("unreachable", &self.unreachable)
            .finish_non_exhaustive()
    }
}

/// What tells entries apart: whose it is, its number, and whether it can be reached.
type Shown = (Uid, EntryId, bool);

/// A subscription to what is found by a key: what there is now, and then whenever that changes. It
/// holds nothing but the last state, so whoever is slow misses only what is over.
pub struct Listings<P> {
    listening: Listening,
    /// What the last listing showed, in order; `None` before the first.
    shown: Option<Vec<Shown>>,
    was_settled: bool,
    key: ServiceKey<P>,
}

impl<P: Protocol> Listings<P> {
    pub(crate) fn new(core: &Rc<Core>, key: &ServiceKey<P>) -> Self {
        Self {
            listening: Listening::new(core, key.entry_key()),
            shown: None,
            was_settled: false,
            key: key.clone(),
        }
    }

    /// The key.
    pub fn key(&self) -> &ServiceKey<P> {
        &self.key
    }

    /// The first listing at once, and then the next one when something has changed; waits for it.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Listing<P> {
        poll_fn(|context| {
            while let Some(snapshot) = self.listening.poll(context.waker()) {
                if let Some(listing) = self.show(&snapshot) {
                    return Poll::Ready(listing);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// The next listing, if there is one now.
    pub fn try_next(&mut self) -> Option<Listing<P>> {
        let snapshot = self.listening.take()?;
        self.show(&snapshot)
    }

    /// The listing of a snapshot, unless it shows what the last one did.
    fn show(&mut self, snapshot: &Snapshot) -> Option<Listing<P>> {
        let found = snapshot.find_all(self.listening.key());
        let mut shown: Vec<Shown> = found
            .map(|(listing, entry)| {
                let is_reachable = listing.standing() == Standing::Reachable;
                (listing.owner().uid, entry.id, is_reachable)
            })
            .collect();
        shown.sort_unstable();
        let is_news = snapshot.is_settled() != self.was_settled;
        if self.shown.as_ref() == Some(&shown) && !is_news {
            return None;
        }
        self.was_settled = snapshot.is_settled();
        let mut listing = list(self.listening.core(), snapshot, &self.listening);
        let ids = |shown: &[Shown]| shown.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
        let before = self.shown.replace(shown);
        let now = self.shown.as_deref().map(ids);
        listing.were_added_or_removed = before.as_deref().map(ids) != now;
        Some(listing)
    }
}

impl<P> fmt::Debug for Listings<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listings").finish_non_exhaustive()
    }
}

/// What is found now, as soon as this node has heard of what the others announce.
pub(crate) async fn find<P: Protocol>(core: &Rc<Core>, key: &ServiceKey<P>) -> Listing<P> {
    let listening = Listening::new(core, key.entry_key());
    let mut patience = core.alarm(SETTLE_WAIT);
    let snapshot = poll_fn(|context| {
        while let Some(snapshot) = listening.poll(context.waker()) {
            if snapshot.is_settled() {
                return Poll::Ready(snapshot);
            }
        }
        patience.poll(context).map(|()| core.registry_snapshot())
    });
    let snapshot = snapshot.await;
    list(core, &snapshot, &listening)
}

fn list<P: Protocol>(core: &Rc<Core>, snapshot: &Snapshot, listening: &Listening) -> Listing<P> {
    let own = core.identity().uid;
    let (mut here, mut elsewhere, mut unreachable) = (Vec::new(), Vec::new(), Vec::new());
    for (listing, entry) in snapshot.find_all(listening.key()) {
        let (owner, place) = (listing.owner(), entry.place);
        let home = core.home_of(&owner.address, owner.uid, place.core);
        let target = place.target;
        let found = Ref::new(owner.uid, home, place.core, target.slot, target.generation);
        match listing.standing() {
            Standing::Reachable if owner.uid == own => here.push(found),
            Standing::Reachable => elsewhere.push(found),
            _ => unreachable.push(found),
        }
    }
    let count = here.len();
    here.append(&mut elsewhere);
    Listing {
        services: here,
        here: count,
        unreachable,
        is_settled: snapshot.is_settled(),
        were_added_or_removed: true,
    }
}
