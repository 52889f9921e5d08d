//! Every hard limit of the wire, and the assertions that tie them to each other.
//!
//! A limit here is either a constant of the format or the default of a setting; settings say so and
//! name their range. What a peer sends beyond a limit ends its connection; what a caller asks for
//! beyond one is a typed error. Each has a test that goes one over.

use std::time::Duration;

/// The preface that opens every connection, in bytes.
pub const PREFACE_BYTES: usize = 64;

/// The header of every frame, in bytes.
pub const HEADER_BYTES: usize = 16;

/// The extension of an ask, reply, error or cancel frame, in bytes; the body begins with it.
pub const EXTENSION_BYTES: usize = 16;

/// The smallest body cap a lane may be configured to, in bytes.
pub const FRAME_BYTES_MIN: u32 = 32 << 10;

/// The largest body cap a lane may be configured to, in bytes.
pub const FRAME_BYTES_CEILING: u32 = 16 << 20;

/// Default body cap of the control lane: the longest body a frame may declare, in bytes.
pub const FRAME_BYTES_CONTROL: u32 = 64 << 10;

/// Default body cap of the ordinary lane, in bytes.
pub const FRAME_BYTES_ORDINARY: u32 = 256 << 10;

/// Default body cap of the large lane, in bytes.
pub const FRAME_BYTES_LARGE: u32 = 2 << 20;

/// Body cap of every lane until the connection is accepted, in bytes.
pub const FRAME_BYTES_BEFORE_ACCEPT: u32 = 4 << 10;

/// The longest body of a hello or accept frame, in bytes.
pub const HELLO_BYTES_MAX: usize = 1 << 10;

/// The longest explaining text of a refuse frame, in bytes.
pub const REFUSE_TEXT_BYTES_MAX: usize = 255;

/// The longest body of a system frame, in bytes.
pub const SYSTEM_BODY_BYTES_MAX: u32 = 4 << 10;

/// The longest system name of an address, in bytes.
pub const SYSTEM_BYTES_MAX: usize = 64;

/// The longest host of an address, in bytes.
pub const HOST_BYTES_MAX: usize = 255;

/// The longest name of an actor, in bytes.
pub const ACTOR_NAME_BYTES_MAX: usize = 255;

/// The longest path of an actor, in bytes: its name and those of its parents, with `/` between.
pub const ACTOR_PATH_BYTES_MAX: usize = 1024;

/// The most names in the path of an actor; an actor has fewer others above it.
pub const ACTOR_DEPTH_MAX: u8 = 32;

/// The highest number a sender may give to a message type on one link; the lowest is 1.
pub const TYPE_NUMBER_MAX: u16 = 4096;

/// The highest number a sender may give to a recipient on one link; the lowest is 1.
pub const TARGET_NUMBER_MAX: u32 = 65_536;

/// Default credit of a link, and so the most it retains for resending, in bytes.
pub const WINDOW_BYTES: u32 = 1 << 20;

/// Default credit of a link of the large lane, in bytes.
pub const WINDOW_BYTES_LARGE: u32 = 4 << 20;

/// Credit of a link of the control lane, in bytes.
pub const WINDOW_BYTES_CONTROL: u32 = 256 << 10;

/// Bytes that one operation moves, in either direction, on a connection that must not hold up
/// others. Such a connection has one of them in each direction at a time, and so one in a turn.
pub const PACED_BYTES_MAX: usize = 64 << 10;

/// Pings that may wait for an answer of one node, or to be sent to it.
pub const PINGS_WAITING_MAX: usize = 1024;

/// The largest credit a link may be configured to, in bytes.
pub const WINDOW_BYTES_MAX: u32 = 64 << 20;

/// An ordinary slab, in bytes.
pub const SLAB_BYTES: u32 = 64 << 10;

/// A received payload that is passed on is copied up to this length, in bytes; a longer one leaves
/// from where it lies. Below it a copy costs less than a piece of its own in the send, and the hold
/// on a receive buffer that goes with it.
pub const COPIED_BYTES_MAX: usize = 4 << 10;

/// A receiver grants after this many received bytes, whatever the time. A window below four times
/// as much grants every quarter of it.
pub const GRANT_EVERY_BYTES: u32 = 128 << 10;

/// Asks one link may have outstanding, and so the answers that can wait for credit.
pub const ASKS_OUTSTANDING_MAX: usize = 16_384;

