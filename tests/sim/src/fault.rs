//! Faults: their classes, and which of them took effect.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A class of faults. A seed draws which of them its world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The nodes fall into two sides that do not hear each other.
    Partition,
    /// Some nodes are not heard by others, and hear them.
    OneWay,
    /// Two sides do not hear each other, and one node hears both.
    Bridge,
    /// A path that comes and goes.
    Flapping,
    /// Bytes take longer.
    Delay,
    /// A connection is reset while bytes are under way, which are lost from any point on.
    Reset,
    /// A connection breaks for its sender alone: what is under way comes late, behind what follows
    /// on the next connection, and a second time.
    Late,
    /// A process is killed, or its host loses power, and is started again at its address.
    Crash,
    /// A process stands still.
    Pause,
    /// The clock of a process jumps ahead.
    ClockJump,
    /// The clock of a process runs too fast or too slow.
    Drift,
    /// A core takes its turns late.
    SlowCore,
    /// Queues of a core, and the buffers of its connections, are full.
    FullQueue,
    /// A process lacks optional features of the protocol.
    MixedVersions,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 14] = [
        Self::Partition,
        Self::OneWay,
        Self::Bridge,
        Self::Flapping,
        Self::Delay,
        Self::Reset,
        Self::Late,
        Self::Crash,
        Self::Pause,
        Self::ClockJump,
        Self::Drift,
        Self::SlowCore,
        Self::FullQueue,
        Self::MixedVersions,
    ];

    /// Its name on command lines.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Flapping => "flapping",
            Self::Delay => "delay",
            Self::Reset => "reset",
            Self::Late => "late",
            Self::Crash => "crash",
            Self::Pause => "pause",
            Self::ClockJump => "clock-jump",
            Self::Drift => "drift",
            Self::SlowCore => "slow-core",
            Self::FullQueue => "full-queue",
            Self::MixedVersions => "mixed-versions",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// No class has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no class of faults is called `{0}`")]
pub struct UnknownClass(pub String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(name: &str) -> Result<Self, UnknownClass> {
        let mut all = Self::ALL.into_iter();
        all.find(|class| class.label() == name)
            .ok_or_else(|| UnknownClass(name.to_owned()))
    }
}

/// One fault, by the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FaultId(pub(crate) u32);

/// The faults of a world. One counts when it took effect: when bytes were held or lost, a process
/// stood still or a queue was found full; not when it merely began.
#[derive(Debug, Default)]
pub struct Faults {
    all: Vec<(Class, bool)>,
    counts: [u64; Class::ALL.len()],
    fresh: Vec<FaultId>,
    longest_partition: Duration,
}

impl Faults {
    /// A fault begins.
    pub(crate) fn begin(&mut self, class: Class) -> FaultId {
        self.all.push((class, false));
        FaultId(self.all.len() as u32 - 1)
    }

    /// A fault took effect; it counts once.
    pub(crate) fn took_effect(&mut self, id: FaultId) {
        let (class, has) = &mut self.all[id.0 as usize];
        if !std::mem::replace(has, true) {
            self.counts[*class as usize] += 1;
            self.fresh.push(id);
        }
    }

    /// Some nodes did not hear others for so long, if that took effect. Says whether it did.
    pub(crate) fn end_partition(&mut self, id: FaultId, lasted: Duration) -> bool {
        let (_, has) = self.all[id.0 as usize];
        if has {
            self.longest_partition = self.longest_partition.max(lasted);
        }
        has
    }

    /// The longest for which some nodes did not hear others.
    pub fn longest_partition(&self) -> Duration {
        self.longest_partition
    }

    /// Takes the faults that took effect since this was asked last.
    pub(crate) fn take_fresh(&mut self) -> Option<(FaultId, Class)> {
        let id = self.fresh.pop()?;
        Some((id, self.all[id.0 as usize].0))
    }

    /// How many of a class took effect.
    pub fn count(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    /// How many took effect.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_come_back() {
        for class in Class::ALL {
            assert_eq!(class.label().parse(), Ok(class));
            assert_eq!(Class::ALL[class as usize], class);
        }
        assert!("storm".parse::<Class>().is_err());
    }

    #[test]
    fn a_fault_counts_once_and_only_when_it_took_effect() {
        let mut faults = Faults::default();
        let [first, second] = [Class::Reset, Class::Delay].map(|class| faults.begin(class));
        assert_eq!((faults.total(), faults.take_fresh()), (0, None));
        faults.took_effect(first);
        faults.took_effect(first);
        assert_eq!((faults.count(Class::Reset), faults.total()), (1, 1));
        assert_eq!(faults.take_fresh(), Some((first, Class::Reset)));
        faults.took_effect(second);
        assert_eq!((faults.count(Class::Delay), faults.total()), (1, 2));
        let idle = faults.begin(Class::Partition);
        faults.end_partition(idle, Duration::from_secs(9));
        assert_eq!(faults.longest_partition(), Duration::ZERO);
        faults.end_partition(first, Duration::from_secs(7));
        assert_eq!(faults.longest_partition(), Duration::from_secs(7));
    }
}
