//! What nodes say to each other about actors that one spawns on the other.

use std::time::Duration;

use crate::core::ActorPlace;
use crate::message;
use crate::supervision::{Restarts, Supervision};

/// Asks for an actor to be made, by the directory of its node-to-be.
#[message(id = "ringmesh.Spawn", v = 1, reply = Spawned, crate = crate)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// The key of its factory.
    pub key: String,
    /// What the arguments are: the id of the message.
    pub args_id: u64,
    /// The version of it.
    pub args_version: u32,
    /// The fingerprint of its layout.
    pub args_fingerprint: u64,
    /// Their archive.
    pub args: Vec<u8>,
    /// The name behind that of whoever stands for the parent.
    pub name: Option<String>,
    /// The core it is to live on.
    pub core: Option<u16>,
    /// What becomes of it when it fails.
    pub strategy: Strategy,
    /// Who stands for it at the node that asks. No other question names the same.
    pub stand_in: Place,
}

/// The answer to [`Spawn`].
#[message(id = "ringmesh.Spawned", v = 1, crate = crate)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawned {
    /// Whether it was made.
    pub verdict: SpawnVerdict,
    /// Why not, in words, where there are some: 1024 bytes at most.
    pub reason: String,
    /// Where it is, if it was made.
    pub made: Option<Made>,
}

/// Has the guardian of an actor stop that in order. Asked by the node of its parent alone.
#[message(id = "ringmesh.Finish", v = 1, reply = Finished, crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How long that may take, in microseconds.
    pub within_us: u64,
}

/// The answer to [`Finish`], when the actor has ended.
#[message(id = "ringmesh.Finished", v = 1, crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whether nothing of it, or of its children, was cut short.
    pub in_order: bool,
}

/// What was made. The core of each stands in its generation.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// The actor.
    pub child: Place,
    /// Stands for its parent there, and is to be watched. Its end says that the child escalated, if
    /// it may; else that it ended.
    pub guardian: Place,
    /// Of a child that may escalate: ends when the child ended otherwise, and is to be watched.
    pub token: Option<Place>,
}

/// The place of an actor at its node.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its slot.
    pub slot: u32,
    /// Which of the actors that the slot has had.
    pub generation: u64,
}

/// What became of a question.
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnVerdict {
    /// The actor runs.
    Made,
    /// There is no factory of the key.
    UnknownFactory,
    /// Those who ask may not.
    NotAllowed,
    /// The factory takes other arguments: another type, or another layout of a version.
    OtherArguments,
    /// The arguments are no valid archive.
    InvalidArguments,
    /// The actor's own code refused or panicked.
    NotStarted,
    /// The node has no room, or is stopping.
    NoRoom,
    /// The node has no core of that number.
    NoSuchCore,
    /// The factory reads that version of its arguments no more.
    ArgumentsTooOld,
    /// The factory knows older versions of its arguments alone.
    ArgumentsTooNew,
    /// The node keeps the core of that number for itself.
    CoreReserved,
}

/// A [`Supervision`].
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strategy {
    /// Which; the rest is that of restarts.
    pub kind: StrategyKind,
    /// The first pause, in nanoseconds.
    pub pause_min: u64,
    /// The longest.
    pub pause_max: u64,
    /// How many there may be within the time.
    pub at_most: Option<u16>,
    /// The time, in nanoseconds.
    pub within: u64,
    /// Whether one too many escalates.
    pub escalates: bool,
}

/// The kind of a [`Strategy`].
#[crate::wire(crate = crate)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyKind {
    /// It ends.
    Stop,
    /// It is made anew.
    Restart,
    /// It goes on.
    Resume,
    /// Its parent fails.
    Escalate,
}

impl From<Supervision> for Strategy {
    fn from(supervision: Supervision) -> Self {
        let (kind, how) = match supervision {
            Supervision::Stop => (StrategyKind::Stop, Supervision::restart()),
            Supervision::Restart(how) => (StrategyKind::Restart, how),
            Supervision::Resume => (StrategyKind::Resume, Supervision::restart()),
            Supervision::Escalate => (StrategyKind::Escalate, Supervision::restart()),
        };
        Self {
            kind,
            pause_min: nanoseconds(how.pause_min),
            pause_max: nanoseconds(how.pause_max),
            at_most: how.at_most,
            within: nanoseconds(how.within),
            escalates: how.escalates,
        }
    }
}

impl From<Strategy> for Supervision {
    fn from(strategy: Strategy) -> Self {
        match strategy.kind {
            StrategyKind::Stop => Self::Stop,
            StrategyKind::Resume => Self::Resume,
            StrategyKind::Escalate => Self::Escalate,
            StrategyKind::Restart => Self::Restart(Restarts {
                pause_min: Duration::from_nanos(strategy.pause_min),
                pause_max: Duration::from_nanos(strategy.pause_max),
                at_most: strategy.at_most,
                within: Duration::from_nanos(strategy.within),
                escalates: strategy.escalates,
            }),
        }
    }
}

/// Five hundred years at most.
fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl From<ActorPlace> for Place {
    fn from(place: ActorPlace) -> Self {
        let ActorPlace { slot, generation } = place;
        Self { slot, generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_travels_as_it_is() {
        let restarts = Supervision::restart()
            .pauses(Duration::from_millis(7), Duration::from_secs(9))
            .at_most(3, Duration::from_secs(4))
            .then_escalate();
        for supervision in [
            Supervision::Stop,
            Supervision::Resume,
            Supervision::Escalate,
            Supervision::restart().for_ever().into(),
            restarts.into(),
        ] {
            let strategy = Strategy::from(supervision);
            assert_eq!(Supervision::from(strategy), supervision);
        }
        let endless = Supervision::restart().pauses(Duration::MAX, Duration::MAX);
        let strategy = Strategy::from(Supervision::from(endless));
        assert_eq!(strategy.pause_max, u64::MAX);
    }
}
