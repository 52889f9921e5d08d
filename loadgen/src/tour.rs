//! The tour: every workload for a few seconds, beside its floor, in one table.

use std::io::{self, Write as _};
use std::time::Duration;

use crate::host::Host;
use crate::placement::allowed_cpus;
use crate::plan::{Crowd, Mode, Mover, Policy, Round, Traffic};
use crate::report::Report;
use crate::rounds::{Experiment, Schedule};
use crate::{Failure, measure, progress_bar, screen};

/// Bytes of every message of the tour, but for what is published.
const PAYLOAD_BYTES: usize = 64;

/// Bytes of those.
const PUBLISHED_BYTES: usize = 128;

/// Who subscribes: half of them beside the publisher.
const CROWD: Crowd = Crowd {
    subscribers: 64,
    nodes: 2,
    cores: 1,
    groups: 0,
    slow: 0,
    policy: Policy::DropOldest,
};

/// Measured time of each stop; with the floor, the warm-ups and the starts of the processes it
/// takes about three times as long.
const STOP_TIME: Duration = Duration::from_millis(2000);

const STOPS: [(Traffic, Mode); 5] = [
    (Traffic::Stream, Mode::Spin),
    (Traffic::Echo, Mode::Spin),
    (Traffic::Echo, Mode::Park),
    (Traffic::Mesh, Mode::Spin),
    (Traffic::PubSub, Mode::Spin),
];

/// Measures everything and prints the table. Says whether all that was sent arrived as it should.
pub(crate) fn run() -> Result<bool, Failure> {
    let host = Host::inspect();
    let cpus = allowed_cpus()?.len();
    let experiments = STOPS.map(|(traffic, mode)| match traffic {
        Traffic::PubSub => published(CROWD, cpus),
        _ => experiment(traffic, mode),
    });
    let progress = progress_bar(experiments.iter().map(Experiment::steps).sum());
    let mut reports: Vec<Report> = Vec::new();
    for experiment in &experiments {
        let Round { traffic, mode, .. } = experiment.subject;
        progress.set_message(format!("{} {}", traffic.name(), mode.name()));
        let seen = Host {
            warnings: Vec::new(),
            ..host.clone()
        };
        reports.push(measure(experiment, seen, &progress)?.0);
    }
    progress.finish_and_clear();
    let is_clean = reports.iter().all(Report::is_clean);
    print(&reports, host, is_clean)?;
    Ok(is_clean)
}

fn experiment(traffic: Traffic, mode: Mode) -> Experiment {
    let Schedule {
        rounds,
        warm_up,
        measured,
    } = Schedule::of(STOP_TIME);
    let subject = Round {
        mover: Mover::Engine,
        traffic,
        payload_bytes: PAYLOAD_BYTES,
        mode,
        pod: false,
        connections: 1,
        rate_per_second: None,
        sample_one_way: false,
        is_cut: false,
        crowd: None,
        warm_up,
        measured,
    };
    Experiment {
        subject,
        rounds,
        beside_floor: true,
        connect: None,
        cuts: None,
    }
}

fn published(crowd: Crowd, cpus: usize) -> Experiment {
    let experiment = experiment(Traffic::PubSub, crowd.mode(cpus));
    let subject = Round {
        payload_bytes: PUBLISHED_BYTES,
        crowd: Some(crowd),
        ..experiment.subject
    };
    Experiment {
        subject,
        ..experiment
    }
}

fn print(reports: &[Report], mut host: Host, is_clean: bool) -> io::Result<()> {
    for report in reports {
        for warning in &report.host.warnings {
            host.warnings.push(format!(
                "{} {}: {warning}",
                report.workload,
                report.mode.name()
            ));
        }
    }
    let mut stdout = io::stdout().lock();
    writeln!(
        stdout,
        "Ringmesh, two processes on one machine over TCP, and two cores of one\n"
    )?;
    writeln!(stdout, "{}\n", screen::table(reports))?;
    writeln!(
        stdout,
        "  ours: typed messages between actors, one call per message, read in place"
    )?;
    writeln!(
        stdout,
        "  floor: the same bytes by plain system calls in a tight loop, or a bare ring, by turns"
    )?;
    writeln!(
        stdout,
        "  pubsub: deliveries on two nodes; its floor hands pointers to mailboxes in one loop"
    )?;
    if !is_clean {
        writeln!(
            stdout,
            "  messages were lost, duplicated, reordered or corrupt: see `loadgen stream`"
        )?;
    }
    writeln!(stdout, "{}", screen::host(&host))?;
    stdout.flush()
}
