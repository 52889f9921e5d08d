//! Ten minutes of everything that a network does: two nodes of two cores, each of which can only be
//! dialled through a proxy with faults, talk to each other with numbered tells and checked asks.
//!
//! `cargo test --release -- --ignored soak` in the root of the workspace runs it.
//! `RINGMESH_SOAK_SECONDS` makes it shorter or longer, `RINGMESH_SOAK_SEED` repeats a run's faults.

use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use ringmesh_fault_proxy::{Action, Direction, Ending, Faults, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Running, loadgen};

/// How long it takes, unless the environment says otherwise.
const SOAK: Duration = Duration::from_secs(600);

/// Between two lines on stderr.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Between two looks at what the processes hold.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a node may take to say anything: the longest fault, and what it leaves behind.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// Shorter runs are not judged by their memory: pools and windows are still filled for the first
/// time.
const JUDGED_FROM: Duration = Duration::from_secs(120);

const CORES: u16 = 2;

/// A node in a process of its own, and the proxy before it.
struct Node {
    running: Running,
    stdin: ChildStdin,
    lines: Receiver<String>,
    pid: Pid,
    held: Vec<Holdings>,
}

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    resident_kib: u64,
    descriptors: u64,
}

impl Node {
    fn start(front: SocketAddr, peer: SocketAddr) -> Self {
        let bind = behind(front);
        let plan = json!({"bind": bind, "front": front, "peer": peer, "cores": CORES});
        let mut command = loadgen("__soak");
        command.arg(plan.to_string()).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let stdin = running.child().stdin.take().expect("piped");
        let stdout = running.child().stdout.take().expect("piped");
        let (line, lines) = channel();
        thread::spawn(move || {
            let mut read = BufReader::new(stdout).lines().map_while(Result::ok);
            read.try_for_each(|text| line.send(text))
        });
        let pid = Pid::from_child(running.child());
        let node = Self {
            running,
            stdin,
            lines,
            pid,
            held: Vec::new(),
        };
        let first = node.line();
        assert!(first.starts_with("listening "), "{first}");
        node
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(ANSWER_TIME_MAX)
            .expect("it answers")
    }

    fn say(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("it lives");
    }

    fn ask(&mut self, word: &str) -> Value {
        self.say(word);
        serde_json::from_str(&self.line()).expect("JSON")
    }

    /// Notes what the process holds now.
    fn look(&mut self) {
        let process = format!("/proc/{}", self.pid.as_raw_nonzero());
        let status = fs::read_to_string(format!("{process}/status")).expect("it lives");
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
            .expect("the kernel says");
        let descriptors = fs::read_dir(format!("{process}/fd")).expect("it lives");
        self.held.push(Holdings {
            resident_kib: resident.parse().expect("a number"),
            descriptors: descriptors.count() as u64,
        });
    }
}

/// Where a node listens whose proxy is at `front`.
fn behind(front: SocketAddr) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), front.port())
}

/// Says it now: what a test prints by macro is held back until it fails.
fn say(what: fmt::Arguments<'_>) {
    // Whoever started the test may have closed it.
    let _ = writeln!(io::stderr(), "soak: {what}");
}

fn from_environment<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{variable} is a number, not {text:?}")))
}

