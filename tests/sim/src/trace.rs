//! What happened, as one number: two runs that did the same have the same hash.

use std::fmt;
use std::io::Write;

use ringmesh_proto::time::Instant;

use crate::random::mix;

/// A running hash over everything that happens in a world, and the same as lines of text if
/// somebody wants to read it.
pub struct Trace {
    hash: u64,
    events: u64,
    lines: Option<Box<dyn Write>>,
}

impl Trace {
    /// A trace that only hashes.
    pub fn hashed() -> Self {
        Self {
            hash: 0,
            events: 0,
            lines: None,
        }
    }

    /// A trace that writes a line for each event, too. What cannot be written is left out.
    pub fn written(lines: Box<dyn Write>) -> Self {
        Self {
            lines: Some(lines),
            ..Self::hashed()
        }
    }

    /// Something happened: what, and up to three numbers of it.
    pub(crate) fn note(&mut self, at: Instant, what: What, numbers: [u64; 3]) {
        let [first, second, third] = numbers;
        let mut hash = mix(self.hash ^ at.as_nanos());
        hash = mix(hash ^ (what as u64) << 56 ^ first);
        self.hash = mix(mix(hash ^ second) ^ third.rotate_left(32));
        self.events += 1;
        if let Some(lines) = &mut self.lines {
            let micros = at.as_nanos() / 1000;
            let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
            let line = format!("{seconds:>4}.{micros:06} {what:?} {first} {second} {third:#x}\n");
            // Whoever reads it sees where it ends.
            let _ = lines.write_all(line.as_bytes());
        }
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hash, events) = (self.hash, self.events);
        write!(f, "Trace({events} events, {hash:016x})")
    }
}

/// A hash of bytes, eight at a time.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut hash = bytes.len() as u64;
    for word in &mut words {
        let word = word
            .first_chunk()
            .map_or(0, |word| u64::from_le_bytes(*word));
        hash = (hash ^ word)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    for byte in words.remainder() {
        hash = (hash ^ u64::from(*byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
    mix(hash)
}

/// The sorts of events in a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// A step of the script: its number.
    Step,
    /// A fault took effect: its number, its class.
    Fault,
    /// Bytes or an end arrived: connection and end, sort, length.
    Arrived,
    /// A core took its turn: node, core.
    Turn,
    /// A message was taken by a link: node, position, digest.
    Sent,
    /// A message was not: node, why, its length.
    NotSent,
    /// A message was delivered: node, position, digest.
    Delivered,
    /// News of a link: node, sort, uid.
    Link,
    /// A machine's time was up: node, its clock.
    Timeout,
    /// A machine published an event: node, digest.
    Published,
    /// A process began: node, uid.
    Started,
    /// A process ended: node, how.
    Ended,
    /// The store was asked: node, the number of the ask, leases given out so far.
    Store,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_other_event_and_any_other_order_is_another_hash() {
        let run = |events: &[[u64; 3]]| {
            let mut trace = Trace::hashed();
            for event in events {
                trace.note(Instant::ZERO, What::Sent, *event);
            }
            trace.hash()
        };
        let runs = [
            run(&[]),
            run(&[[1, 2, 3]]),
            run(&[[1, 2, 4]]),
            run(&[[2, 1, 3]]),
            run(&[[1, 2, 3], [4, 5, 6]]),
            run(&[[4, 5, 6], [1, 2, 3]]),
        ];
        for (index, hash) in runs.iter().enumerate() {
            assert!(!runs[..index].contains(hash), "{index}");
        }
        assert_eq!(run(&[[1, 2, 3]]), runs[1]);
    }

    #[test]
    fn a_digest_differs_where_the_bytes_do() {
        let bytes = [7; 20];
        for index in 0..bytes.len() {
            let mut other = bytes;
            other[index] = 8;
            assert_ne!(digest(&bytes), digest(&other), "{index}");
        }
        assert_ne!(digest(&bytes), digest(&bytes[..19]));
    }
}
