//! Messages and answers in an older version: made into the current one in memory of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ringmesh_proto::upgrade::{Older, UpgradeError};
use ringmesh_transport::buffer::Chunk;

use super::Core;
use super::user_code::panic_message;

/// Why a message in an older version was not upgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotUpgraded {
    /// Its bytes are not what they say they are: the peer is at fault.
    Invalid,
    /// The upgrade panicked, or made a message that is too long.
    Failed,
}

impl Core {
    /// Makes an archive of the current version, as long as `body_cap` at most. Runs user code, so
    /// no cell may be borrowed but those a handler may find borrowed.
    #[cold]
    pub(super) fn upgrade(
        &self,
        older: &Older,
        archive: &[u8],
        body_cap: u32,
    ) -> Result<Chunk, NotUpgraded> {
        let limit = body_cap as usize;
        let problem = match catch_unwind(AssertUnwindSafe(|| older.upgrade(archive, limit))) {
            Ok(Ok(upgraded)) => {
                self.tally.upgraded.add(1);
                return Ok(Chunk::copied_from(&upgraded));
            }
            Ok(Err(UpgradeError::Invalid(error))) => {
                tracing::debug!(%error, "a message in an older version is not valid");
                return Err(NotUpgraded::Invalid);
            }
            Ok(Err(error)) => error.to_string(),
            Err(payload) => {
                self.tally.panics.add(1);
                format!("a panic: {}", panic_message(payload))
            }
        };
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::error!(problem, "a message in an older version was not upgraded");
        }
        Err(NotUpgraded::Failed)
    }

    /// The same of what an actor is made of, as long as a frame at most.
    pub(crate) fn upgrade_args(
        &self,
        older: &Older,
        archive: &[u8],
    ) -> Result<Box<[u8]>, NotUpgraded> {
        let upgraded = self.upgrade(older, archive, self.settings().frame_bytes_max)?;
        Ok(Box::from(&*upgraded))
    }
}
