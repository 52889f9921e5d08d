//! The command line.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::peer;
use crate::plan::{Mode, Policy};

/// Bytes of the smallest archive of a numbered message: its number and the head of a vector.
pub(crate) const PAYLOAD_BYTES_MIN: u64 = 16;

/// Bytes of the largest body of a frame on the ordinary lane, less the extension of an ask.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 256 * 1024 - 16;

/// Bytes of messages that take the large lane: above the body of the ordinary one.
const BULK_BYTES: RangeInclusive<u64> = 256 * 1024 + 1..=2 << 20;

/// Sizes there is a fixed-layout message for.
pub(crate) const POD_PAYLOAD_BYTES: [usize; 6] = [32, 64, 128, 256, 1024, 4096];

/// Measures Ringmesh between two pinned processes on this machine, each figure beside what plain
/// system calls reach in the same run. Without a command: the tour, in under 30 seconds.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Messages one way, as fast as the receiver takes them.
    Stream(Stream),
    /// Messages there and back, latency in percentiles.
    Echo(Echo),
    /// Messages from an actor to one on another core of the same node.
    Mesh(Load),
    /// Messages from one publisher to many subscribers, on several nodes of one cluster.
    #[command(name = "pubsub")]
    PubSub(PubSub),
    /// Twice as many messages as the receiver can handle, between two nodes of one process.
    Overload(Overload),
    /// Pings of the engine there and back: idle, and beside a stream of large messages, by turns.
    Ping(Ping),
    /// What this machine does without Ringmesh: a tight loop of plain system calls.
    Floor {
        /// What the floor carries.
        #[command(subcommand)]
        traffic: Floor,
    },
    /// Serves `stream --connect` and `echo --connect`, one of them at a time, until SIGTERM.
    Serve(Serve),
    /// The links of a node with a control port, refreshed every second.
    Links(Links),
    /// One side of a round.
    #[command(name = peer::COMMAND, hide = true)]
    Peer {
        /// What to do, as JSON.
        plan: String,
    },
    /// One node of a soak.
    #[command(name = "__soak", hide = true)]
    Soak {
        /// What to do, as JSON.
        plan: String,
    },
}

/// What the floor carries.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Floor {
    /// Records one way in batches, checksummed on both sides.
    Stream(Workload),
    /// One record there and back.
    Echo(Workload),
    /// Records from one thread to another through a bare ring, and the time of one that goes alone.
    Mesh(Load),
}

/// How much of what, and how it is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// Bytes of one message.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64,
        value_parser = clap::value_parser!(u64).range(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX),
    )]
    pub(crate) size: u64,
    /// Measured time, over all rounds; the floor's rounds take as much again.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every workload between two processes has.
#[derive(Clone, Debug, Args)]
pub(crate) struct Workload {
    /// How much of what.
    #[command(flatten)]
    pub(crate) load: Load,
    /// What both sides do while there is nothing to do.
    #[arg(long, value_enum, default_value_t = Mode::Spin)]
    pub(crate) mode: Mode,
}

/// Messages one way.
#[derive(Clone, Debug, Args)]
pub(crate) struct Stream {
    /// What every workload has.
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// Fixed-layout messages, of 32, 64, 128, 256, 1024 or 4096 bytes.
    #[arg(long)]
    pub(crate) pod: bool,
    /// Connections to send over, each from a core of its own to a core of its own.
    #[arg(
        long,
        value_name = "C",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256),
    )]
    pub(crate) connections: u16,
    /// Send to a serving node, in place of a receiver of our own and without a floor.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) connect: Option<SocketAddr>,
    /// Cut the connection so many times, at random bytes spread over the run. Without a floor, and
    /// not with --connect.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "connect",
        value_parser = clap::value_parser!(u64).range(1..=10_000),
    )]
    pub(crate) cuts: Option<u64>,
    /// Write the percentiles of a sample of one-way times in HdrHistogram's text format. The sample
    /// is one more message per thousand; both processes read one clock, so not with --connect.
    #[arg(long, value_name = "FILE", conflicts_with = "connect")]
    pub(crate) hgrm: Option<PathBuf>,
}

