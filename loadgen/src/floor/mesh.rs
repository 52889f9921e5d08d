//! The floor of `mesh`: records from one thread to another through a bare ring of one producer and
//! one consumer.
//!
//! What travels through the ring are slabs of records, and they go home through a second ring. So a
//! record is written once, where it is read; there is no copy, no allocation, and one store of an
//! index per batch. The reader sums the first 8 bytes of every record, as in the other floors. It
//! has no header and no checksum: nothing can be lost or damaged on the way.
//!
//! After the measured interval records go one at a time. A latency is half of a round trip of that
//! kind: the way there is the way back.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::FloorError;
use super::tally::Tally;
use crate::cost::Meter;
use crate::latency::Latencies;
use crate::pattern;
use crate::placement;
use crate::plan::{Outcome, Plan, one_by_one};

/// Bytes of a slab of small records.
const SLAB_BYTES: usize = 64 * 1024;

/// A slab of large records holds this many.
const SLAB_RECORDS_MIN: usize = 4;

/// Slabs under way: one being written, one being read, and one on each way.
const SLABS: usize = 4;

/// Bytes of a record's number.
const NUMBER_BYTES: usize = 8;

/// A batch on its way: records there, and what was read of them back.
struct Slab {
    bytes: Vec<u8>,
    /// How many records to read.
    records: usize,
    /// What the reader found.
    read: Tally,
}

/// The writing end.
struct Writer {
    there: Producer<Slab>,
    home: Consumer<Slab>,
    /// Slabs that are home.
    idle: Vec<Slab>,
    payload: &'static [u8],
    next_number: u64,
    tally: Tally,
    cpu_is_shared: bool,
}

/// Plays both halves of `plan` in this process, the writer on this thread.
///
/// # Errors
/// When the other thread cannot be started where it should run, or ended.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, FloorError> {
    let record_bytes = plan.round.payload_bytes;
    let (there, inbox) = RingBuffer::new(SLABS);
    let (back, home) = RingBuffer::new(SLABS);
    let records = (SLAB_BYTES / record_bytes).max(SLAB_RECORDS_MIN);
    let slab = || Slab {
        bytes: vec![0; records * record_bytes],
        records: 0,
        read: Tally::default(),
    };
    let writer = Writer {
        there,
        home,
        idle: (0..SLABS).map(|_| slab()).collect(),
        payload: pattern::first(record_bytes),
        next_number: 0,
        tally: Tally::default(),
        cpu_is_shared: plan.cpu_is_shared,
    };
    let (cpu, cpu_is_shared) = (plan.other_cpu, plan.cpu_is_shared);
    thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("reader".to_owned())
            .spawn_scoped(scope, move || {
                placement::pin_this_thread(cpu)?;
                read(inbox, back, record_bytes, cpu_is_shared);
                Ok(())
            })?;
        let outcome = writer.run(plan.round.warm_up, plan.round.measured);
        // Its rings ended with the writer's.
        let ended = reader.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the reader panicked")))?;
        outcome
    })
}

impl Writer {
    fn run(mut self, warm_up: Duration, measured: Duration) -> Result<Outcome, FloorError> {
        self.write_for(warm_up)?;
        self.next_number = 0;
        self.tally = Tally::default();
        let meter = Meter::start();
        let begun = Instant::now();
        self.write_for(measured)?;
        let elapsed = begun.elapsed();
        let cost = meter.cost();
        let mut outcome = super::outcome(elapsed, self.next_number, cost, self.tally);
        let mut latencies = Latencies::new();
        let alone = one_by_one(measured);
        self.time_for(alone, &mut latencies)?;
        outcome.latency = Some(latencies.to_recorded());
        Ok(outcome)
    }

    /// Ends when everything was read.
    fn write_for(&mut self, duration: Duration) -> Result<(), FloorError> {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            let slab = self.idle_slab()?;
            self.send(slab, usize::MAX)?;
        }
        while self.idle.len() < SLABS {
            self.take_home()?;
        }
        Ok(())
    }

    fn time_for(
        &mut self,
        duration: Duration,
        latencies: &mut Latencies,
    ) -> Result<(), FloorError> {
        let mut sent = Instant::now();
        let until = sent + duration;
        while sent < until {
            let slab = self.idle_slab()?;
            self.send(slab, 1)?;
            self.take_home()?;
            let back = Instant::now();
            latencies.record((back - sent) / 2);
            sent = back;
        }
        Ok(())
    }

    fn idle_slab(&mut self) -> Result<Slab, FloorError> {
        loop {
            match self.idle.pop() {
                Some(slab) => return Ok(slab),
                None => self.take_home()?,
            }
        }
    }

    /// Writes as many records as fit, up to `records_max`, and hands them over.
    fn send(&mut self, mut slab: Slab, records_max: usize) -> Result<(), FloorError> {
        let targets = slab.bytes.chunks_exact_mut(self.payload.len());
        slab.records = 0;
        for target in targets.take(records_max) {
            target[..NUMBER_BYTES].copy_from_slice(&self.next_number.to_le_bytes());
            target[NUMBER_BYTES..].copy_from_slice(&self.payload[NUMBER_BYTES..]);
            self.next_number += 1;
            slab.records += 1;
        }
        // The ring has room for every slab there is.
        self.there.push(slab).map_err(|_| FloorError::Confused)
    }

    /// Waits for the next slab.
    fn take_home(&mut self) -> Result<(), FloorError> {
        loop {
            // Asked first: what the reader sent before it ended is still taken.
            let last_look = self.home.is_abandoned();
            if let Ok(slab) = self.home.pop() {
                self.tally.records += slab.read.records;
                self.tally.sum = self.tally.sum.wrapping_add(slab.read.sum);
                self.idle.push(slab);
                return Ok(());
            }
            if last_look {
                return Err(FloorError::Peer(io::ErrorKind::BrokenPipe.into()));
            }
            wait(self.cpu_is_shared);
        }
    }
}

/// Reads slabs and sends them home until the writer is gone.
fn read(
    mut inbox: Consumer<Slab>,
    mut back: Producer<Slab>,
    record_bytes: usize,
    cpu_is_shared: bool,
) {
    loop {
        let Ok(mut slab) = inbox.pop() else {
            if inbox.is_abandoned() {
                return;
            }
            wait(cpu_is_shared);
            continue;
        };
        slab.read = Tally::default();
        for record in slab.bytes.chunks_exact(record_bytes).take(slab.records) {
            if let Some(number) = record.first_chunk() {
                slab.read.sum = slab.read.sum.wrapping_add(u64::from_le_bytes(*number));
                slab.read.records += 1;
            }
        }
        if back.push(slab).is_err() {
            return;
        }
    }
}

fn wait(cpu_is_shared: bool) {
    if cpu_is_shared {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}