/// How many windows of bytes the answers that wait for credit may take.
pub const DEFERRED_WINDOWS: u32 = 4;

/// Busy and ready notices that may wait on one link.
pub const NOTICES_MAX: usize = 1024;

/// How long an accepted connection may take to send its preface.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a handshake may take, from the dial (or the preface) to the answer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a frame may stay incomplete without a new byte.
pub const FRAME_STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Default of how long a peer may take nothing over of what was sent to it.
pub const GRANT_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a link may be silent when another dial of its peer, or one that claims to be of it,
/// puts it in doubt.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A node that comes this much too late to judge a probe was away itself: it listens once more.
pub const PROBE_LATENESS: Duration = Duration::from_millis(250);

/// Default of how long a stopping association waits for its last bytes and its connections to end.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The first back-off between two dials of one address.
pub const BACK_OFF_MIN: Duration = Duration::from_millis(100);

/// The longest back-off between two dials of one address.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// Addresses of one look-up of a host name that are dialled before it is looked up again.
pub const DIALLED_ADDRESSES_MAX: usize = 16;

/// A link that stood this long starts its back-off anew when it is lost.
pub const STEADY_LINK: Duration = Duration::from_secs(1);

/// Default of how long sends wait for the first connection of their link before they are given up.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest pause between two dials while sends wait for their first link.
pub const FORMING_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a link takes before its first connection, in bytes, none of its bodies longer than
/// [`FRAME_BYTES_MIN`]: no peer may offer less.
pub const FORMING_WINDOW_BYTES: u32 = window_bytes_min(FRAME_BYTES_MIN);

/// Default of how long a link waits for another connection before it is given up.
pub const RESUME_TIMEOUT: Duration = Duration::from_secs(10);

/// Whoever did not dial a link's last connection lets its peer dial first for this long.
pub const RESUME_GRACE: Duration = Duration::from_millis(200);

/// The least time from a link's connection to the dial of its next.
pub const RESUME_PAUSE: Duration = Duration::from_millis(10);

/// A link that was lost for this long is given up when nobody listens where it was dialled.
pub const REFUSED_PATIENCE: Duration = Duration::from_secs(1);

/// Refusals that a node sends at once before it only sends [`REFUSALS_PER_SECOND`].
pub const REFUSALS_BURST: u32 = 64;

/// Refusals that a node sends in the long run; others are closed without a word.
pub const REFUSALS_PER_SECOND: u32 = 16;

/// Default for connections that have not shown who they are, at one time.
pub const HALF_OPEN_MAX: usize = 256;

/// How long the address that a hello claims may take to vouch for it.
pub const VERIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// Diallers of one core that may wait to be vouched for, at one time.
pub const INQUIRIES_MAX: usize = 256;

/// Inquiries that the hellos from one address may cause at once, before they only cause
/// [`INQUIRIES_PER_SECOND`].
pub const INQUIRIES_BURST: u32 = 128;

/// Inquiries that the hellos from one address may cause in the long run.
pub const INQUIRIES_PER_SECOND: u32 = 16;

/// Addresses whose connects are counted each by itself, those without a connection for a while.
pub const SOURCES_MAX: usize = 1 << 16;

/// Process starts of a peer that are remembered as ended.
pub const FORMER_UIDS_MAX: usize = 8;

/// Process starts that a node keeps quarantined, and those that it knows to have quarantined it.
pub const QUARANTINES_MAX: usize = 1024;

/// Actors of a node that may be registered for clients.
pub const CLIENT_ACTORS_MAX: usize = 4096;

/// Errands of one core that may wait for room in the ring to another.
pub const ERRANDS_WAITING_MAX: usize = 1024;

/// Local messages of one core that may be on their way to the actors of another, or of itself.
pub const LOCAL_MESSAGES_MAX: u64 = 1024;

/// The most cores a node may have; their numbers are below.
pub const CORES_MAX: u16 = 256;

/// The smallest window that goes with `body_cap`: one frame and one slab.
pub const fn window_bytes_min(body_cap: u32) -> u32 {
    body_cap + SLAB_BYTES
}

/// Both definitions, in front of the frame that needs them.
pub(crate) const DEFINITIONS_BYTES: usize = 2 * HEADER_BYTES + 20 + 12;

