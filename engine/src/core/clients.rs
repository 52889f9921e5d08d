//! What clients reach: the actors that are registered for them, and nothing else of the node.
//!
//! The table is the node's. A core looks at its own copy, and gets another when the edition of the
//! table is not that of its copy any more: so a message of a client takes no lock where its
//! recipient is looked up. Recipients that were found are remembered with the link; a link of a
//! client forgets them, before anything more of it is read, when there is another edition. Links of
//! nodes know nothing of all this.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringmesh_proto::address::CoreId;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::handshake::Introduction;
use ringmesh_proto::limits::CLIENT_ACTORS_MAX;
use ringmesh_proto::preface::Role;
use rustc_hash::FxHashSet;

use super::link::Link;
use super::{Core, Errand, NodeIndex};
use crate::client::ClientAccessError;
use crate::directory::{self, Selected, Verdict};
use crate::reference::Recipient;

/// The actors that clients reach, by what no other actor of the process has: their generations.
type Generations = FxHashSet<u64>;

/// The actors of a node that are registered for clients.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    /// Shared with the copies of the cores, which do not change.
    table: Mutex<Arc<Generations>>,
    /// How often the table has changed.
    edition: AtomicU64,
}

/// The same as one core knows it.
#[derive(Debug, Default)]
pub(super) struct ForClients {
    copy: RefCell<Arc<Generations>>,
    edition: Cell<u64>,
}