/// Messages there and back.
#[derive(Clone, Debug, Args)]
pub(crate) struct Echo {
    /// What every workload has.
    #[command(flatten)]
    pub(crate) workload: Workload,
    /// Asks per second on a fixed schedule, however many are in flight; without it the next ask
    /// goes when the answer came.
    #[arg(long, value_name = "R", value_parser = per_second)]
    pub(crate) rate: Option<f64>,
    /// Ask a serving node, in place of one of our own and without a floor.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) connect: Option<SocketAddr>,
    /// Write the percentiles of all round trips in HdrHistogram's text format.
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
}

/// From one to many.
#[derive(Clone, Debug, Args)]
pub(crate) struct PubSub {
    /// How much of what.
    #[command(flatten)]
    pub(crate) load: Load,
    /// Subscribers, spread over all cores of all nodes.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=4096),
    )]
    pub(crate) subscribers: u32,
    /// Nodes, each a process; the first one publishes.
    #[arg(
        long,
        value_name = "M",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=64),
    )]
    pub(crate) nodes: u16,
    /// Put all subscribers into so many groups, of each of which one gets a message.
    #[arg(
        long,
        value_name = "G",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=64),
    )]
    pub(crate) groups: u16,
    /// So many of the subscribers stand still for 1 ms behind each message.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) slow: u32,
    /// What happens to a message for which the queue of a subscriber has no room.
    #[arg(long, value_name = "P", value_enum, default_value_t = Policy::DropOldest)]
    pub(crate) policy: Policy,
    /// Cores of each node.
    #[arg(
        long,
        value_name = "C",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256),
    )]
    pub(crate) cores: u16,
}

/// More than the receiver can handle.
#[derive(Clone, Debug, Args)]
pub(crate) struct Overload {
    /// How much of what.
    #[command(flatten)]
    pub(crate) load: Load,
    /// What the receiver's handler works per message, in microseconds.
    #[arg(
        long,
        value_name = "US",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=10_000),
    )]
    pub(crate) work_us: u64,
}

/// Pings there and back.
#[derive(Clone, Debug, Args)]
pub(crate) struct Ping {
    /// Measured time, over all rounds: half of it idle, half beside the stream.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Bytes of one message of the stream, which take the large lane.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1 << 20,
        value_parser = clap::value_parser!(u64).range(BULK_BYTES),
    )]
    pub(crate) bulk: u64,
    /// What both sides do while there is nothing to do.
    #[arg(long, value_enum, default_value_t = Mode::Hybrid)]
    pub(crate) mode: Mode,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A node to send to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen; the first line on stdout says it, with the port found for port 0.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) bind: SocketAddr,
    /// Cores to serve on.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256),
    )]
    pub(crate) cores: u16,
    /// What to do while there is nothing to do.
    #[arg(long, value_enum, default_value_t = Mode::Spin)]
    pub(crate) mode: Mode,
    /// Where the control port listens, on the loopback; the second line on stdout says it.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) control: Option<SocketAddr>,
}

/// The links of a node.
#[derive(Clone, Debug, Args)]
pub(crate) struct Links {
    /// The node's control port.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) connect: SocketAddr,
    /// One JSON object on stdout for each link and second.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show them once.
    #[arg(long)]
    pub(crate) once: bool,
}

/// A literal address, or a host name that has one now.
fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses
        .next()
        .ok_or_else(|| "the host has no address".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if (0.05..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be between 0.05 and 3600".to_owned())
    }
}