#[test]
#[ignore = "takes ten minutes"]
fn faults_of_every_kind_lose_double_and_reorder_nothing() {
    let time = from_environment("RINGMESH_SOAK_SECONDS").map_or(SOAK, Duration::from_secs);
    let seed = from_environment("RINGMESH_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    say(format_args!(
        "{time:?}, to repeat its faults: RINGMESH_SOAK_SEED={seed}"
    ));
    let proxies = [0, 1].map(|number| {
        let proxy = Proxy::start(None, Faults::with_seed(seed + number)).expect("a free port");
        proxy.set_upstream(behind(proxy.address()));
        proxy
    });
    let fronts = [proxies[0].address(), proxies[1].address()];
    let mut nodes = [
        Node::start(fronts[0], fronts[1]),
        Node::start(fronts[1], fronts[0]),
    ];
    nodes.iter_mut().for_each(|node| node.say("talk"));
    let mischief = Mischief {
        proxies: &proxies,
        pids: [nodes[0].pid, nodes[1].pid],
        rng: Rng::with_seed(seed),
    };
    thread::scope(|scope| {
        let (is_over, over) = channel::<()>();
        let mischief = scope.spawn(move || mischief.until(&over));
        watch(&mut nodes, &proxies, time, is_over);
        let done = mischief.join().expect("faults are made to the end");
        say(format_args!("faults made: {done:?}"));
        assert!(done.iter().sum::<u64>() > time.as_secs() / 4, "{done:?}");
    });
    nodes.iter_mut().for_each(|node| node.say("enough"));
    let verdicts: Vec<Value> = nodes
        .iter()
        .map(|node| serde_json::from_str(&node.line()).expect("JSON"))
        .collect();
    verdicts
        .iter()
        .for_each(|verdict| say(format_args!("{verdict}")));
    judge(&verdicts);
    for node in nodes {
        let Node {
            running,
            stdin,
            held,
            ..
        } = node;
        drop(stdin);
        assert!(running.ends().status.success());
        judge_holdings(&held, time);
    }
}

/// Looks at the nodes until the `time` is over, and then lets the faults end.
fn watch(nodes: &mut [Node; 2], proxies: &[Proxy; 2], time: Duration, is_over: Sender<()>) {
    let (_quiet, quiet) = channel::<()>();
    let begun = Instant::now();
    let mut line_at = LINE_EVERY;
    while begun.elapsed() < time {
        let next_look = LOOK_EVERY.min(time.saturating_sub(begun.elapsed()));
        // Nobody says anything: the faults go on until this ends.
        let _ = quiet.recv_timeout(next_look);
        nodes.iter_mut().for_each(Node::look);
        if begun.elapsed() >= line_at {
            line_at += LINE_EVERY;
            let looks = [nodes[0].ask("look"), nodes[1].ask("look")];
            let held = [nodes[0].held.last(), nodes[1].held.last()];
            let cuts: u64 = proxies.iter().map(|proxy| proxy.counters().cuts).sum();
            let at = begun.elapsed().as_secs();
            let [one, other] = looks;
            say(format_args!("{at} s, {cuts} cuts, {one} {other}, {held:?}"));
        }
    }
    drop(is_over);
}

/// Makes one fault after the other.
struct Mischief<'a> {
    proxies: &'a [Proxy; 2],
    pids: [Pid; 2],
    rng: Rng,
}

/// Kinds of faults.
const KINDS: usize = 8;

