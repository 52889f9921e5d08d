//! Every bound of the registry.

use std::time::Duration;

/// The longest name of a key, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// The most entries of one node.
pub const ENTRIES_OF_NODE_MAX: usize = 65_536;

/// The most bytes of the entries of one node, as they are sent.
pub const BYTES_OF_NODE_MAX: usize = 8 << 20;

/// The most entries of other nodes that one node holds.
pub const ENTRIES_MAX: usize = 262_144;

/// The most bytes of those.
pub const BYTES_MAX: usize = 32 << 20;

/// The most changes that a node keeps, for those that missed them.
pub const LOG_CHANGES_MAX: usize = 4096;

/// The most bytes of those.
pub const LOG_BYTES_MAX: usize = 512 << 10;

/// The most bytes of entries or changes in one message: half of what the control lane takes, so
/// that one costs a heartbeat behind it little.
pub const PART_BYTES_MAX: usize = 32 << 10;

/// The most messages that are kept of nodes that are no members yet.
pub const PARKED_MAX: usize = 256;

/// The most bytes of those.
pub const PARKED_BYTES_MAX: usize = 256 << 10;

/// The most messages that are kept of one of those nodes.
pub const PARKED_OF_NODE_MAX: usize = 8;

/// How long they are kept.
pub const PARKED_AGE: Duration = Duration::from_secs(10);

/// The most acknowledgements that are waited for at a time.
pub const ACKNOWLEDGEMENTS_MAX: usize = 256;

/// With more members than this, changes are collected for longer before they are sent.
pub const FEW_MEMBERS: usize = 32;

/// Cores are shown what changed no more often than this.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(1);

/// What a node announces takes another way to other data centres no more often than this.
pub const TURN_EVERY: Duration = Duration::from_secs(1);

/// What was asked and not answered is asked again after this, and then after twice the time ...
pub const ASK_AGAIN_MIN: Duration = Duration::from_millis(500);

/// ... up to this ...
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(8);

/// ... or this, if it is asked over a border: the next way may be better.
pub const ASK_ELSEWHERE_MAX: Duration = Duration::from_secs(2);
