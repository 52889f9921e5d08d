//! Lines of bounded length from a stream.

use std::io::{self, Read};

/// The longest command, its line break included, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 256;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A command, without its line break and the blanks around it.
    Command(String),
    /// More bytes than a line may have, or such as are no text.
    Unreadable,
    /// It sends nothing more.
    End,
}

/// Reads one line after the other.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: R,
    bytes: [u8; LINE_BYTES_MAX],
    filled: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            bytes: [0; LINE_BYTES_MAX],
            filled: 0,
        }
    }

    /// The next line. What is left of one at the end of the stream is none.
    ///
    /// # Errors
    /// When the stream breaks, or nothing comes in its time.
    pub(super) fn next(&mut self) -> io::Result<Line> {
        loop {
            let held = &self.bytes[..self.filled];
            if let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let text = std::str::from_utf8(&held[..end]).map(|text| text.trim().to_owned());
                self.bytes.copy_within(end + 1..self.filled, 0);
                self.filled -= end + 1;
                return Ok(text.map_or(Line::Unreadable, Line::Command));
            }
            if self.filled == LINE_BYTES_MAX {
                return Ok(Line::Unreadable);
            }
            match self.source.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Ok(Line::End),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes so many at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(bytes: &[u8], piece: usize) -> Vec<Line> {
        let mut lines = Lines::new(Pieces(bytes, piece));
        let mut read = Vec::new();
        loop {
            match lines.next().unwrap() {
                Line::End => return read,
                Line::Unreadable => {
                    read.push(Line::Unreadable);
                    return read;
                }
                line => read.push(line),
            }
        }
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"links\r\n\n  metrics \nhalf";
        for piece in [1, 2, 7, 100] {
            let commands = ["links", "", "metrics"].map(|it| Line::Command(it.to_owned()));
            assert_eq!(lines(text, piece), commands, "{piece}");
        }
    }

    #[test]
    fn one_over_the_bytes_of_a_line_is_unreadable_and_so_is_no_text() {
        let line = |length: usize| [vec![b'a'; length], vec![b'\n']].concat();
        let longest = lines(&line(LINE_BYTES_MAX - 1), 100);
        assert!(matches!(&longest[..], [Line::Command(_)]), "{longest:?}");
        assert_eq!(lines(&line(LINE_BYTES_MAX), 100), [Line::Unreadable]);
        assert_eq!(lines(b"\xff\n", 100), [Line::Unreadable]);
    }
}
