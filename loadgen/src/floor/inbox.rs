//! Received bytes of the floor: one large warm buffer, parsed in place.

use std::io;

use super::FloorError;
use super::record::{self, HEADER_BYTES, Kind, Record, RecordError};
use super::socket::Socket;

/// Bytes of the buffer while records are small: it stays in the second-level cache.
const BUFFER_BYTES: usize = 256 * 1024;

/// The buffer holds this many of the largest records.
const RECORDS_MIN: usize = 4;

/// A receive buffer and what of it is not parsed yet.
#[derive(Debug)]
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    payload_bytes_max: usize,
    start: usize,
    end: usize,
}

impl Inbox {
    /// Prepares for records of at most `payload_bytes_max`.
    pub(crate) fn new(payload_bytes_max: usize) -> Self {
        let record_bytes = HEADER_BYTES + payload_bytes_max;
        let buffer = vec![0; BUFFER_BYTES.max(RECORDS_MIN * record_bytes)];
        Self {
            buffer,
            payload_bytes_max,
            start: 0,
            end: 0,
        }
    }

    /// Reads once more from `socket`, waiting for the first byte. Moves the tail to the front only
    /// when too little room is left behind it.
    ///
    /// # Errors
    /// The error of the socket.
    pub(crate) fn fill(&mut self, socket: &mut Socket) -> io::Result<()> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.buffer.len() - self.end < self.buffer.len() / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.end += socket.read(&mut self.buffer[self.end..])?;
        Ok(())
    }

    /// The next whole record, in place.
    ///
    /// # Errors
    /// When the stream holds something else.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, RecordError> {
        let record = record::decode(&self.buffer[self.start..self.end], self.payload_bytes_max)?;
        if let Some(record) = &record {
            self.start += record.bytes();
        }
        Ok(record)
    }

    /// Waits for the next record and returns its payload.
    ///
    /// # Errors
    /// [`FloorError::Confused`] when it is of another kind; when the peer is gone.
    pub(crate) fn expect(&mut self, socket: &mut Socket, kind: Kind) -> Result<&[u8], FloorError> {
        let bytes = loop {
            match self.next()? {
                Some(record) if record.kind == kind => break record.bytes(),
                Some(_) => return Err(FloorError::Confused),
                None => self.fill(socket)?,
            }
        };
        Ok(&self.buffer[self.start - bytes + HEADER_BYTES..self.start])
    }
}
