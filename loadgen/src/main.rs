//! The load generator of Ringmesh: what the engine does on this machine, beside what the machine
//! does without it.
//!
//! It is not a benchmark of functions (those are in `bench`), and it takes no short cut: the
//! engine's workloads use nothing but its public API. A measurement is an [`Experiment`]: rounds of
//! the engine and of the [`floor`] by turns, each round in two fresh processes with a CPU each,
//! while this one sleeps. A [`Report`] holds their medians.
//!
//! Reports go to stdout; logs, progress and errors to stderr. The exit code is 0, 1 when something
//! was lost, duplicated, reordered or corrupt or a process died, 2 for a wrong command line.

#![forbid(unsafe_code)]

mod arguments;
mod cost;
mod cuts;
mod floor;
mod host;
mod latency;
mod links;
mod median;
mod overload;
mod pattern;
mod peer;
mod ping;
mod placement;
mod plan;
mod report;
mod rounds;
mod screen;
mod tour;
mod workload;

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{
    Arguments, Command, Echo, Floor, Links, Load, POD_PAYLOAD_BYTES, PubSub, Serve, Stream,
    Workload,
};
use crate::host::{Host, StealWatch};
use crate::latency::{Latencies, UnreadableLatencies};
use crate::links::{LinksError, Show};
use crate::overload::Overload;
use crate::peer::{PeerError, PlayError};
use crate::ping::PingFailure;
use crate::placement::Placement;
use crate::plan::{Crowd, Mode, Mover, Round, Traffic};
use crate::report::Report;
use crate::rounds::{Experiment, Schedule};
use crate::workload::{Place, WorkloadError};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// A measuring process failed.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// This process is a measuring one, and failed.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// The serving node could not start.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Pings could not be measured.
    #[error(transparent)]
    Ping(#[from] PingFailure),
    /// The links of a node cannot be shown.
    #[error(transparent)]
    Links(#[from] LinksError),
    /// A process answered with a histogram that cannot be read.
    #[error(transparent)]
    Latencies(#[from] UnreadableLatencies),
    /// The file of `--hgrm` cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Hgrm {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// Stdout cannot be written, or the kernel does not say which CPUs are allowed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    log_to_stderr(command.as_ref());
    match run(command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("loadgen: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` chooses what is logged. By default a serving node warns and a measuring process does
/// not: on a busy machine the warnings about lateness would bury the report that says the same.
fn log_to_stderr(command: Option<&Command>) {
    let level = match command {
        Some(Command::Peer { .. }) => LevelFilter::ERROR,
        _ => LevelFilter::WARN,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
}

/// Says whether everything that was sent arrived as it should.
fn run(command: Option<Command>) -> Result<bool, Failure> {
    match command {
        None => tour::run(),
        Some(Command::Stream(arguments)) => stream(arguments),
        Some(Command::Echo(Echo {
            workload,
            rate,
            connect,
            hgrm,
        })) => {
            let round = Round {
                rate_per_second: rate,
                ..round(Mover::Engine, Traffic::Echo, &workload)
            };
            let experiment = experiment(round, &workload.load, connect.is_none());
            measure_and_print(
                &Experiment {
                    connect,
                    ..experiment
                },
                workload.load.json,
                hgrm,
            )
        }
        Some(Command::Mesh(load)) => {
            let workload = Workload {
                load,
                mode: Mode::Spin,
            };
            let round = round(Mover::Engine, Traffic::Mesh, &workload);
            let experiment = experiment(round, &workload.load, true);
            measure_and_print(&experiment, workload.load.json, None)
        }
        Some(Command::PubSub(arguments)) => pubsub(arguments),
        Some(Command::Overload(arguments)) => overload(&arguments),
        Some(Command::Ping(arguments)) => ping(&arguments),
        Some(Command::Floor { traffic }) => {
            let (traffic, workload) = match traffic {
                Floor::Stream(workload) => (Traffic::Stream, workload),
                Floor::Echo(workload) => (Traffic::Echo, workload),
                Floor::Mesh(load) => {
                    let mode = Mode::Spin;
                    (Traffic::Mesh, Workload { load, mode })
                }
            };
            let round = round(Mover::Floor, traffic, &workload);
            let experiment = experiment(round, &workload.load, false);
            measure_and_print(&experiment, workload.load.json, None)
        }
        Some(Command::Links(Links {
            connect,
            json,
            once,
        })) => {
            links::show(connect, Show { json, once })?;
            Ok(true)
        }
        Some(Command::Serve(arguments)) => serve(arguments),
        Some(Command::Peer { plan }) => Ok(peer::play(&plan).map(|()| true)?),
        Some(Command::Soak { plan }) => soak(&plan),
    }
}

fn serve(serve: Serve) -> Result<bool, Failure> {
    let place = Place {
        control: serve.control,
        ..Place::at(serve.bind)
    };
    workload::serve(place, serve.mode, serve.cores, None)?;
    Ok(true)
}

fn soak(plan: &str) -> Result<bool, Failure> {
    let plan = serde_json::from_str(plan).map_err(io::Error::from)?;
    workload::soak(plan)?;
    Ok(true)
}

fn stream(stream: Stream) -> Result<bool, Failure> {
    check_pod_size(&stream);
    let beside_floor = stream.connect.is_none() && stream.cuts.is_none();
    let round = Round {
        pod: stream.pod,
        connections: stream.connections,
        sample_one_way: stream.hgrm.is_some(),
        is_cut: stream.cuts.is_some(),
        ..round(Mover::Engine, Traffic::Stream, &stream.workload)
    };
    let experiment = Experiment {
        connect: stream.connect,
        cuts: stream.cuts,
        ..experiment(round, &stream.workload.load, beside_floor)
    };
    measure_and_print(&experiment, stream.workload.load.json, stream.hgrm)
}

fn pubsub(arguments: PubSub) -> Result<bool, Failure> {
    let PubSub {
        load,
        subscribers,
        nodes,
        groups,
        slow,
        policy,
        cores,
    } = arguments;
    for (name, count) in [("--groups", u32::from(groups)), ("--slow", slow)] {
        if count > subscribers {
            usage_error(&format!("{name} is {count}, of {subscribers} subscribers"));
        }
    }
    let crowd = Crowd {
        subscribers,
        nodes,
        cores,
        groups,
        slow,
        policy,
    };
    let json = load.json;
    let mode = crowd.mode(placement::allowed_cpus()?.len());
    let workload = Workload { load, mode };
    let round = Round {
        crowd: Some(crowd),
        ..round(Mover::Engine, Traffic::PubSub, &workload)
    };
    let experiment = experiment(round, &workload.load, true);
    measure_and_print(&experiment, json, None)
}

fn overload(arguments: &arguments::Overload) -> Result<bool, Failure> {
    let host = Host::inspect();
    let overload = Overload {
        payload_bytes: arguments.load.size as usize,
        work: Duration::from_micros(arguments.work_us),
        time: arguments.load.seconds,
    };
    let report = overload::run(overload, host)?;
    print(&report, &report, arguments.load.json)?;
    Ok(report.is_clean())
}

fn ping(arguments: &arguments::Ping) -> Result<bool, Failure> {
    let host = Host::inspect();
    let schedule = Schedule::of(arguments.seconds / 2);
    let workload = Workload {
        load: Load {
            size: arguments.bulk,
            // Half of it idle.
            seconds: arguments.seconds / 2,
            json: arguments.json,
        },
        mode: arguments.mode,
    };
    let round = round(Mover::Engine, Traffic::Ping, &workload);
    let report = ping::run(round, schedule.rounds, host)?;
    print(&report, &report, arguments.json)?;
    Ok(report.is_clean())
}

/// Writes a report to stdout, as one object of JSON or as `text`.
fn print(report: &impl Serialize, text: &impl Display, json: bool) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut stdout, report)?;
        writeln!(stdout)?;
    } else {
        writeln!(stdout, "{text}")?;
    }
    stdout.flush()
}

/// Ends the process with a usage error when there is no fixed-layout message of the wanted size.
fn check_pod_size(stream: &Stream) {
    if stream.pod && !POD_PAYLOAD_BYTES.contains(&(stream.workload.load.size as usize)) {
        let sizes = POD_PAYLOAD_BYTES.map(|bytes| bytes.to_string()).join(", ");
        let text = format!(
            "--pod has messages of {sizes} bytes, not {}",
            stream.workload.load.size
        );
        usage_error(&text)
    }
}

fn usage_error(text: &str) -> ! {
    <Arguments as clap::CommandFactory>::command()
        .error(ErrorKind::ValueValidation, text)
        .exit()
}

fn round(mover: Mover, traffic: Traffic, Workload { load, mode }: &Workload) -> Round {
    let schedule = Schedule::of(load.seconds);
    Round {
        mover,
        traffic,
        payload_bytes: load.size as usize,
        mode: *mode,
        pod: false,
        connections: 1,
        rate_per_second: None,
        sample_one_way: false,
        is_cut: false,
        crowd: None,
        warm_up: schedule.warm_up,
        measured: schedule.measured,
    }
}

fn experiment(subject: Round, load: &Load, beside_floor: bool) -> Experiment {
    let rounds = Schedule::of(load.seconds).rounds;
    Experiment {
        subject,
        rounds,
        beside_floor,
        connect: None,
        cuts: None,
    }
}

fn measure_and_print(
    experiment: &Experiment,
    json: bool,
    hgrm: Option<PathBuf>,
) -> Result<bool, Failure> {
    // Created first: a path that cannot be written should not cost a run.
    let hgrm = hgrm.map(Hgrm::create).transpose()?;
    let host = Host::inspect();
    let progress = progress_bar(experiment.steps());
    let (report, outcomes) = measure(experiment, host, &progress)?;
    progress.finish_and_clear();
    if let Some(hgrm) = hgrm {
        hgrm.write(report::merged_latencies(&outcomes.subject)?)?;
    }
    let text = screen::report(&report, experiment.rounds);
    print(&report, &text, json)?;
    Ok(report.is_clean())
}

/// The file of `--hgrm`.
struct Hgrm {
    path: PathBuf,
    file: File,
}

impl Hgrm {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Failure::Hgrm { path, error }),
        }
    }

    /// Writes the latencies of all rounds; nothing when there were none.
    fn write(self, latencies: Option<Latencies>) -> Result<(), Failure> {
        let Self { path, file } = self;
        let mut file = BufWriter::new(file);
        let written = latencies.map_or(Ok(()), |latencies| latencies.write_hgrm(&mut file));
        written
            .and_then(|()| file.flush())
            .map_err(|error| Failure::Hgrm { path, error })
    }
}

/// Runs one experiment. `host` is what the machine looked like before anything was started.
fn measure(
    experiment: &Experiment,
    mut host: Host,
    progress: &ProgressBar,
) -> Result<(Report, rounds::Outcomes), Failure> {
    let placement = Placement::of_this_process()?;
    let steal = StealWatch::start();
    let outcomes = experiment.run(placement, progress)?;
    host.warnings.extend(steal.warning());
    Ok((Report::new(experiment, &outcomes, host)?, outcomes))
}

/// Moves on stderr between rounds, and is not drawn when that is no terminal.
fn progress_bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rounds {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style)
}
