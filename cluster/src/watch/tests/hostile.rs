//! A peer that says what it likes, and a driver that tells what it likes.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Up(u64),
    Down(u64),
    Watch(u64, u64, u64),
    Unwatch(u64, u64, u64),
    Heard(u64, System),
    Ended(u64, u64, u64),
    Gone(u64, NodeEnd),
    Say(u64, usize),
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1_u64..4;
    let pair = || (0_u64..8, 0_u64..8);
    let ends = [
        NodeEnd::Silent,
        NodeEnd::Crashed,
        NodeEnd::Restarted,
        NodeEnd::Stopped,
        NodeEnd::Quarantined,
    ];
    let system = (0_u8..3, pair(), any::<u16>(), any::<u16>(), any::<u32>());
    let system = system.prop_map(|(kind, (one, other), watcher_core, core, slot)| {
        let watch = watch(one, other);
        match kind {
            0 => System::Watch {
                watch,
                watcher_core: CoreId(watcher_core),
                core: CoreId(core),
                slot,
            },
            1 => System::Unwatch { watch },
            _ => System::Terminated {
                watch,
                reason: WatchEnd::from_wire(core as u8 % 6),
            },
        }
    });
    prop_oneof![
        2 => node().prop_map(Step::Up),
        1 => node().prop_map(Step::Down),
        4 => (node(), pair()).prop_map(|(node, (one, other))| Step::Watch(node, one, other)),
        2 => (node(), pair()).prop_map(|(node, (one, other))| Step::Unwatch(node, one, other)),
        8 => (node(), system).prop_map(|(node, system)| Step::Heard(node, system)),
        4 => (node(), pair()).prop_map(|(node, (one, other))| Step::Ended(node, one, other)),
        1 => (node(), 0_usize..5).prop_map(move |(node, end)| Step::Gone(node, ends[end])),
        2 => (node(), 0_usize..9).prop_map(|(node, count)| Step::Say(node, count)),
        2 => (0_u64..5000).prop_map(Step::Time),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_that_is_said_breaks_the_bounds(
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let rules = rules();
        let mut machine = RemoteWatch::new(rules);
        let mut now = 0;
        for step in steps {
            // Two starts of one address among them.
            let id = |uid: u64| node(1 + uid as u16 / 3, uid);
            let mut said = 0;
            match step {
                Step::Up(uid) => machine.handle_link_up(&id(uid)),
                Step::Down(uid) => machine.handle_link_down(id(uid).uid),
                Step::Watch(uid, one, other) => {
                    let _ = machine.watch(at(now), &id(uid), watch(one, other), watching(0));
                }
                Step::Unwatch(uid, one, other) => {
                    machine.unwatch(id(uid).uid, watch(one, other));
                }
                Step::Heard(uid, system) => machine.handle_system(id(uid).uid, &system),
                Step::Ended(uid, one, other) => {
                    machine.handle_ended(id(uid).uid, watch(one, other), WatchEnd::Stopped);
                }
                Step::Gone(uid, end) => machine.handle_node_end(id(uid).uid, end),
                Step::Say(uid, count) => machine.say(id(uid).uid, |_| {
                    said += 1;
                    said <= count
                }),
                Step::Time(ms) => {
                    now += ms;
                    machine.handle_timeout(at(now));
                }
            }
            effects(&mut machine);
            let nodes = || machine.nodes.values();
            let of_all = (
                nodes().map(Node::outgoing).sum::<usize>(),
                nodes().map(Node::incoming).sum::<usize>(),
            );
            prop_assert_eq!(of_all, (machine.outgoing(), machine.incoming()));
            prop_assert!(machine.outgoing() <= rules.watches_max);
            prop_assert!(machine.incoming() <= rules.watches_max);
            for node in nodes() {
                prop_assert!(node.outgoing() <= rules.watches_of_node_max);
                prop_assert!(node.incoming() <= rules.watches_of_node_max);
                prop_assert!(node.words() <= 2 * rules.watches_of_node_max);
                let is_needed = node.is_linked() || node.outgoing() > 0;
                prop_assert!(is_needed, "it is remembered for nothing");
                prop_assert!(node.is_linked() || node.words() + node.incoming() == 0);
                prop_assert_eq!(node.pulse.is_some(), node.outgoing() > 0);
            }
            let ticks = nodes().any(|node| node.pulse.is_some());
            let since = at(now.saturating_sub(5000));
            prop_assert!(!ticks || machine.poll_timeout().is_some_and(|due| due > since));
        }
    }
}
