//! Two nodes that watch each other's actors over links that come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const ACTORS: u64 = 6;

/// A node as its driver sees it.
struct Side {
    machine: RemoteWatch,
    id: NodeId,
    /// Actors that run.
    alive: BTreeSet<u64>,
    /// What its cores were asked to tell.
    followed: BTreeSet<Watch>,
    /// Words of its cores to the machine, which come later.
    words: VecDeque<(Watch, WatchEnd)>,
    /// What its actors watch, by their own account.
    watches: BTreeSet<Watch>,
    /// Words from the other side that are on their way.
    stream: VecDeque<System>,
    /// How many it may still be sent.
    credit: usize,
    /// Its clock, which goes on while the other one is a member: nobody answers heartbeats here.
    now: Instant,
    /// The other one is a member of its cluster.
    has_member: bool,
    /// How often each watch was told, and begun without being taken back.
    told: BTreeMap<Watch, usize>,
    begun: BTreeMap<Watch, usize>,
}

impl Side {
    fn new(port: u16) -> Self {
        Self {
            machine: RemoteWatch::new(Rules {
                watches_of_node_max: 64,
                ..Rules::default()
            }),
            id: node(port, u64::from(port)),
            alive: (0..ACTORS).collect(),
            followed: BTreeSet::new(),
            words: VecDeque::new(),
            watches: BTreeSet::new(),
            stream: VecDeque::new(),
            credit: 0,
            now: at(0),
            has_member: false,
            told: BTreeMap::new(),
            begun: BTreeMap::new(),
        }
    }

    fn end(&mut self, actor: u64) {
        self.alive.remove(&actor);
        let followed = std::mem::take(&mut self.followed);
        for watch in followed {
            if watch.watched == actor {
                self.words.push_back((watch, WatchEnd::Stopped));
            } else {
                self.followed.insert(watch);
            }
        }
    }
}

struct World {
    sides: [Side; 2],
    linked: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Watch(usize, u64, u64),
    Unwatch(usize, u64, u64),
    End(usize, u64),
    Words(usize, usize),
    Deliver(usize, usize),
    Credit(usize, usize),
    /// The other one becomes a member, or is none any more.
    Member(usize, bool),
    /// A minute passes without an answer, and the crash of the other one is reported.
    Doubt(usize),
    Up,
    Down,
}

fn step() -> impl Strategy<Value = Step> {
    let pair = || (0_usize..2, 0..ACTORS, 0..ACTORS);
    let some = |most: usize| (0_usize..2, 1..most);
    prop_oneof![
        4 => pair().prop_map(|(side, one, other)| Step::Watch(side, one, other)),
        3 => pair().prop_map(|(side, one, other)| Step::Unwatch(side, one, other)),
        1 => pair().prop_map(|(side, actor, _)| Step::End(side, actor)),
        3 => some(5).prop_map(|(side, count)| Step::Words(side, count)),
        6 => some(8).prop_map(|(side, count)| Step::Deliver(side, count)),
        6 => some(8).prop_map(|(side, count)| Step::Credit(side, count)),
        2 => (0_usize..2, any::<bool>()).prop_map(|(side, is)| Step::Member(side, is)),
        2 => (0_usize..2).prop_map(Step::Doubt),
        2 => Just(Step::Up),
        1 => Just(Step::Down),
    ]
}

impl World {
    fn take(&mut self, step: Step) {
        match step {
            Step::Watch(side, watcher, watched) => self.watch(side, watch(watcher, watched)),
            Step::Unwatch(side, watcher, watched) => self.unwatch(side, watch(watcher, watched)),
            Step::End(side, actor) => self.sides[side].end(actor),
            Step::Words(side, count) => {
                let uid = self.sides[1 - side].id.uid;
                let it = &mut self.sides[side];
                for (watch, reason) in it.words.drain(..count.min(it.words.len())) {
                    it.machine.handle_ended(uid, watch, reason);
                }
            }
            Step::Deliver(side, count) => {
                let uid = self.sides[1 - side].id.uid;
                let it = &mut self.sides[side];
                for system in it.stream.drain(..count.min(it.stream.len())) {
                    it.machine.handle_system(uid, &system);
                }
            }
            Step::Credit(side, count) => {
                self.sides[side].credit += count;
                self.say(1 - side);
            }
            Step::Member(side, is_member) => {
                let uid = self.sides[1 - side].id.uid;
                let it = &mut self.sides[side];
                it.has_member = is_member;
                it.machine.set_members(it.now, is_member.then_some(uid));
            }
            Step::Doubt(side) => self.doubt(side),
            Step::Up if !self.linked => {
                self.linked = true;
                for side in 0..2 {
                    let peer = self.sides[1 - side].id.clone();
                    self.sides[side].machine.handle_link_up(&peer);
                }
            }
            Step::Down if self.linked => self.cut(),
            Step::Up | Step::Down => {}
        }
        (0..2).for_each(|side| self.drive(side));
    }

