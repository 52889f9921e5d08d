//! Nodes as processes of their own, which a test starts, reads and ends.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::example::example;
use crate::room::{Room, room};

/// No test waits for anything for longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// When silence has to make a member unreachable, counted from its begin.
pub(crate) const UNREACHABLE: RangeInclusive<Duration> =
    Duration::from_millis(3500)..=Duration::from_millis(6500);

/// What the others may take to give members up that they lost: to find it out, and to be sure.
pub(crate) const REMOVAL: Duration = Duration::from_secs(16);

/// The program of the example.
pub(crate) fn program() -> PathBuf {
    example("node")
}

/// Addresses of the loopback that are nobody else's: a port that a node leaves for a while is not
/// given to another one, nor to a connection.
pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let group = GIVEN.fetch_add(1, Ordering::Relaxed) % 250;
    let process = std::process::id();
    // Below the ports that the kernel gives to connections.
    let (net, port) = (10 + process % 200, 10_000 + process / 200 % 20_000);
    let address = |host| format!("127.{net}.{group}.{}:{port}", host + 1);
    (0..count).map(address).collect()
}

/// Waits until nobody listens at an address of a node that was killed. The kernel takes its ring
/// apart behind the end of the process, and until then the accept under way there holds the
/// listener: for up to a tenth of a second, where a plain socket is free at once.
pub(crate) fn wait_until_free(address: &str) {
    let deadline = Instant::now() + PATIENCE;
    while TcpListener::bind(address).is_err() {
        assert!(Instant::now() < deadline, "{address} stays taken");
        thread::yield_now();
    }
}

/// A line that a node printed, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) line: Value,
    pub(crate) at: Instant,
}

impl Said {
    pub(crate) fn is(&self, event: &str) -> bool {
        self.line["event"] == event
    }

    /// Whether it is an event about the node at an address.
    pub(crate) fn is_of(&self, event: &str, member: &str) -> bool {
        self.is(event) && self.line["member"] == member
    }
}

/// A node that runs. It ends with the test, whatever becomes of that.
pub(crate) struct Node {
    pub(crate) address: String,
    child: Child,
    stdin: RefCell<Option<ChildStdin>>,
    lines: Receiver<Said>,
    said: RefCell<Vec<Said>>,
    /// Given back once it has ended.
    _room: Rc<Room>,
}

impl Node {
    /// Starts a node at an address, with these seeds, and more arguments.
    pub(crate) fn start(program: &Path, address: &str, seeds: &[String], more: &[&str]) -> Self {
        Self::launch(Command::new(program), address, seeds, more)
    }

    /// The same with a command that ends in the program.
    pub(crate) fn launch(
        mut command: Command,
        address: &str,
        seeds: &[String],
        more: &[&str],
    ) -> Self {
        command.args(["--bind", address, "--json"]).args(more);
        for seed in seeds {
            command.args(["--seed", seed]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let room = room();
        let mut child = command.spawn().expect("the example starts");
        let stdout = child.stdout.take().expect("it was asked for");
        let stdin = child.stdin.take().expect("it was asked for");
        let (say, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("each line is JSON");
                let at = Instant::now();
                if say.send(Said { line, at }).is_err() {
                    return;
                }
            }
        });
        Self {
            address: address.to_owned(),
            child,
            stdin: RefCell::new(Some(stdin)),
            lines,
            said: RefCell::default(),
            _room: room,
        }
    }

