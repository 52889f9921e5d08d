//! Runs random courses of events in virtual time, and says what they covered and broke.
//!
//! Its command line and its lines of output are read by scripts and do not change.

use std::fs::File;
use std::io::BufWriter;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Parser;
use ringmesh_sim::chatter::Chatters;
use ringmesh_sim::members::Members;
use ringmesh_sim::{Canary, Class, Report, Swarm, Tally, Trace};

mod output;

use output::Output;

/// Runs random courses of faults over nodes in virtual time: even seeds over nodes that only talk,
/// odd ones over the members of a cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, required_unless_present_any = ["replay", "list"])]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many to run at a time; as many as there are cores, if it is not said.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
    /// How many nodes a world has: `A..B`, both included.
    #[arg(long, default_value = "3..9")]
    nodes: Span,
    /// How many cores a node has: `A..B`, both included.
    #[arg(long, default_value = "1..4")]
    cores: Span,
    /// The only classes of faults that there may be.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Class>,
    /// A fault of the simulator itself, to be found.
    #[arg(long)]
    canary: Option<Canary>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Runs one seed.
    #[arg(long, conflicts_with_all = ["seeds", "list"])]
    replay: Option<u64>,
    /// Where to write what happens in it.
    #[arg(long, requires = "replay", conflicts_with_all = ["seeds", "list"])]
    trace: Option<PathBuf>,
    /// Names the classes of faults, and the canaries.
    #[arg(long)]
    list: bool,
}

/// `A..B`, both included, or one number.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u16,
    last: u16,
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse().map_err(|error| format!("`{text}`: {error}"));
        let span = Self {
            first: number(first)?,
            last: number(last)?,
        };
        match 1 <= span.first && span.first <= span.last {
            true => Ok(span),
            false => Err("the first is at least 1, and at most the last".to_owned()),
        }
    }
}

impl Span {
    fn text(self) -> String {
        format!("{}..{}", self.first, self.last)
    }
}

/// The most nodes of a world.
const NODES_MAX: u16 = 1024;

/// The most cores of a node.
const CORES_MAX: u16 = 256;

/// Of how many seeds one is run a second time.
const TWICE: u64 = 100;

/// The most violations that are described.
const VIOLATIONS_SHOWN: usize = 10;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (said, code) = run(&arguments);
    print!("{said}");
    ExitCode::from(code)
}

/// Does what was asked for: what there is to say, and the exit code.
fn run(arguments: &Arguments) -> (String, u8) {
    let mut output = Output {
        json: arguments.json,
        ..Output::default()
    };
    if arguments.list {
        output.list();
        return (output.lines, 0);
    }
    // Fewer than two have nothing to say to each other.
    let fits = 2 <= arguments.nodes.first
        && arguments.nodes.last <= NODES_MAX
        && arguments.cores.last <= CORES_MAX;
    if !fits {
        eprintln!("sim: a world has 2 to {NODES_MAX} nodes, each of 1 to {CORES_MAX} cores");
        return (output.lines, 2);
    }
    let code = match arguments.replay {
        Some(seed) => replay(arguments, &mut output, seed),
        None => sweep(arguments, &mut output, arguments.seeds.unwrap_or(0)),
    };
    (output.lines, code)
}

impl Arguments {
    fn swarm(&self) -> Swarm {
        let Span { first, last } = self.nodes;
        let nodes: RangeInclusive<usize> = first.into()..=last.into();
        Swarm {
            nodes,
            cores: self.cores.first..=self.cores.last,
            only: self.only.clone(),
            canary: self.canary,
            ..Swarm::default()
        }
    }

    /// What runs a seed again, as it was run here.
    fn replay_line(&self, seed: u64) -> String {
        let (nodes, cores) = (self.nodes.text(), self.cores.text());
        let mut line = format!("sim --replay {seed} --nodes {nodes} --cores {cores}");
        if !self.only.is_empty() {
            let only: Vec<&str> = self.only.iter().map(|class| class.label()).collect();
            line += &format!(" --only {}", only.join(","));
        }
        if let Some(canary) = self.canary {
            line += &format!(" --canary {}", canary.label());
        }
        line
    }
}

/// Runs a seed: an even one with nodes that only talk, whose links carry more, and an odd one with
/// the members of a cluster.
fn run_seed(swarm: &Swarm, seed: u64, trace: Trace) -> Report {
    match swarm.canary {
        Some(it) if it.is_of_members() => {
            ringmesh_sim::run(&Members::default(), swarm, seed, trace)
        }
        _ if seed % 2 == 1 => ringmesh_sim::run(&Members::default(), swarm, seed, trace),
        _ => ringmesh_sim::run(&Chatters, swarm, seed, trace),
    }
}

/// Runs one seed, and writes down what happens in it.
fn replay(arguments: &Arguments, output: &mut Output, seed: u64) -> u8 {
    let began = Instant::now();
    let trace = match &arguments.trace {
        None => Trace::hashed(),
        Some(path) => match File::create(path) {
            Ok(file) => Trace::written(Box::new(BufWriter::new(file))),
            Err(error) => {
                eprintln!("sim: {}: {error}", path.display());
                return 2;
            }
        },
    };
    let report = run_seed(&arguments.swarm(), seed, trace);
    let mut tally = Tally::default();
    tally.add(&report);
    if let Some(violation) = &report.violation {
        output.violation(seed, violation, &arguments.replay_line(seed));
    }
    conclude(arguments, output, &tally, began)
}

/// Runs many seeds, some at a time. What is said depends neither on that nor on the time it takes.
fn sweep(arguments: &Arguments, output: &mut Output, seeds: u64) -> u8 {
    let began = Instant::now();
    let swarm = arguments.swarm();
    let first = arguments.first;
    let next = AtomicU64::new(0);
    let jobs = arguments.jobs.map_or_else(
        || thread::available_parallelism().map_or(1, NonZero::get),
        NonZero::get,
    );
    let (reports, arrived) = mpsc::sync_channel::<(Report, Option<Report>)>(jobs);
    let mut tally = Tally::default();
    let mut broken = Vec::new();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (swarm, next, reports) = (&swarm, &next, reports.clone());
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let run = || run_seed(swarm, seed, Trace::hashed());
                    let report = run();
                    let again = (number % TWICE == 0).then(run);
                    if reports.send((report, again)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        for (report, again) in arrived {
            tally.add(&report);
            if let Some(again) = again
                && let Err(violation) = tally.compare(&report, &again)
            {
                broken.push((report.seed, violation));
            }
            broken.extend(report.violation.map(|violation| (report.seed, violation)));
        }
    });
    broken.sort_by_key(|(seed, _)| *seed);
    for (seed, violation) in broken.iter().take(VIOLATIONS_SHOWN) {
        output.violation(*seed, violation, &arguments.replay_line(*seed));
    }
    conclude(arguments, output, &tally, began)
}

/// Says what was covered, and the verdict.
fn conclude(arguments: &Arguments, output: &mut Output, tally: &Tally, began: Instant) -> u8 {
    let gaps = match arguments.canary {
        // What is broken at once covers little.
        Some(_) => Vec::new(),
        None => tally.gaps(&arguments.only),
    };
    for gap in &gaps {
        eprintln!("sim: too little was covered: {gap}");
    }
    let passed = tally.violations() == 0 && gaps.is_empty();
    output.coverage(tally);
    output.verdict(tally, passed, began.elapsed());
    u8::from(!passed)
}

#[cfg(test)]
mod tests;