    /// What would be the end of any other node, and is none of a member.
    fn doubt(&mut self, side: usize) {
        let uid = self.sides[1 - side].id.uid;
        let it = &mut self.sides[side];
        if it.has_member {
            for _ in 0..60 {
                it.now = it.now + SECOND;
                it.machine.handle_timeout(it.now);
            }
            it.machine.handle_node_end(uid, NodeEnd::Crashed);
        }
    }

    fn watch(&mut self, side: usize, watch: Watch) {
        let peer = self.sides[1 - side].id.clone();
        let it = &mut self.sides[side];
        if it.watches.insert(watch) {
            *it.begun.entry(watch).or_default() += 1;
            let watched = it.machine.watch(it.now, &peer, watch, watching(0));
            watched.unwrap();
        }
    }

    fn unwatch(&mut self, side: usize, watch: Watch) {
        let uid = self.sides[1 - side].id.uid;
        let it = &mut self.sides[side];
        if it.watches.remove(&watch) {
            *it.begun.get_mut(&watch).unwrap() -= 1;
            it.machine.unwatch(uid, watch);
        }
    }

    fn cut(&mut self) {
        self.linked = false;
        for side in 0..2 {
            let uid = self.sides[1 - side].id.uid;
            let it = &mut self.sides[side];
            it.stream.clear();
            it.credit = 0;
            it.machine.handle_link_down(uid);
        }
    }

    fn say(&mut self, side: usize) {
        let [one, other] = &mut self.sides;
        let (from, to) = if side == 0 {
            (one, other)
        } else {
            (other, one)
        };
        from.machine.say(to.id.uid, |system| {
            let has_credit = to.credit > 0;
            if has_credit {
                to.credit -= 1;
                to.stream.push_back(*system);
            }
            has_credit
        });
    }

    /// Carries out what a machine wants.
    fn drive(&mut self, side: usize) {
        while let Some(effect) = self.sides[side].machine.poll_effect() {
            let it = &mut self.sides[side];
            match effect {
                Effect::Ended { watch, .. } => {
                    // It may have been taken back meanwhile.
                    if it.watches.remove(&watch) {
                        *it.told.entry(watch).or_default() += 1;
                    }
                }
                Effect::Follow { watch, .. } => {
                    if it.alive.contains(&watch.watched) {
                        it.followed.insert(watch);
                    } else {
                        it.words.push_back((watch, WatchEnd::NotRunning));
                    }
                }
                Effect::Unfollow { watch, .. } => {
                    it.followed.remove(&watch);
                }
                Effect::UnfollowNode { .. } => it.followed.clear(),
                Effect::Say { .. } => self.say(side),
                Effect::Dial { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn settle(&mut self) {
        self.take(Step::Up);
        for _ in 0..10 {
            for side in 0..2 {
                self.take(Step::Credit(side, 1000));
                self.take(Step::Deliver(side, usize::MAX));
                self.take(Step::Words(side, usize::MAX));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn each_end_is_told_once_and_what_is_left_is_known_to_both(
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let sides = [Side::new(1), Side::new(2)];
        let mut world = World { sides, linked: false };
        steps.into_iter().for_each(|step| world.take(step));
        world.settle();
        for side in 0..2 {
            let (it, other) = (&world.sides[side], &world.sides[1 - side]);
            // Whoever watches still, watches the living; all others were told, each once.
            let begun: usize = it.begun.values().sum();
            let told: usize = it.told.values().sum();
            prop_assert_eq!(begun, told + it.watches.len());
            prop_assert!(it.watches.iter().all(|watch| other.alive.contains(&watch.watched)));
            prop_assert!(it.told.keys().all(|watch| !other.alive.contains(&watch.watched)));
            // Both sides know of the same watches, and of no others.
            prop_assert_eq!(it.machine.outgoing(), it.watches.len());
            prop_assert_eq!(other.machine.incoming(), it.watches.len());
            prop_assert_eq!(&other.followed, &it.watches);
        }
        // And when they are taken back, nothing is left.
        for side in 0..2 {
            for watch in world.sides[side].watches.clone() {
                world.take(Step::Unwatch(side, watch.watcher, watch.watched));
            }
        }
        world.settle();
        for side in &world.sides {
            prop_assert_eq!((side.machine.outgoing(), side.machine.incoming()), (0, 0));
            prop_assert!(side.followed.is_empty());
        }
    }
}