    /// Waits for a line that is wanted, unless one came already. Says when it came.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        if let Some(said) = self.said.borrow().iter().find(|said| wanted(said)) {
            return said.clone();
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(said) = self.lines.recv_timeout(left) else {
                let said = self.said.borrow();
                panic!("{}: no {what} in {PATIENCE:?}: {said:#?}", self.address);
            };
            self.said.borrow_mut().push(said.clone());
            if wanted(&said) {
                return said;
            }
        }
    }

    /// Waits for an event about the node at an address.
    pub(crate) fn wait_for_event(&self, event: &str, member: &str) -> Instant {
        let what = format!("{event} {member}");
        self.wait_for(&what, |said| said.is_of(event, member)).at
    }

    /// Whether a wanted line comes in a while, or has come.
    pub(crate) fn says_within(&self, span: Duration, wanted: impl Fn(&Said) -> bool) -> bool {
        let deadline = Instant::now() + span;
        while !self.has_said(&wanted) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(said) = self.lines.recv_timeout(left) else {
                return false;
            };
            self.said.borrow_mut().push(said);
        }
        true
    }

    /// How many wanted lines have come so far.
    pub(crate) fn count(&self, wanted: impl Fn(&Said) -> bool) -> usize {
        self.said.borrow_mut().extend(self.lines.try_iter());
        self.said
            .borrow()
            .iter()
            .filter(|said| wanted(said))
            .count()
    }

    /// Whether a wanted line has come so far.
    pub(crate) fn has_said(&self, wanted: impl Fn(&Said) -> bool) -> bool {
        self.said.borrow_mut().extend(self.lines.try_iter());
        self.said.borrow().iter().any(wanted)
    }

    /// Forgets what was said so far: what is waited for from now on is news.
    pub(crate) fn forget(&self) {
        self.said.borrow_mut().extend(self.lines.try_iter());
        self.said.borrow_mut().clear();
    }

    /// Gives a command, and waits for its answer.
    pub(crate) fn command(&self, line: &str) -> Value {
        self.command_of(line.as_bytes())
    }

    /// The same with bytes that may be no text.
    pub(crate) fn command_of(&self, line: &[u8]) -> Value {
        let answers = ["ok", "error", "state", "why"];
        // A decision with what it follows from is no event.
        let explains = |said: &Said| said.is("decision") && said.line.get("inputs").is_some();
        let is_answer =
            |said: &Said| answers.iter().any(|answer| said.is(answer)) || explains(said);
        self.said.borrow_mut().retain(|said| !is_answer(said));
        let mut stdin = self.stdin.borrow_mut();
        let stdin = stdin.as_mut().expect("it was not ended");
        let written = stdin.write_all(&[line, b"\n"].concat());
        written.expect("it reads commands");
        self.wait_for("an answer", is_answer).line
    }

    /// Ends what it reads.
    pub(crate) fn end_commands(&self) {
        self.stdin.borrow_mut().take();
    }

    /// All that it said, once it has ended.
    pub(crate) fn all_said(mut self) -> Vec<Value> {
        self.child.wait().expect("it ends");
        let mut said = self.said.take();
        said.extend(self.lines.iter());
        said.into_iter().map(|said| said.line).collect()
    }

    /// How long its threads ran so far, together.
    pub(crate) fn ran(&self) -> Duration {
        /// What the kernel counts it in.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        // Behind the name, which may hold anything: user and system time are the 12th and 13th.
        let (_, rest) = stat.rsplit_once(')').expect("it has a name");
        let times = rest.split_whitespace().skip(11).take(2);
        let ticks = times.map(|it| it.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("there is a kill").success());
    }

    /// Waits for its end. Gives the exit code, which it says last.
    pub(crate) fn wait(mut self) -> i32 {
        let said = self.wait_for("exit", |said| said.is("exit"));
        let code = self.child.wait().expect("it ends").code();
        assert_eq!(said.line["code"], code.unwrap_or(-1));
        code.expect("it was not killed")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster of nodes that were all up.
pub(crate) struct Nodes(pub(crate) Vec<Node>);

impl Nodes {
    /// Starts so many and waits until all know that all are up.
    pub(crate) fn up(program: &Path, count: usize) -> Self {
        let addresses = free_addresses(count);
        let nodes = addresses
            .iter()
            .map(|address| Node::start(program, address, &addresses, &[]));
        let nodes = Self(nodes.collect());
        nodes.wait_until_up();
        nodes
    }

    /// Waits until all know that all are up. Says when the last one did.
    pub(crate) fn wait_until_up(&self) -> Instant {
        let all = self.0.iter().map(|node| node.address.as_str());
        let times = all.map(|member| self.wait_for_event("up", member));
        times.max().expect("there are nodes")
    }

    /// Waits until all have told of an event. Says when the last one did.
    pub(crate) fn wait_for_event(&self, event: &str, member: &str) -> Instant {
        let times = self.0.iter().map(|node| node.wait_for_event(event, member));
        times.max().expect("there are nodes")
    }

    /// Forgets what was said so far.
    pub(crate) fn forget(&self) {
        self.0.iter().for_each(Node::forget);
    }

    /// The number of the one cluster that they are in.
    pub(crate) fn cluster(&self) -> String {
        let ids = self.0.iter().map(|node| {
            let state = node.command("state");
            state["cluster_id"]
                .as_str()
                .expect("it is in one")
                .to_owned()
        });
        let ids: std::collections::BTreeSet<String> = ids.collect();
        assert_eq!(ids.len(), 1, "one cluster: {ids:?}");
        ids.into_iter().next().expect("one")
    }
}

/// Waits until a node has written down in its directory who is in its cluster, each as a member in
/// full: one that is on its way in counts for less when it is asked whether the cluster is over.
pub(crate) fn wait_until_written(directory: &Path, cluster: &str, addresses: &[String]) {
    let deadline = Instant::now() + PATIENCE;
    let file = directory.join("cluster.state");
    let is_written = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let is_in = |address: &String| {
            let mut members = text.lines().filter(|line| line.starts_with("member "));
            members.any(|line| line.contains(address))
        };
        text.contains(cluster) && addresses.iter().all(is_in)
    };
    while !is_written() {
        assert!(Instant::now() < deadline, "nothing in {directory:?}");
        thread::yield_now();
    }
}

/// Prints how long something took, and fails at twice its bound.
pub(crate) fn within(what: &str, took: Duration, bound: Duration) {
    println!("{what}: {took:.3?} (bound {bound:?})");
    assert!(took <= 2 * bound, "{what} took {took:?}");
}

/// Prints when something happened first and last, and fails at half the earliest it should and at
/// twice the latest.
pub(crate) fn between(
    what: &str,
    first: Duration,
    last: Duration,
    bounds: RangeInclusive<Duration>,
) {
    println!("{what}: {first:.3?} to {last:.3?} (bounds {bounds:?})");
    assert!(
        2 * first >= *bounds.start(),
        "{what} after {first:?} already"
    );
    assert!(last <= 2 * *bounds.end(), "{what} after {last:?} only");
}
