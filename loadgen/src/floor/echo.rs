//! The floor of `echo`: one record there and back, by plain system calls.

use std::time::{Duration, Instant};

use super::FloorError;
use super::inbox::Inbox;
use super::record::{self, HEADER_BYTES, Kind, PAYLOAD_BYTES_MIN};
use super::socket::Socket;
use super::tally::{TALLY_BYTES, Tally};
use crate::cost::Meter;
use crate::latency::Latencies;
use crate::pattern;
use crate::plan::Outcome;

/// The asking half: one record in flight.
#[derive(Debug)]
pub(crate) struct Asker {
    socket: Socket,
    inbox: Inbox,
    payload: &'static [u8],
    record: Vec<u8>,
    next_number: u64,
}

impl Asker {
    /// Prepares to ask with records of `payload_bytes`.
    pub(crate) fn new(socket: Socket, payload_bytes: usize) -> Self {
        Self {
            socket,
            inbox: Inbox::new(payload_bytes.max(TALLY_BYTES)),
            payload: pattern::first(payload_bytes),
            record: vec![0; HEADER_BYTES + payload_bytes],
            next_number: 0,
        }
    }

    /// Asks for `warm_up`, then for `measured`.
    ///
    /// # Errors
    /// When the peer is gone or answers what was not asked.
    pub(crate) fn run(
        mut self,
        warm_up: Duration,
        measured: Duration,
    ) -> Result<Outcome, FloorError> {
        let mut latencies = Latencies::new();
        self.ask_for(warm_up, &mut latencies)?;
        latencies.clear();
        super::send_record(&mut self.socket, Kind::Begin, &[0; PAYLOAD_BYTES_MIN])?;
        self.inbox.expect(&mut self.socket, Kind::Begin)?;
        let meter = Meter::start();
        let begun = Instant::now();
        self.next_number = 0;
        self.ask_for(measured, &mut latencies)?;
        let elapsed = begun.elapsed();
        let cost = meter.cost();
        super::send_record(&mut self.socket, Kind::End, &[0; PAYLOAD_BYTES_MIN])?;
        let report = self.inbox.expect(&mut self.socket, Kind::Report)?;
        let tally = Tally::from_bytes(report).ok_or(FloorError::Confused)?;
        let mut outcome = super::outcome(elapsed, self.next_number, cost, tally);
        outcome.latency = Some(latencies.to_recorded());
        Ok(outcome)
    }

    fn ask_for(&mut self, duration: Duration, latencies: &mut Latencies) -> Result<(), FloorError> {
        let mut asked = Instant::now();
        let until = asked + duration;
        while asked < until {
            self.ask()?;
            let answered = Instant::now();
            latencies.record(answered - asked);
            asked = answered;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), FloorError> {
        let number = self.next_number;
        record::encode(&mut self.record, Kind::Data, number, self.payload);
        self.socket.write_all(&self.record)?;
        let answer = self.inbox.expect(&mut self.socket, Kind::Data)?;
        if answer.first_chunk() != Some(&number.to_le_bytes()) {
            return Err(FloorError::Confused);
        }
        self.next_number += 1;
        Ok(())
    }
}

/// Answers one asker's records with the same bytes until its `End`.
///
/// # Errors
/// When the peer is gone or asks what no asker asks.
pub(crate) fn answer(mut socket: Socket, payload_bytes: usize) -> Result<(), FloorError> {
    let mut inbox = Inbox::new(payload_bytes);
    let mut reply = vec![0; HEADER_BYTES + payload_bytes];
    let mut tally = Tally::default();
    let mut meter = Meter::start();
    loop {
        inbox.fill(&mut socket)?;
        while let Some(asked) = inbox.next()? {
            match asked.kind {
                Kind::Data if asked.payload.len() == payload_bytes => {
                    tally.sum = tally.sum.wrapping_add(asked.number());
                    tally.records += 1;
                    record::encode(&mut reply, Kind::Data, asked.number(), asked.payload);
                    socket.write_all(&reply)?;
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
                Kind::Data | Kind::Report => return Err(FloorError::Confused),
            }
        }
    }
}
