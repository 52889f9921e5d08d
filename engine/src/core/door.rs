//! The door of the node, as its cores share it: what counts for a connection that came in.
//!
//! The control core lets connections in; they count until they end, on whatever core. The locks are
//! taken when a connection comes, gets its link and ends, and never for what it carries.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::door::{Door, DoorLimits, Source};
use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::{ConnectionId, Transport};

use super::Core;
use crate::config::Settings;

/// The one door of a node. Its cores' clocks do not begin together, and may be milliseconds apart:
/// a core behind finds that much less time gone.
#[derive(Clone)]
pub(crate) struct SharedDoor(Arc<Mutex<Door>>);

impl SharedDoor {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limits = DoorLimits {
            half_open_max: settings.half_open_max,
            per_source_max: settings.connections_per_source_max,
            connects_per_second: settings.connects_per_second_max,
        };
        Self(Arc::new(Mutex::new(Door::new(limits))))
    }

    fn enter(&self, now: Instant, from: IpAddr) -> Result<Guest, CloseReason> {
        let source = from.into();
        self.lock().enter(now, source)?;
        Ok(Guest {
            door: self.clone(),
            source,
            from,
            half_open: true,
        })
    }

    pub(super) fn may_inquire(&self, now: Instant, from: IpAddr) -> bool {
        self.lock().may_inquire(now, from.into())
    }

    fn lock(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedDoor").finish_non_exhaustive()
    }
}

/// A connection that was let in. It counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    door: SharedDoor,
    source: Source,
    /// Where it comes from.
    pub(super) from: IpAddr,
    half_open: bool,
}

impl Guest {
    /// The connection got its link.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.half_open) {
            self.door.lock().settle(self.source);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.door.lock().leave(self.source, self.half_open);
    }
}

impl Core {
    pub(super) fn handle_incoming(self: &Rc<Self>, id: ConnectionId, peer: SocketAddr) {
        tracing::debug!(%peer, "incoming connection");
        let entered = self.shared.door.enter(self.clock.now(), peer.ip());
        let connection = self.add_connection(id, None);
        match entered {
            Ok(guest) => {
                connection.guest.replace(Some(guest));
                self.accept(|acceptor, cx| acceptor.handle_accepted(cx, connection.key));
            }
            Err(reason) => self.turn_away(&connection, peer, reason),
        }
    }

    /// Closes a connection before a byte of it was read. Others are of more use than a word to it.
    fn turn_away(
        self: &Rc<Self>,
        connection: &super::link::Connection,
        peer: SocketAddr,
        reason: CloseReason,
    ) {
        connection.closing.set(true);
        self.count_close(reason);
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!(%peer, label = reason.label(), %reason, "turning a connection away");
        }
        self.io.borrow_mut().close(connection.id);
    }
}
