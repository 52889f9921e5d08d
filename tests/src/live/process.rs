//! Nodes in processes of their own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::WAIT;
use super::log::Log;

/// A child process whose lines the test reads. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    descriptor: OwnedFd,
    lines: Receiver<String>,
    log: Log,
    log_reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `program`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<S: AsRef<OsStr>>(program: S, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Starts `command`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (line, lines) = channel();
        // The test may be over, and the rest of the lines without a reader.
        read_lines(child.stdout.take(), move |text| drop(line.send(text)));
        let log = Log::default();
        let sink = log.clone();
        let log_reader = read_lines(child.stderr.take(), move |text| sink.push(text));
        let pid = Pid::from_child(&child);
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).expect("the child is not reaped");
        Self {
            child,
            descriptor,
            lines,
            log,
            log_reader: Some(log_reader),
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its next line on stdout.
    ///
    /// # Panics
    /// If it writes none within [`WAIT`], or ends.
    pub fn line(&self) -> String {
        match self.lines.recv_timeout(WAIT) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no line within {WAIT:?}: {:?}", self.log),
            Err(RecvTimeoutError::Disconnected) => panic!("the process ended: {:?}", self.log),
        }
    }

    /// What follows `key` and a space on its next line.
    ///
    /// # Panics
    /// If the line is another one, or there is none.
    pub fn value(&self, key: &str) -> String {
        let line = self.line();
        let value = line
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("expected `{key}`, read `{line}`"))
            .to_owned()
    }

    /// Ends it without a chance to react.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Asks it to end, as a terminal does.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it is, until it is thawed.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its end, and for its last lines on stderr.
    ///
    /// # Panics
    /// If it does not end `within` that time.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let mut ended = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let timeout = Timespec::try_from(within).expect("a short time");
        let count = poll(&mut ended, Some(&timeout)).expect("the descriptor is open");
        assert!(
            count > 0,
            "the process did not end within {within:?}: {:?}",
            self.log
        );
        let status = self.child.wait().expect("the child was not reaped before");
        if let Some(reader) = self.log_reader.take() {
            reader.join().expect("the reader of stderr does not panic");
        }
        status
    }

    fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.descriptor, signal).expect("the child is not reaped");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            for line in self.log.lines() {
                eprintln!("[process {}] {line}", self.pid());
            }
        }
        // Both fail when it has ended and was waited for, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(
    from: Option<impl Read + Send + 'static>,
    mut line: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    let from = BufReader::new(from.expect("the stream is piped"));
    thread::spawn(move || from.lines().map_while(Result::ok).for_each(&mut line))
}
