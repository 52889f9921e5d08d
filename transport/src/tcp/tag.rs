//! What a completion belongs to, packed into its user data.

use crate::contract::ConnectionId;
use crate::table::SLOTS_MAX;

/// The operation that a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Connect,
    Preface,
    ReceiveMultishot,
    ReceiveBulk,
    Send,
    /// A cancel of an operation on a connection.
    Cancel,
    Close,
    /// An operation that belongs to no connection and whose result nobody waits for.
    Detached,
    Accept,
    AcceptPause,
    Doorbell,
    Signal,
}

const OPERATIONS: [Operation; 12] = [
    Operation::Connect,
    Operation::Preface,
    Operation::ReceiveMultishot,
    Operation::ReceiveBulk,
    Operation::Send,
    Operation::Cancel,
    Operation::Close,
    Operation::Detached,
    Operation::Accept,
    Operation::AcceptPause,
    Operation::Doorbell,
    Operation::Signal,
];

/// Operation in the top 8 bits, slot in the next 24, generation in the low 32. For what belongs to
/// no connection the slot is 0 and the generation its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) operation: Operation,
    pub(super) connection: ConnectionId,
}

impl Tag {
    pub(super) const fn new(operation: Operation, connection: ConnectionId) -> Self {
        Self {
            operation,
            connection,
        }
    }

    pub(super) const fn of_core(operation: Operation, generation: u32) -> Self {
        Self {
            operation,
            connection: ConnectionId {
                slot: 0,
                generation,
            },
        }
    }

    pub(super) const fn pack(self) -> u64 {
        let ConnectionId { slot, generation } = self.connection;
        debug_assert!(slot < SLOTS_MAX);
        (self.operation as u64) << 56 | (slot as u64) << 32 | generation as u64
    }

    /// `None` for user data that [`pack`](Self::pack) did not make.
    pub(super) fn unpack(user_data: u64) -> Option<Self> {
        let operation = *OPERATIONS.get((user_data >> 56) as usize)?;
        let slot = (user_data >> 32) as u32 & (SLOTS_MAX - 1);
        Some(Self::new(
            operation,
            ConnectionId {
                slot,
                generation: user_data as u32,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_comes_back_with_its_connection() {
        let connection = ConnectionId {
            slot: SLOTS_MAX - 1,
            generation: u32::MAX,
        };
        for operation in OPERATIONS {
            let tag = Tag::new(operation, connection);
            assert_eq!(Tag::unpack(tag.pack()), Some(tag));
        }
        assert_eq!(Tag::unpack(u64::MAX), None);
    }
}
