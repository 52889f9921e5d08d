//! How host names become addresses.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::core::panic_message;

/// Finds the addresses of a host name, for dials to peers whose address has a name in it.
///
/// It is called on a thread of its own, one name at a time per core, and anew for each round of
/// dials. A call that hangs holds up the other names of its core.
#[derive(Clone)]
pub struct LookUp(Arc<Finder>);

type Finder = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl LookUp {
    /// Looks names up with `find`, which is given the name and the port and says what to dial, in
    /// the order to try it. Of a long list only the first 16 addresses are dialled.
    pub fn with(
        find: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(find))
    }

    /// A panic of the finder is an error like any other.
    pub(crate) fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = catch_unwind(AssertUnwindSafe(|| (self.0)(host, port)));
        found.unwrap_or_else(|payload| {
            let panic = panic_message(payload);
            tracing::error!(host, panic, "the look-up of a name panicked");
            Err(io::Error::other(panic))
        })
    }
}

/// Asks the system.
impl Default for LookUp {
    fn default() -> Self {
        Self::with(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for LookUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookUp").finish_non_exhaustive()
    }
}
