//! The log of one node, kept for the test to read.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Lines of a log, in order. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// How long a line may take that another process writes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Log {
    /// Keeps what this thread logs, from the level `info` up, until the guard drops.
    #[must_use]
    pub fn capture(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// Adds a line.
    pub fn push(&self, line: String) {
        self.locked().push(line);
        self.shared.more.notify_all();
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.locked().clone()
    }

    /// The lines that hold `text`, when there are `count` of them.
    ///
    /// # Panics
    /// When they take longer than half a minute.
    pub fn wait_for(&self, text: &str, count: usize) -> Vec<String> {
        let has_too_few = |lines: &mut Vec<String>| {
            let found = lines.iter().filter(|line| line.contains(text));
            found.count() < count
        };
        let waited = self
            .shared
            .more
            .wait_timeout_while(self.locked(), PATIENCE, has_too_few);
        let (lines, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "{count} lines with {text}: {lines:#?}"
        );
        drop(lines);
        self.with(text)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The last lines so far, at most `count`.
    pub fn last(&self, count: usize) -> Vec<String> {
        let mut lines = self.lines();
        lines.split_off(lines.len().saturating_sub(count))
    }

    /// The lines that tell of no slow turn: a busy machine makes these in any test.
    pub fn untimed(&self) -> Vec<String> {
        let slow = [
            "handlers held their core for too long",
            "a core does not turn",
            "a core did not turn",
        ];
        let mut lines = self.lines();
        lines.retain(|line| !slow.iter().any(|text| line.contains(text)));
        lines
    }

    /// The warnings, but for those of slow turns.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines = self.untimed();
        lines.retain(|line| line.contains("WARN"));
        lines
    }

    /// The lines that hold `text`.
    pub fn with(&self, text: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(text));
        lines
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter {
            log: self.clone(),
            bytes: Vec::new(),
        }
    }
}

/// Takes the bytes of one event.
#[derive(Debug)]
pub struct LineWriter {
    log: Log,
    bytes: Vec<u8>,
}

impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.bytes).lines() {
            self.log.push(line.to_owned());
        }
    }
}
