//! The faults of one class, drawn.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::fault::Class;
use crate::misfortune::Fault;
use crate::random::Random;

/// Draws faults of one class.
#[derive(Debug)]
pub(super) struct Draw {
    class: Class,
    random: Random,
    nodes: usize,
    data_centres: Vec<usize>,
    safety: Duration,
    rounds: u32,
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Draw {
    pub(super) fn new(seed: u64, class: Class, data_centres: &[usize], safety: Duration) -> Self {
        Self {
            class,
            random: Random::split(seed, class.label(), 0),
            nodes: data_centres.len(),
            data_centres: data_centres.to_vec(),
            safety,
            rounds: 0,
        }
    }

    /// Draws a few more.
    pub(super) fn some(&mut self, into: &mut Vec<(Duration, Fault, Duration)>) {
        let count = self.random.within(few(self.class));
        for number in 0..count {
            let is_first = self.rounds == 0 && number == 0;
            match self.class {
                Class::Flapping => self.flap(into),
                _ => into.push(self.one(is_first)),
            }
        }
        self.rounds += 1;
    }

    /// A time at which something may begin.
    fn time(&mut self) -> Duration {
        let last = self.safety.saturating_sub(Duration::from_secs(4));
        self.random.span(Duration::from_secs(3), last)
    }

    fn span(&mut self, range: RangeInclusive<u64>) -> Duration {
        let (least, most) = range.into_inner();
        self.random.span(millis(least), millis(most))
    }

    fn node(&mut self) -> usize {
        self.random.index(self.nodes)
    }

    fn pair(&mut self) -> (usize, usize) {
        let from = self.node();
        let to = (from + 1 + self.random.index(self.nodes - 1)) % self.nodes;
        (from, to)
    }

    /// Two sides, neither of them empty, of all nodes but one if that is to be neither.
    fn sides(&mut self, without: Option<usize>) -> (Vec<usize>, Vec<usize>) {
        let mut all: Vec<usize> = (0..self.nodes).collect();
        all.retain(|node| Some(*node) != without);
        self.random.shuffle(&mut all);
        let cut = 1 + self.random.index(all.len() - 1);
        let other = all.split_off(cut);
        (all, other)
    }

    /// One data centre, and all others or one of them.
    fn border(&mut self) -> (Vec<usize>, Vec<usize>) {
        let last = self.data_centres.iter().copied().max().unwrap_or(0);
        let mut all: Vec<usize> = (0..=last).collect();
        self.random.shuffle(&mut all);
        let others = 1 + self.random.index(last);
        let of = |some: &[usize]| {
            let places = self.data_centres.iter().zip(0..);
            let nodes = places.filter(|(it, _)| some.contains(it));
            nodes.map(|(_, node)| node).collect()
        };
        (of(&all[..1]), of(&all[1..=others]))
    }

    fn one(&mut self, is_first: bool) -> (Duration, Fault, Duration) {
        let fault = self.fault();
        if self.class == Class::MixedVersions {
            return (Duration::ZERO, fault, self.safety);
        }
        let is_blocked = matches!(fault, Fault::Blocked { .. });
        // Some partitions are longer than it takes to act on them.
        if is_first && is_blocked && self.random.chance(700) {
            let room = self.safety / 3;
            let at = self.random.span(Duration::from_secs(8), room);
            return (at, fault, self.span(25_000..=45_000));
        }
        let lasts = match self.class {
            Class::Delay | Class::SlowCore => 500..=15_000,
            Class::FullQueue => 300..=5_000,
            Class::Drift => 5_000..=40_000,
            Class::Crash => 300..=25_000,
            Class::Pause => 200..=20_000,
            _ => 300..=12_000,
        };
        (self.time(), fault, self.span(lasts))
    }

    fn fault(&mut self) -> Fault {
        let class = self.class;
        match class {
            Class::Partition | Class::Flapping => {
                let is_border = self.data_centres.iter().any(|it| *it > 0);
                let (one, other) = match is_border && self.random.chance(500) {
                    true => self.border(),
                    false => self.sides(None),
                };
                Fault::partition(&one, &other)
            }
            Class::OneWay => {
                let (one, other) = self.sides(None);
                Fault::one_way(&one, &other)
            }
            Class::Bridge => {
                let bridge = self.node();
                let (one, other) = self.sides(Some(bridge));
                match Fault::partition(&one, &other) {
                    Fault::Blocked { paths, .. } => Fault::Blocked { class, paths },
                    other => other,
                }
            }
            Class::Delay => {
                let (one, other) = self.sides(None);
                let by = self.span(10..=3_000);
                match Fault::one_way(&one, &other) {
                    Fault::Blocked { paths, .. } => Fault::Delayed { paths, by },
                    other => other,
                }
            }
            Class::Reset => {
                let (from, to) = self.pair();
                Fault::Reset { from, to }
            }
            Class::Late => {
                let ((from, to), by) = (self.pair(), self.span(300..=4_000));
                Fault::Late { from, to, by }
            }
            Class::Crash => Fault::Crash {
                node: self.node(),
                loses_power: self.random.chance(300),
            },
            Class::Pause => Fault::Pause { node: self.node() },
            Class::ClockJump => {
                let (node, far) = (self.node(), self.random.chance(100));
                let by = if far {
                    Duration::from_secs(3600)
                } else {
                    self.span(500..=60_000)
                };
                Fault::ClockJump { node, by }
            }
            Class::Drift => {
                let (node, millionths) = (self.node(), self.random.within(0..=200_000));
                let millionths = millionths as i32 - 100_000;
                Fault::Drift { node, millionths }
            }
            Class::SlowCore => {
                let (node, core) = (self.node(), self.random.index(2));
                let by = self.span(5..=1_000);
                Fault::SlowCore { node, core, by }
            }
            Class::FullQueue => Fault::FullQueue { node: self.node() },
            Class::MixedVersions => Fault::MixedVersions { node: self.node() },
        }
    }

    /// A path that comes and goes.
    fn flap(&mut self, into: &mut Vec<(Duration, Fault, Duration)>) {
        let Fault::Blocked { paths, .. } = self.fault() else {
            return;
        };
        let mut at = self.time();
        for _ in 0..self.random.within(2..=6) {
            let (lasts, pause) = (self.span(100..=3_000), self.span(100..=2_000));
            let (class, paths) = (self.class, paths.clone());
            if at + lasts < self.safety {
                into.push((at, Fault::Blocked { class, paths }, lasts));
            }
            at += lasts + pause;
        }
    }
}

/// How many faults of a class come at a time.
fn few(class: Class) -> RangeInclusive<u64> {
    match class {
        Class::Reset | Class::Late => 3..=8,
        Class::MixedVersions | Class::Drift => 1..=2,
        _ => 1..=4,
    }
}
