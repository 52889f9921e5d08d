//! The messages of the workloads, and the two protocols they make.

use bytes::Bytes;
use ringmesh::prelude::*;

use crate::pattern;

/// One message of a stream. Its archive is the number, the head of a vector and the body, so a
/// body 16 bytes shorter makes an archive of the size asked for.
#[message(id = "loadgen.Record", v = 1)]
pub(crate) struct Record {
    /// 0, 1, 2 ... in the order of sending.
    pub(crate) number: u64,
    /// The first bytes of the pattern.
    pub(crate) body: Bytes,
}

/// Bytes of an archived [`Record`] or [`Ping`] besides its body.
pub(crate) const ARCHIVE_OVERHEAD_BYTES: usize = 16;

/// One message there, and the same back.
#[message(id = "loadgen.Ping", v = 1, reply = Ping)]
pub(crate) struct Ping {
    /// 0, 1, 2 ... in the order of asking.
    pub(crate) number: u64,
    /// The first bytes of the pattern.
    pub(crate) body: Bytes,
}

/// One message of a sample: when it was sent, on the clock that all processes of a machine share.
#[message(id = "loadgen.Probe", v = 1, pod)]
pub(crate) struct Probe {
    /// Nanoseconds of the monotonic clock.
    pub(crate) sent_ns: u64,
}

/// Ends the warm-up: the receiver counts from zero.
#[message(id = "loadgen.Begin", v = 1, reply = Begun)]
pub(crate) struct Begin;

/// The receiver counts from zero now.
#[message(id = "loadgen.Begun", v = 1)]
pub(crate) struct Begun;

/// Asks what arrived since [`Begin`]. Order is kept, so everything sent before it is in.
#[message(id = "loadgen.Finish", v = 1, reply = Counts)]
pub(crate) struct Finish;

/// What the receiver saw of the measured interval, and what that cost its process.
#[message(id = "loadgen.Counts", v = 1)]
pub(crate) struct Counts {
    /// Different messages.
    pub(crate) arrived: u64,
    /// Messages that came again.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// Messages whose bytes were wrong.
    pub(crate) corrupt: u64,
    /// User and system time.
    pub(crate) cpu_ns: u64,
    /// Calls to the allocator.
    pub(crate) allocations: u64,
    /// `io_uring_enter` calls.
    pub(crate) enters: u64,
    /// Frames copied because they straddled two receive buffers.
    pub(crate) straddled: u64,
    /// Frames copied because too many receive buffers were pinned.
    pub(crate) pinned: u64,
    /// Frames copied for any other reason.
    pub(crate) other: u64,
    /// One-way times of the probes, encoded; empty without probes.
    pub(crate) one_way: Bytes,
}

protocol! {
    /// Takes streams.
    pub(crate) SinkApi = "loadgen.sink" {
        Record, Pod32, Pod64, Pod128, Pod256, Pod1024, Pod4096, Probe, Begin, Finish
    }
}

/// Begins a rally: the receiver hits the first ball.
#[message(id = "loadgen.Serve", v = 1)]
pub(crate) struct Serve {
    /// The other player.
    pub(crate) to: Ref<PlayerApi>,
    /// Bytes of a ball's body.
    pub(crate) body_bytes: u32,
}

/// The one message under way.
#[message(id = "loadgen.Ball", v = 1)]
pub(crate) struct Ball {
    /// 0, 1, 2 ... from hit to hit.
    pub(crate) number: u64,
    /// The first bytes of the pattern.
    pub(crate) body: Bytes,
}

/// Ends a rally.
#[message(id = "loadgen.Over", v = 1, reply = Flights)]
pub(crate) struct Over;

/// How long the balls flew.
#[message(id = "loadgen.Flights", v = 1)]
pub(crate) struct Flights {
    /// The times, encoded.
    pub(crate) recorded: Bytes,
}

protocol! {
    /// Plays a rally.
    pub(crate) PlayerApi = "loadgen.player" { Serve, Ball, Over }
}

protocol! {
    /// Answers pings.
    pub(crate) EchoApi = "loadgen.echo" { Ping, Begin, Finish }
}