impl Registered {
    /// Says whether it was not there.
    fn add(&self, generation: u64) -> Result<bool, ClientAccessError> {
        let mut table = self.lock();
        if table.contains(&generation) {
            return Ok(false);
        }
        if table.len() >= CLIENT_ACTORS_MAX {
            let limit = CLIENT_ACTORS_MAX;
            return Err(ClientAccessError::TooMany { limit });
        }
        Arc::make_mut(&mut table).insert(generation);
        self.edition.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Says whether it was there.
    fn remove(&self, generation: u64) -> bool {
        let mut table = self.lock();
        let was_there = table.contains(&generation);
        if was_there {
            Arc::make_mut(&mut table).remove(&generation);
            self.edition.fetch_add(1, Ordering::Release);
        }
        was_there
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Generations>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ForClients {
    /// Brings the copy up to date, and says of which edition it is.
    fn renew(&self, registered: &Registered) -> u64 {
        let edition = registered.edition.load(Ordering::Acquire);
        if edition != self.edition.get() {
            let table = registered.lock();
            self.copy.replace(Arc::clone(&table));
            // That of the table under the lock, which may be later than the one that was seen.
            self.edition.set(registered.edition.load(Ordering::Acquire));
        }
        self.edition.get()
    }

    fn has(&self, registered: &Registered, generation: u64) -> bool {
        self.renew(registered);
        self.copy.borrow().contains(&generation)
    }
}

impl Core {
    /// Whether this node is a client itself.
    pub(crate) fn is_client(&self) -> bool {
        self.local().role == Role::Client
    }

    /// Refuses whoever comes in another role than before.
    pub(super) fn check_role(&self, introduction: &Introduction) -> Result<(), RefuseReason> {
        let is_client = introduction.is_of_client();
        match self.shared.may_be(&introduction.peer, is_client) {
            true => Ok(()),
            false => Err(RefuseReason::Role),
        }
    }

    pub(crate) fn register_for_clients(&self, actor: Recipient) -> Result<bool, ClientAccessError> {
        let there = self.core_of_own(actor)?;
        if there == self.id && self.living(actor).is_none() {
            return Err(ClientAccessError::NotRunning);
        }
        let generation = actor.generation;
        let is_new = self.shared.registered.add(generation)?;
        if is_new && there != self.id {
            let check: Errand = Box::new(move |there| {
                if there.living(actor).is_none() {
                    there.close_to_clients(generation);
                }
            });
            if self.send_errand(there, check).is_err() {
                self.shared.registered.remove(generation);
                let core = there.0;
                return Err(ClientAccessError::CoreOverloaded { core });
            }
        }
        Ok(is_new)
    }

    pub(crate) fn unregister_for_clients(
        &self,
        actor: Recipient,
    ) -> Result<bool, ClientAccessError> {
        self.core_of_own(actor)?;
        Ok(self.shared.registered.remove(actor.generation))
    }

    /// The core of an actor of this process start.
    pub(super) fn core_of_own(&self, actor: Recipient) -> Result<CoreId, ClientAccessError> {
        let is_own = actor.table == self.shared.table
            && actor.node == NodeIndex::SELF
            && actor.uid == self.local().id.uid
            && actor.core.0 < self.local().cores;
        is_own
            .then_some(actor.core)
            .ok_or(ClientAccessError::NotHere)
    }

    /// An actor of this core takes nothing more.
    pub(super) fn close_to_clients(&self, generation: u64) {
        if self.is_registered(generation) {
            self.shared.registered.remove(generation);
        }
    }

    fn is_registered(&self, generation: u64) -> bool {
        self.for_clients.has(&self.shared.registered, generation)
    }

    /// Whether a message of a client may go to an actor, which need not run. The directory answers
    /// all, each as it may be answered.
    pub(super) fn is_for_clients(&self, generation: u64) -> bool {
        directory::is_at(generation) || self.is_registered(generation)
    }

    /// Forgets whom a client reached, if that has changed.
    pub(super) fn renew_routes(&self, link: &Link) {
        let edition = self.for_clients.renew(&self.shared.registered);
        if link.routes_as_of.replace(edition) != edition {
            link.routes.borrow_mut().forget_recipients();
        }
    }

    /// Whether a client is told of a name, whatever its actor speaks.
    pub(super) fn is_named_for_clients(&self, name: &str) -> bool {
        let named = self.shared.named(name);
        let is_told = named.is_some_and(|named| self.is_registered(named.generation));
        if !is_told {
            self.tally.names_withheld.add(1);
        }
        is_told
    }

    /// What a client is told that asks for names.
    pub(super) fn refuse_selection(&self) -> Selected {
        self.tally.selections_refused.add(1);
        Selected::nothing(Verdict::Refused)
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::address::{Address, NodeId, Uid};
    use ringmesh_proto::matrix::LinkMatrix;

    use super::*;
    use crate::core::Met;
    use crate::core::nodes::Nodes;

    #[test]
    fn one_over_the_client_actors_max_is_refused_until_another_is_taken_back() {
        let registered = Registered::default();
        let limit = CLIENT_ACTORS_MAX;
        for generation in 1..=limit as u64 {
            assert_eq!(registered.add(generation), Ok(true));
            assert_eq!(registered.add(generation), Ok(false));
        }
        let over = limit as u64 + 1;
        let refused = Err(ClientAccessError::TooMany { limit });
        assert_eq!(registered.add(over), refused);
        assert_eq!(registered.add(1), Ok(false), "it is there");
        assert!(!registered.remove(over) && registered.remove(1));
        assert_eq!(registered.add(over), Ok(true));
        assert_eq!(registered.add(1), refused);
    }

    #[test]
    fn a_copy_is_another_when_the_table_has_changed_and_only_then() {
        let (registered, core) = (Registered::default(), ForClients::default());
        let first = core.renew(&registered);
        assert_eq!(first, core.renew(&registered));
        assert!(!core.has(&registered, 7));
        assert_eq!(registered.add(7), Ok(true));
        assert_eq!(registered.add(7), Ok(false));
        assert!(core.has(&registered, 7) && !core.has(&registered, 8));
        let second = core.renew(&registered);
        assert_ne!(first, second);
        let before = Arc::clone(&core.copy.borrow());
        assert!(!registered.remove(8));
        assert_eq!(second, core.renew(&registered));
        assert!(registered.remove(7));
        assert!(
            before.contains(&7),
            "a copy does not change under its reader"
        );
        assert!(!core.has(&registered, 7));
    }

    #[test]
    fn the_first_role_of_a_process_start_at_its_address_is_its_role() {
        let address = |port| Address::new("demo", "127.0.0.1", port).unwrap();
        let mut nodes = Nodes::new(3);
        nodes.add_self(address(1));
        let [one, other] = [2, 3].map(|port| nodes.meet(&address(port)).unwrap());
        let met = |uid, is_client| Met {
            uid: Uid::new(uid).unwrap(),
            matrix: LinkMatrix::new(1, 1, 64),
            is_client,
        };
        let may_be = |nodes: &Nodes, port, uid| {
            let (address, uid) = (address(port), Uid::new(uid).unwrap());
            let id = NodeId { address, uid };
            [false, true].map(|is_client| nodes.may_be(&id, is_client))
        };
        assert_eq!(may_be(&nodes, 2, 7), [true, true], "it was not met");
        assert!(nodes.learn(one, met(7, true)).is_client);
        assert_eq!(may_be(&nodes, 2, 7), [false, true]);
        assert!(nodes.is_client(one, met(7, true).uid));
        // Whoever has the uid at another address is not held to what was said here.
        assert_eq!(may_be(&nodes, 3, 7), [true, true]);
        assert!(!nodes.is_client(other, met(7, true).uid));
        // What it says on another connection, which was let in at the same time, changes nothing.
        assert!(nodes.learn(one, met(7, false)).is_client);
        assert_eq!(may_be(&nodes, 2, 7), [false, true]);
        assert!(!nodes.learn(other, met(8, false)).is_client);
        assert!(!nodes.learn(other, met(8, true)).is_client);
        assert_eq!(may_be(&nodes, 3, 8), [true, false]);
        // The next start at the address is another process, and may be what it likes.
        assert_eq!(may_be(&nodes, 2, 9), [true, true]);
        assert!(!nodes.learn(one, met(9, false)).is_client);
        assert_eq!(may_be(&nodes, 2, 9), [true, false]);
    }
}
