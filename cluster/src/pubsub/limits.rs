//! Every bound of pub-sub.

use ringmesh_proto::limits::HOST_BYTES_MAX;

use crate::registry::limits::KEY_NAME_BYTES_MAX;

/// The longest name of a topic, and the longest pattern, in bytes.
pub const TOPIC_BYTES_MAX: usize = 190;

/// The longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 64;

/// The longest path, in bytes.
pub const PATH_BYTES_MAX: usize = KEY_NAME_BYTES_MAX;

/// The most segments of a name.
pub const SEGMENTS_MAX: usize = 32;

// A group is announced as the pattern, a space, and its name.
const _: () = assert!(TOPIC_BYTES_MAX + 1 + GROUP_BYTES_MAX <= KEY_NAME_BYTES_MAX);

/// The most shapes of patterns on one core: a look-up takes one step for each.
pub const SHAPES_OF_CORE_MAX: usize = 64;

/// The most shapes of patterns in a cluster.
pub const SHAPES_MAX: usize = 4096;

/// The most topics of which a core remembers who gets what is published to them.
pub const CACHED_TOPICS_MAX: usize = 1024;

/// The most receivers of those, each of which takes some tens of bytes.
pub const CACHED_RECEIVERS_MAX: usize = 64 << 10;

/// The most groups of one topic that a publish reaches.
pub const GROUPS_OF_TOPIC_MAX: usize = 64;

/// The most bytes of what a frame says before its message.
pub const HEAD_BYTES_MAX: usize =
    39 + TOPIC_BYTES_MAX + GROUPS_OF_TOPIC_MAX * (3 + GROUP_BYTES_MAX);

/// The most bytes in front of that, where a core gives another of its node what was published.
pub const ORIGIN_BYTES_MAX: usize = 1 + 8 + 1 + HOST_BYTES_MAX + 2;

/// The most publishes of one core that wait for answers.
pub const PUBLISHES_MAX: usize = 1024;

const _: () = assert!(GROUPS_OF_TOPIC_MAX <= 255 && TOPIC_BYTES_MAX <= 255);
const _: () = assert!(SHAPES_OF_CORE_MAX <= SHAPES_MAX);