impl Mischief<'_> {
    /// Goes on until `over`, heals everything, and says how many of each kind there were.
    fn until(mut self, over: &Receiver<()>) -> [u64; KINDS] {
        let mut done = [0; KINDS];
        loop {
            let kind = self.rng.usize(..KINDS);
            let goes_on = self.make(kind, over) && self.passes(over, 20..=400);
            self.heal();
            done[kind] += 1;
            if !goes_on {
                return done;
            }
        }
    }

    /// Lets some time pass. Says whether it goes on after that.
    fn passes(&mut self, over: &Receiver<()>, millis: std::ops::RangeInclusive<u64>) -> bool {
        let span = Duration::from_millis(self.rng.u64(millis));
        over.recv_timeout(span) == Err(RecvTimeoutError::Timeout)
    }

    fn make(&mut self, kind: usize, over: &Receiver<()>) -> bool {
        let proxy = &self.proxies[self.rng.usize(..2)];
        let way = if self.rng.bool() {
            Direction::ToUpstream
        } else {
            Direction::ToClient
        };
        let ahead = self.rng.u64(1..64 << 10);
        match kind {
            0 | 1 => {
                let ending = if kind == 0 {
                    Ending::Reset
                } else {
                    Ending::Fin
                };
                // A fault that is armed already is as good.
                proxy.arm(way, ahead, Action::Cut(ending));
            }
            2 => drop(proxy.arm(way, ahead, Action::HalfClose)),
            3 => {
                let mask = 1 << self.rng.u8(..8);
                proxy.arm(way, ahead, Action::Flip(mask));
            }
            4 => {
                proxy.change(|faults| faults.way_mut(way).stalled = true);
                return self.passes(over, 50..=1500);
            }
            5 => {
                let rate = NonZeroU64::new(self.rng.u64(50_000..2_000_000));
                let delay = Duration::from_millis(self.rng.u64(1..40));
                proxy.change(|faults| {
                    let way = faults.way_mut(way);
                    way.bytes_per_second = rate;
                    (way.delay, way.jitter) = (delay, delay);
                });
                return self.passes(over, 300..=2000);
            }
            6 => {
                proxy.change(|faults| faults.way_mut(way).dead = true);
                let goes_on = self.passes(over, 50..=800);
                // No TCP goes on behind bytes that are missing.
                proxy.cut_all(Ending::Reset);
                return goes_on;
            }
            _ => {
                let pid = self.pids[self.rng.usize(..2)];
                // Rare: nothing else happens meanwhile.
                if self.rng.u8(..4) == 0 {
                    kill_process(pid, Signal::STOP).expect("it lives");
                    let goes_on = self.passes(over, 1000..=3000);
                    kill_process(pid, Signal::CONT).expect("it lives");
                    return goes_on;
                }
            }
        }
        true
    }

    /// Takes everything back that lasts.
    fn heal(&self) {
        for proxy in self.proxies {
            let seed = proxy.faults().seed;
            proxy.set(Faults::with_seed(seed));
        }
    }
}

fn number(verdict: &Value, key: &str) -> u64 {
    verdict[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is a number: {verdict}"))
}

/// Nothing was lost, but what a link that was given up accounts for, and nothing came twice, late
/// or damaged.
fn judge(verdicts: &[Value]) {
    let sum = |key| verdicts.iter().map(|it| number(it, key)).sum::<u64>();
    for verdict in verdicts {
        let of = |key| number(verdict, key);
        assert!(of("told") > 0 && of("answered") > 0, "{verdict}");
        for fault in ["duplicated", "reordered", "corrupt", "wrong_answers"] {
            assert_eq!(of(fault), 0, "{fault}: {verdict}");
        }
        assert_eq!(
            of("sent"),
            of("acknowledged") + of("dead_sent") + of("in_flight"),
            "{verdict}"
        );
        assert_eq!(
            of("received"),
            of("delivered") + of("hopped") + of("waiting") + of("dead_received"),
            "{verdict}"
        );
    }
    let lost = sum("told") - sum("arrived");
    let given_up = sum("dead_sent") + sum("dead_received");
    let in_flight = sum("in_flight");
    assert_eq!((lost, in_flight), (0, 0), "{given_up} given up");
    if given_up == 0 {
        let failed = verdicts.iter().map(|verdict| &verdict["failed"]);
        assert!(
            failed.clone().all(|failed| *failed == json!({})),
            "{verdicts:?}"
        );
    }
    assert!(sum("resumed") > 0, "no link was lost and found");
}

/// A process holds at the end what it held before: the median of the last third is not above that
/// of the second by more than 2 % or 2 MiB, nor by more than a few descriptors of connections that
/// come and go.
fn judge_holdings(held: &[Holdings], time: Duration) {
    let third = held.len() / 3;
    let median = |part: &[Holdings], of: fn(&Holdings) -> u64| {
        let mut all: Vec<u64> = part.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let (before, after) = (&held[third..2 * third + 1], &held[2 * third..]);
    let resident = [before, after].map(|part| median(part, |it| it.resident_kib));
    let descriptors = [before, after].map(|part| median(part, |it| it.descriptors));
    say(format_args!(
        "resident {resident:?} KiB, descriptors {descriptors:?}"
    ));
    if time >= JUDGED_FROM {
        let most = resident[0] + (resident[0] / 50).max(2048);
        assert!(resident[1] <= most, "memory grows: {resident:?} KiB");
        assert!(
            descriptors[1] <= descriptors[0] + 4,
            "descriptors grow: {descriptors:?}"
        );
    }
}
