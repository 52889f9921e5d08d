//! The floor: what this machine can do when nothing but the necessary is done.
//!
//! An honest tight loop with the engine's socket options, pinning and record layout: a 16-byte
//! header, every payload written and read, a CRC on both sides. It is what the engine's figures are
//! held against, in the same run. Unlike the engine it has one type of message, one recipient, no
//! credit, no validation and no other peer.
//!
//! Both halves keep one protocol: data for the warm-up, `Begin` and its echo, data for the measured
//! interval, `End`, and the receiver's [`Tally`]. So both count the same interval, and its end is
//! the moment the sender knows that everything arrived. `mesh` and `fan_out` have all of it in one
//! process.

mod echo;
pub(crate) mod fan_out;
mod inbox;
pub(crate) mod mesh;
mod record;
mod socket;
mod stream;
mod tally;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use self::record::{HEADER_BYTES, Kind, RecordError};
use self::socket::Socket;
use self::tally::{TALLY_BYTES, Tally};
use crate::cost::Cost;
use crate::plan::{Outcome, Plan, Traffic};

/// Why a half of the floor gave up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FloorError {
    /// The connection failed; most often because the peer died.
    #[error("the floor lost its peer: {0}")]
    Peer(#[from] io::Error),
    /// The bytes were not records.
    #[error("the floor received bytes it cannot read: {0}")]
    Record(#[from] RecordError),
    /// The records were not those of this workload, or it has none between processes.
    #[error("the floor's peer plays another workload")]
    Confused,
}

/// Plays the sending half of `plan` against the receiver at `to`.
///
/// # Errors
/// When the peer is gone or plays another workload.
pub(crate) fn send(plan: &Plan, to: SocketAddr) -> Result<Outcome, FloorError> {
    let round = &plan.round;
    let socket = Socket::connect(to, round.mode, plan.cpu_is_shared)?;
    match round.traffic {
        Traffic::Stream => {
            stream::Sender::new(socket, round.payload_bytes).run(round.warm_up, round.measured)
        }
        Traffic::Echo => {
            echo::Asker::new(socket, round.payload_bytes).run(round.warm_up, round.measured)
        }
        Traffic::Mesh | Traffic::Ping | Traffic::PubSub => Err(FloorError::Confused),
    }
}

/// Plays the receiving half of `plan` for one sender, and says where on stdout first.
///
/// # Errors
/// When the peer is gone or plays another workload.
pub(crate) fn receive(plan: &Plan) -> Result<(), FloorError> {
    let round = &plan.round;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening {}", listener.local_addr()?)?;
    stdout.flush()?;
    let (stream, _) = listener.accept()?;
    let socket = Socket::new(stream, round.mode, plan.cpu_is_shared)?;
    match round.traffic {
        Traffic::Stream => stream::receive(socket, round.payload_bytes),
        Traffic::Echo => echo::answer(socket, round.payload_bytes),
        Traffic::Mesh | Traffic::Ping | Traffic::PubSub => Err(FloorError::Confused),
    }
}

/// Sends one record of at most a tally's bytes.
fn send_record(socket: &mut Socket, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut bytes = [0; HEADER_BYTES + TALLY_BYTES];
    let bytes = &mut bytes[..HEADER_BYTES + payload.len()];
    let number = payload
        .first_chunk()
        .map_or(0, |number| u64::from_le_bytes(*number));
    record::encode(bytes, kind, number, payload);
    socket.write_all(bytes)
}

/// What the sender answers, from its own counts and the receiver's.
fn outcome(elapsed: Duration, sent: u64, cost: Cost, tally: Tally) -> Outcome {
    // The numbers 0..sent, each once. TCP and the checksums leave no other way to the same count.
    let sum = (u128::from(sent) * u128::from(sent.saturating_sub(1)) / 2) as u64;
    Outcome {
        elapsed,
        messages: tally.records,
        lost: sent.saturating_sub(tally.records),
        corrupt: u64::from(tally.records == sent && tally.sum != sum),
        cost: cost + tally.cost,
        latency: None,
        latency_from_schedule: None,
        engine: None,
        crowd: None,
    }
}
