//! The floor of `stream`: batches of records from one tight loop to another.
//!
//! The sender encodes the next batch while the kernel still takes the one before. The receiver
//! parses in place and sums the first 8 bytes of every record.

use std::io;
use std::time::{Duration, Instant};

use super::FloorError;
use super::inbox::Inbox;
use super::record::{self, HEADER_BYTES, Kind, PAYLOAD_BYTES_MIN};
use super::socket::Socket;
use super::tally::{TALLY_BYTES, Tally};
use crate::cost::Meter;
use crate::pattern;
use crate::plan::Outcome;

/// Bytes of a batch of small records.
const BATCH_BYTES: usize = 64 * 1024;

/// A batch of large records holds this many.
const BATCH_RECORDS_MIN: u64 = 4;

/// Records written before the first of them gets its checksum, see [`record::seal`].
const RECORDS_PER_SEAL: usize = 8;

/// The sending half: two batches, one being encoded while the kernel takes the other.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: Socket,
    payload: &'static [u8],
    filling: Vec<u8>,
    sending: Vec<u8>,
    /// How much of `sending` the kernel has.
    taken: usize,
    next_number: u64,
}

impl Sender {
    /// Prepares to send records of `payload_bytes`.
    pub(crate) fn new(socket: Socket, payload_bytes: usize) -> Self {
        let record_bytes = HEADER_BYTES + payload_bytes;
        let records = (BATCH_BYTES / record_bytes).max(BATCH_RECORDS_MIN as usize);
        let batch = vec![0; records * record_bytes];
        Self {
            socket,
            payload: pattern::first(payload_bytes),
            filling: batch.clone(),
            taken: batch.len(),
            sending: batch,
            next_number: 0,
        }
    }

    /// Sends for `warm_up`, then for `measured`, and waits until the receiver has everything.
    ///
    /// # Errors
    /// When the peer is gone or says what no receiver says.
    pub(crate) fn run(
        mut self,
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Outcome, FloorError> {
        let mut inbox = Inbox::new(TALLY_BYTES);
        self.send_for(warm_up)?;
        self.mark(Kind::Begin)?;
        inbox.expect(&mut self.socket, Kind::Begin)?;
        let meter = Meter::start();
        let begun = Instant::now();
        self.next_number = 0;
        self.send_for(measured)?;
        self.mark(Kind::End)?;
        let report = inbox.expect(&mut self.socket, Kind::Report)?;
        let elapsed = begun.elapsed();
        let cost = meter.cost();
        let tally = Tally::from_bytes(report).ok_or(FloorError::Confused)?;
        Ok(super::outcome(elapsed, self.next_number, cost, tally))
    }

    fn send_for(&mut self, duration: Duration) -> io::Result<()> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            self.fill();
            self.finish_sending()?;
            std::mem::swap(&mut self.filling, &mut self.sending);
            self.taken = self.socket.write(&self.sending)?;
        }
        self.finish_sending()
    }

    fn fill(&mut self) {
        let record_bytes = HEADER_BYTES + self.payload.len();
        for run in self.filling.chunks_mut(RECORDS_PER_SEAL * record_bytes) {
            for target in run.chunks_exact_mut(record_bytes) {
                record::write(target, Kind::Data, self.next_number, self.payload);
                self.next_number += 1;
            }
            run.chunks_exact_mut(record_bytes).for_each(record::seal);
        }
    }

    fn finish_sending(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.sending[self.taken..])?;
        self.taken = self.sending.len();
        Ok(())
    }

    fn mark(&mut self, kind: Kind) -> io::Result<()> {
        super::send_record(&mut self.socket, kind, &[0; PAYLOAD_BYTES_MIN])
    }
}

/// Receives one sender's records until its `End`.
///
/// # Errors
/// When the peer is gone or sends what no sender sends.
pub(crate) fn receive(mut socket: Socket, payload_bytes: usize) -> Result<(), FloorError> {
    let mut inbox = Inbox::new(payload_bytes);
    let mut tally = Tally::default();
    let mut meter = Meter::start();
    loop {
        inbox.fill(&mut socket)?;
        while let Some(record) = inbox.next()? {
            match record.kind {
                Kind::Data => {
                    tally.sum = tally.sum.wrapping_add(record.number());
                    tally.records += 1;
                }
                Kind::Begin => {
                    tally = Tally::default();
                    meter = Meter::start();
                    super::send_record(&mut socket, Kind::Begin, &[0; PAYLOAD_BYTES_MIN])?;
                }
                Kind::End => {
                    tally.cost = meter.cost();
                    super::send_record(&mut socket, Kind::Report, &tally.to_bytes())?;
                    return Ok(());
                }
                Kind::Report => return Err(FloorError::Confused),
            }
        }
    }
}
