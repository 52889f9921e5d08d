//! The measuring processes: spawned, asked and ended by the parent; what they do with their plan.
//!
//! A round is two processes. The receiver says `listening ADDR`, the sender then runs the workload
//! against that address and answers with its [`Outcome`] as one line of JSON. A mesh has both sides
//! in the sender; pub-sub has a receiver for each node but the publisher's. All processes watch
//! their stdin: when the parent is gone, it ends, and they end.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cuts::behind;
use crate::floor::{self, FloorError};
use crate::placement;
use crate::plan::{Mover, Outcome, Plan, Traffic};
use crate::workload::{self, Place, WorkloadError};

/// The hidden command that turns a process into one side of a round.
pub(crate) const COMMAND: &str = "__peer";

/// Where receivers listen.
const ANY_PORT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// How long a receiver may take until it listens.
const START_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a sender may take beyond its warm-up and measured interval.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// The same for one whose connection is cut: what it rides out may add up.
const CUT_ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a process that was killed may take until that shows.
const DEATH_NOTICE_TIME_MAX: Duration = Duration::from_millis(500);

/// How long a process may take to end once it was asked to.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// Which side of a round a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Sends, and answers with the outcome.
    Sender,
    /// Listens.
    Receiver,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        })
    }
}

/// Why a round has no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The process could not be started, or its state could not be read.
    #[error("the {0} process: {1}")]
    Process(Side, io::Error),
    /// The proxy before the receiver could not be started.
    #[error("the proxy: {0}")]
    Proxy(io::Error),
    /// The process ended before it answered. It said why on stderr, unless it was killed.
    #[error("the {0} died: {1}")]
    Died(Side, ExitStatus),
    /// The process lives and does not answer.
    #[error("the {0} did not answer within {1:?}")]
    Silent(Side, Duration),
    /// The process answered what nobody asked.
    #[error("the {0} answered {1:?}")]
    Unreadable(Side, String),
}

impl PeerError {
    /// The process was killed from outside; otherwise it may have ended because the other side did.
    pub(crate) fn is_kill(&self) -> bool {
        matches!(self, Self::Died(_, status) if status.signal().is_some())
    }
}

/// One side of a round, as the parent holds it. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Peer {
    side: Side,
    child: Child,
    /// Held open: its end tells the process to end.
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Peer {
    /// Starts the receiver of `plan` and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started, dies, or does not listen in time.
    pub(crate) fn listen(plan: &Plan) -> Result<(Self, SocketAddr), PeerError> {
        let mut peer = Self::spawn(Side::Receiver, plan)?;
        let line = peer.line(START_TIME_MAX)?;
        match line.strip_prefix("listening ").map(str::parse) {
            Some(Ok(address)) => Ok((peer, address)),
            _ => Err(PeerError::Unreadable(Side::Receiver, line)),
        }
    }

    /// Starts the sender of `plan`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn send(plan: &Plan) -> Result<Self, PeerError> {
        Self::spawn(Side::Sender, plan)
    }

    /// Waits for the outcome of the round of `plan`.
    ///
    /// # Errors
    /// When the process dies or does not answer in time.
    pub(crate) fn outcome(&mut self, plan: &Plan) -> Result<Outcome, PeerError> {
        let beyond = if plan.round.is_cut {
            CUT_ANSWER_TIME_MAX
        } else {
            ANSWER_TIME_MAX
        };
        let line = self.line(plan.round.warm_up + plan.round.measured + beyond)?;
        serde_json::from_str(&line).map_err(|_| PeerError::Unreadable(self.side, line))
    }

    /// How the process died, if it did. Waits a moment for a death that has only begun: the other
    /// side sees the sockets close first.
    pub(crate) fn death(&mut self) -> Option<PeerError> {
        match self.line(DEATH_NOTICE_TIME_MAX) {
            Err(PeerError::Died(_, status)) if status.success() => None,
            Err(error @ PeerError::Died(..)) => Some(error),
            _ => None,
        }
    }

    fn spawn(side: Side, plan: &Plan) -> Result<Self, PeerError> {
        let failed = |error| PeerError::Process(side, error);
        let plan = serde_json::to_string(plan).map_err(|error| failed(error.into()))?;
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg(COMMAND)
            .arg(plan)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let (sender, lines) = mpsc::sync_channel(1);
        let peer = Self {
            side,
            child,
            stdin,
            lines,
        };
        let Some(stdout) = stdout else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        // It ends with the pipe, which ends with the process.
        thread::Builder::new()
            .name(format!("{side} stdout"))
            .spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            })
            .map_err(failed)?;
        Ok(peer)
    }

    fn line(&mut self, within: Duration) -> Result<String, PeerError> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(PeerError::Silent(self.side, within)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = self.child.wait();
                Err(match status {
                    Ok(status) => PeerError::Died(self.side, status),
                    Err(error) => PeerError::Process(self.side, error),
                })
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Its stdout ends with the process: waiting for that needs no polling.
        let until = Instant::now() + END_TIME_MAX;
        while self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        // Mostly it has ended, and then this does nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a measuring process gave up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    /// The plan is not one of this program.
    #[error("this command is for {COMMAND}'s parent only: {0}")]
    Plan(#[from] serde_json::Error),
    /// Standard input or output, or the CPU.
    #[error("cannot start: {0}")]
    Process(#[from] io::Error),
    /// The engine's side failed.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The floor failed.
    #[error(transparent)]
    Floor(#[from] FloorError),
}

/// Plays the side of a round that `plan` asks for, in this process.
///
/// # Errors
/// When the plan cannot be read or played, or the other side is gone.
pub(crate) fn play(plan: &str) -> Result<(), PlayError> {
    let plan: Plan = serde_json::from_str(plan)?;
    // Started before the pinning, so the watcher may run elsewhere.
    end_with_parent()?;
    if plan.round.crowd.is_none() || plan.round.mover == Mover::Floor {
        placement::pin_this_thread(plan.cpu)?;
    }
    let outcome = match (plan.round.mover, plan.round.traffic, plan.to) {
        (Mover::Floor, Traffic::Mesh, None) => floor::mesh::run(&plan)?,
        (Mover::Engine, Traffic::Mesh, None) => workload::cross(&plan)?,
        (Mover::Floor, Traffic::PubSub, _) => floor::fan_out::run(&plan)?,
        (Mover::Engine, Traffic::PubSub, _) if plan.number == 0 => workload::publish(&plan)?,
        (Mover::Engine, Traffic::PubSub, _) => return Ok(workload::subscribe(&plan)?),
        (_, _, None) => return receive(&plan),
        (Mover::Engine, _, Some(to)) => workload::send(&plan, to)?,
        (Mover::Floor, _, Some(to)) => floor::send(&plan, to)?,
    };
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &outcome)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

fn receive(plan: &Plan) -> Result<(), PlayError> {
    match plan.round.mover {
        Mover::Engine => {
            let cores = plan.round.connections;
            let cpu = (cores == 1).then_some(plan.cpu);
            let place = Place {
                front: plan.front,
                ..Place::at(plan.front.map_or(ANY_PORT, behind))
            };
            Ok(workload::serve(place, plan.round.mode, cores, cpu)?)
        }
        Mover::Floor => Ok(floor::receive(plan)?),
    }
}

/// Ends this process when its stdin ends: the parent asked for it, or is gone.
fn end_with_parent() -> io::Result<()> {
    thread::Builder::new()
        .name("parent watch".into())
        .spawn(|| {
            let mut stdin = io::stdin().lock();
            while matches!(stdin.read(&mut [0; 64]), Ok(1..)) {}
            std::process::exit(0);
        })?;
    Ok(())
}