const _: () = {
    assert!(FRAME_BYTES_BEFORE_ACCEPT < FRAME_BYTES_MIN);
    assert!(FRAME_BYTES_MIN <= FRAME_BYTES_CONTROL);
    assert!(FRAME_BYTES_CONTROL <= FRAME_BYTES_ORDINARY);
    assert!(FRAME_BYTES_ORDINARY <= FRAME_BYTES_LARGE);
    assert!(FRAME_BYTES_LARGE <= FRAME_BYTES_CEILING);
    // Whatever opens a connection fits before it is accepted.
    assert!(HELLO_BYTES_MAX <= FRAME_BYTES_BEFORE_ACCEPT as usize);
    assert!(EXTENSION_BYTES < FRAME_BYTES_BEFORE_ACCEPT as usize);
    assert!(SYSTEM_BODY_BYTES_MAX < FRAME_BYTES_MIN);
    // Fixed parts of an accept, two addresses with their length bytes and ports.
    assert!(58 + 2 * (1 + SYSTEM_BYTES_MAX + 1 + HOST_BYTES_MAX + 2) <= HELLO_BYTES_MAX);
    assert!(SYSTEM_BYTES_MAX <= HOST_BYTES_MAX && HOST_BYTES_MAX <= u8::MAX as usize);
    // A window always has room for the largest frame of its lane, its definitions included.
    assert!(DEFINITIONS_BYTES + HEADER_BYTES <= SLAB_BYTES as usize);
    // What is copied to be passed on fits an ordinary slab.
    assert!(
        DEFINITIONS_BYTES + HEADER_BYTES + EXTENSION_BYTES + COPIED_BYTES_MAX
            <= SLAB_BYTES as usize
    );
    assert!(window_bytes_min(FRAME_BYTES_ORDINARY) <= WINDOW_BYTES);
    assert!(window_bytes_min(FRAME_BYTES_CEILING) <= WINDOW_BYTES_MAX);
    assert!(window_bytes_min(FRAME_BYTES_LARGE) <= WINDOW_BYTES_LARGE);
    assert!(window_bytes_min(FRAME_BYTES_CONTROL) <= WINDOW_BYTES_CONTROL);
    assert!(WINDOW_BYTES_LARGE <= WINDOW_BYTES_MAX);
    // A grant leaves before the sender runs dry.
    assert!(GRANT_EVERY_BYTES * 2 <= WINDOW_BYTES);
    // A refusal in place of an answer takes less than any answer it replaces may have.
    assert!(HEADER_BYTES + EXTENSION_BYTES <= SLAB_BYTES as usize);
    assert!(PREFACE_TIMEOUT.as_millis() < HANDSHAKE_TIMEOUT.as_millis());
    // Whoever waits for the verdict of a probe, and of its second chance, waits within a handshake.
    assert!(2 * PROBE_TIMEOUT.as_millis() < HANDSHAKE_TIMEOUT.as_millis());
    // A restart is recognised within 2 s: half of that is left to the round trips of an inquiry.
    assert!(PROBE_TIMEOUT.as_millis() * 2 <= 2000);
    // Whoever waits to be vouched for before that waits within a handshake too.
    assert!(
        VERIFY_TIMEOUT.as_millis() + 2 * PROBE_TIMEOUT.as_millis() < HANDSHAKE_TIMEOUT.as_millis()
    );
    assert!(PROBE_LATENESS.as_millis() < PROBE_TIMEOUT.as_millis());
    assert!(BACK_OFF_MIN.as_millis() < BACK_OFF_MAX.as_millis());
    // Several dials fit into the time that a link waits, and one that hangs is not all of them.
    assert!(HANDSHAKE_TIMEOUT.as_millis() < RESUME_TIMEOUT.as_millis());
    assert!(REFUSED_PATIENCE.as_millis() < RESUME_TIMEOUT.as_millis());
    assert!(HANDSHAKE_TIMEOUT.as_millis() < DIAL_TIMEOUT.as_millis());
    assert!(BACK_OFF_MIN.as_millis() <= FORMING_PAUSE_MAX.as_millis());
    // A path of one name fits, whatever the name.
    assert!(ACTOR_NAME_BYTES_MAX <= ACTOR_PATH_BYTES_MAX && ACTOR_DEPTH_MAX > 0);
    assert!(PREFACE_BYTES == 64 && HEADER_BYTES == 16);
};
