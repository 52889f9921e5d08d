//! The commands of the control port: lines of bounded length, however they come.

#[path = "../../../engine/src/control/lines.rs"]
mod lines;

use std::io::{self, Read};

use lines::{LINE_BYTES_MAX, Line, Lines};

/// The first byte says in pieces of which length the rest comes: as many bytes, and one.
///
/// # Panics
/// When what is read depends on how it comes, is longer than a line may be, or is not what was
/// sent.
pub fn control(bytes: &[u8]) {
    let Some((piece, sent)) = bytes.split_first() else {
        return;
    };
    let all = read(sent, usize::MAX);
    assert_eq!(all, read(sent, 1 + usize::from(*piece)));
    let mut left = sent;
    for line in &all {
        let end = left.iter().position(|byte| *byte == b'\n');
        match line {
            Line::Command(command) => {
                let end = end.expect("a command ends with its line");
                assert!(end < LINE_BYTES_MAX && command.len() <= end);
                let text = std::str::from_utf8(&left[..end]).expect("a command is text");
                assert_eq!(text.trim(), command);
                left = &left[end + 1..];
            }
            Line::Unreadable => {
                let is_text = |end| std::str::from_utf8(&left[..end]).is_ok();
                assert!(end.is_none_or(|end| end >= LINE_BYTES_MAX || !is_text(end)));
                return;
            }
            Line::End => {
                assert!(end.is_none() && left.len() < LINE_BYTES_MAX);
            }
        }
    }
}

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

/// All lines up to the end, or to one that ends the session.
fn read(bytes: &[u8], piece: usize) -> Vec<Line> {
    let mut lines = Lines::new(Pieces(bytes, piece));
    let mut all = Vec::new();
    loop {
        all.push(lines.next().expect("reading from memory succeeds"));
        if !matches!(all.last(), Some(Line::Command(_))) {
            return all;
        }
    }
}

/// Commands as clients send them, and what is none.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let long = |len: usize| [&vec![b'a'; len][..], b"\n"].concat();
    let seed = |name: &str, piece: u8, sent: &[u8]| {
        let mut bytes = vec![piece];
        bytes.extend(sent);
        (name.to_owned(), bytes)
    };
    vec![
        seed("commands", 6, b"links\nmetrics\r\n events \nconfig\nhelp\n"),
        seed("blank", 0, b"\n\r\n  \n"),
        seed("half", 3, b"links\nmetr"),
        seed("no-text", 1, b"help\n\xFF\xFE\n"),
        seed("longest", 200, &long(LINE_BYTES_MAX - 1)),
        seed("too-long", 200, &long(LINE_BYTES_MAX)),
        seed("http", 15, b"GET / HTTP/1.1\r\nHost: node\r\n\r\n"),
    ]
}