/// Begins an interval of pub-sub.
#[message(id = "loadgen.Muster", v = 1, reply = Tally)]
pub(crate) struct Muster {
    /// The number of its first message.
    pub(crate) first: u64,
}

/// Asks what arrived. The interval is over.
#[message(id = "loadgen.Look", v = 1, reply = Tally)]
pub(crate) struct Look;

/// What the subscribers of a node have seen since they began, and what that cost their process.
#[message(id = "loadgen.Tally", v = 1)]
pub(crate) struct Tally {
    /// Different messages, of each of them.
    pub(crate) delivered: u64,
    /// Messages that came again to the same one.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// Messages whose bytes were wrong.
    pub(crate) corrupt: u64,
    /// Messages that their queues lost.
    pub(crate) dropped: u64,
    /// Frames that this node sent others for what it published.
    pub(crate) frames: u64,
    /// User and system time.
    pub(crate) cpu_ns: u64,
    /// Calls to the allocator.
    pub(crate) allocations: u64,
    /// `io_uring_enter` calls.
    pub(crate) enters: u64,
    /// Frames copied because they straddled two receive buffers.
    pub(crate) straddled: u64,
    /// Frames copied because too many receive buffers were pinned.
    pub(crate) pinned: u64,
    /// Frames copied for any other reason.
    pub(crate) other: u64,
}

/// Asks when messages arrived.
#[message(id = "loadgen.Recall", v = 1, reply = Recalled)]
pub(crate) struct Recall;

/// When they did.
#[message(id = "loadgen.Recalled", v = 1)]
pub(crate) struct Recalled {
    /// Of a sample: when the first and the last subscriber of the node had it.
    pub(crate) moments: Bytes,
}

protocol! {
    /// Says what the subscribers of its node have seen.
    pub(crate) CrierApi = "loadgen.crier" { Muster, Look, Recall }
}

/// A message of a stream, whatever its layout.
pub(crate) trait Numbered: Message {
    /// Message `number`, whose archive has `payload_bytes`.
    fn new(number: u64, payload_bytes: usize) -> Self;

    /// The number of an archived one.
    fn number(archived: &Self::Archived) -> u64;

    /// The body of an archived one.
    fn body(archived: &Self::Archived) -> &[u8];
}

impl Numbered for Record {
    #[inline]
    fn new(number: u64, payload_bytes: usize) -> Self {
        let body = pattern::first(payload_bytes - ARCHIVE_OVERHEAD_BYTES);
        Self {
            number,
            body: Bytes::from_static(body),
        }
    }

    #[inline]
    fn number(archived: &Self::Archived) -> u64 {
        archived.number.to_native()
    }

    #[inline]
    fn body(archived: &Self::Archived) -> &[u8] {
        &archived.body
    }
}

/// Fixed-layout messages, one per size.
macro_rules! pods {
    ($($name:ident $bytes:literal $id:literal;)*) => {$(
        #[doc = concat!("A fixed-layout message of ", $bytes, " bytes.")]
        #[message(id = $id, v = 1, pod)]
        pub(crate) struct $name {
            /// As in [`Record`].
            pub(crate) number: u64,
            /// As in [`Record`].
            pub(crate) body: [u8; $bytes - 8],
        }

        impl Numbered for $name {
            #[inline]
            fn new(number: u64, _: usize) -> Self {
                let body = pattern::array();
                Self { number, body }
            }

            #[inline]
            fn number(archived: &Self::Archived) -> u64 {
                archived.number.to_native()
            }

            #[inline]
            fn body(archived: &Self::Archived) -> &[u8] {
                &archived.body
            }
        }
    )*};
}

pods! {
    Pod32 32 "loadgen.Pod32";
    Pod64 64 "loadgen.Pod64";
    Pod128 128 "loadgen.Pod128";
    Pod256 256 "loadgen.Pod256";
    Pod1024 1024 "loadgen.Pod1024";
    Pod4096 4096 "loadgen.Pod4096";
}

#[cfg(test)]
mod tests {
    use super::{CrierApi, EchoApi, SinkApi};

    #[test]
    fn messages_are_locked() {
        ringmesh::assert_messages_locked!(SinkApi, EchoApi, CrierApi);
    }
}