fn per_second(text: &str) -> Result<f64, String> {
    let rate: f64 = text
        .parse()
        .map_err(|_| "not a number per second".to_owned())?;
    if (1.0..=10e6).contains(&rate) {
        Ok(rate)
    } else {
        Err("must be between 1 and 10000000".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("loadgen").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_contract_s_lines_parse() {
        for line in [
            "",
            "stream --size 64 --seconds 5",
            "stream --size 64 --seconds 5 --mode hybrid --pod --connections 4 --json",
            "stream --size 64 --seconds 5 --connect 127.0.0.1:7400",
            "stream --size 64 --seconds 5 --connect [::1]:7400",
            "stream --size 64 --seconds 5 --connect localhost:7400",
            "stream --size 65536 --seconds 0.5 --hgrm out.hgrm",
            "stream --size 256 --seconds 20 --cuts 100 --json",
            "echo --size 64 --seconds 5 --mode park --rate 1000 --connect 127.0.0.1:1 --json",
            "echo --size 64 --seconds 5 --hgrm out.hgrm",
            "floor stream --size 64 --seconds 5 --json",
            "floor echo --size 64 --seconds 5 --mode park",
            "mesh --size 64 --seconds 5 --json",
            "floor mesh --size 64 --seconds 5 --json",
            "pubsub --subscribers 64 --nodes 2 --size 128 --seconds 5",
            "pubsub --subscribers 9 --nodes 3 --size 128 --seconds 5 --groups 3 --slow 1 --json",
            "pubsub --policy drop-newest --cores 2",
            "pubsub --policy wait",
            "overload --size 64 --seconds 300 --work-us 20 --json",
            "ping",
            "ping --seconds 10 --bulk 2097152 --mode spin --json",
            "serve --bind 127.0.0.1:0",
            "serve --bind 127.0.0.1:0 --cores 4 --mode park",
            "serve --bind 127.0.0.1:0 --control 127.0.0.1:0",
            "links --connect 127.0.0.1:7401",
            "links --connect [::1]:7401 --json --once",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn the_default_mode_is_spin() {
        let Some(Command::Stream(stream)) = parse("stream").unwrap().command else {
            panic!("not a stream");
        };
        assert_eq!(stream.workload.mode, Mode::Spin);
    }

    #[test]
    fn what_does_not_work_is_a_usage_error() {
        for (line, kind) in [
            ("stream --size 15", ErrorKind::ValueValidation),
            ("stream --size 262129", ErrorKind::ValueValidation),
            ("stream --seconds 0", ErrorKind::ValueValidation),
            ("stream --seconds NaN", ErrorKind::ValueValidation),
            ("stream --mode busy", ErrorKind::InvalidValue),
            ("stream --connections 0", ErrorKind::ValueValidation),
            ("stream --connect nowhere", ErrorKind::ValueValidation),
            ("stream --cuts 0", ErrorKind::ValueValidation),
            (
                "stream --connect 127.0.0.1:1 --cuts 1",
                ErrorKind::ArgumentConflict,
            ),
            (
                "stream --connect 127.0.0.1:1 --hgrm f",
                ErrorKind::ArgumentConflict,
            ),
            ("stream --rate 5", ErrorKind::UnknownArgument),
            ("echo --rate inf", ErrorKind::ValueValidation),
            ("pubsub --subscribers 0", ErrorKind::ValueValidation),
            ("pubsub --nodes 0", ErrorKind::ValueValidation),
            ("pubsub --groups 65", ErrorKind::ValueValidation),
            ("pubsub --policy block", ErrorKind::InvalidValue),
            ("pubsub --mode park", ErrorKind::UnknownArgument),
            ("overload --work-us 0", ErrorKind::ValueValidation),
            ("ping --bulk 262144", ErrorKind::ValueValidation),
            ("ping --bulk 2097153", ErrorKind::ValueValidation),
            ("serve", ErrorKind::MissingRequiredArgument),
            ("links", ErrorKind::MissingRequiredArgument),
            (
                "serve --bind 127.0.0.1:0 --cores 0",
                ErrorKind::ValueValidation,
            ),
            ("mesh --mode park", ErrorKind::UnknownArgument),
            ("floor mesh --mode park", ErrorKind::UnknownArgument),
            ("floor", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }
}
