//! Members of the cluster, whom the membership judges.

use super::*;

/// A machine that watches one actor of a member it has a link with.
fn watcher_of_member() -> (RemoteWatch, NodeId) {
    let (mut machine, peer) = watcher();
    machine.set_members(at(0), [peer.uid, node(3, 9).uid]);
    (machine, peer)
}

fn ended(peer: &NodeId, end: NodeEnd) -> Effect {
    Effect::NodeEnded {
        uid: peer.uid,
        address: peer.address.clone(),
        end,
        watches: [(watch(1, 2), watching(1))].into(),
    }
}

fn wait(machine: &mut RemoteWatch, seconds: std::ops::RangeInclusive<u64>) -> Vec<Effect> {
    seconds.for_each(|second| machine.handle_timeout(at(second * 1000)));
    effects(machine)
}

#[test]
fn a_member_gets_no_heartbeats_and_ends_with_its_removal_alone() {
    let (mut machine, peer) = watcher_of_member();
    assert_eq!(wait(&mut machine, 1..=60), []);
    assert_eq!(machine.suspicion(at(60_000), peer.uid), None);
    for end in [NodeEnd::Silent, NodeEnd::Crashed, NodeEnd::Restarted] {
        machine.handle_node_end(peer.uid, end);
        assert_eq!(effects(&mut machine), [], "{end:?}");
        assert!(machine.is_watched(peer.uid));
    }
    machine.handle_link_up(&node(1, 8));
    assert_eq!(effects(&mut machine), [], "another start at its address");
    // What is not over may be watched.
    let more = machine.watch(at(60_000), &peer, watch(1, 3), watching(1));
    assert_eq!((more, machine.outgoing()), (Ok(()), 2));
    assert!(machine.unwatch(peer.uid, watch(1, 3)));
    effects(&mut machine);
    machine.handle_node_end(peer.uid, NodeEnd::Removed);
    assert_eq!(effects(&mut machine), [ended(&peer, NodeEnd::Removed)]);
    machine.handle_node_end(peer.uid, NodeEnd::Removed);
    machine.handle_node_end(peer.uid, NodeEnd::Quarantined);
    machine.set_members(at(60_000), [node(3, 9).uid]);
    assert_eq!(effects(&mut machine), [], "once");
    assert_eq!(machine.outgoing(), 0);
}

#[test]
fn watching_a_removed_member_ends_at_once_even_while_its_link_lasts() {
    let (mut machine, peer) = watcher_of_member();
    machine.handle_node_end(peer.uid, NodeEnd::Removed);
    effects(&mut machine);
    for linked in [false, true] {
        if linked {
            machine.handle_link_up(&peer);
        }
        let watched = machine.watch(at(0), &peer, watch(1, 2), watching(1));
        assert_eq!(watched, Ok(()));
        let lost = ended(&peer, NodeEnd::Removed);
        assert_eq!(effects(&mut machine), [lost], "linked: {linked}");
    }
    assert_eq!(machine.outgoing(), 0);
}

#[test]
fn the_goodbye_of_a_member_and_a_quarantine_end_its_watches() {
    for end in [NodeEnd::Stopped, NodeEnd::Quarantined] {
        let (mut machine, peer) = watcher_of_member();
        machine.handle_node_end(peer.uid, end);
        assert_eq!(effects(&mut machine), [ended(&peer, end)]);
        machine.handle_node_end(peer.uid, NodeEnd::Removed);
        assert_eq!(effects(&mut machine), [], "once");
    }
}

#[test]
fn a_watched_node_passes_over_when_it_becomes_a_member_and_back() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    assert_eq!(
        wait(&mut machine, 1..=2),
        [Effect::Heartbeat { uid }, Effect::Heartbeat { uid }]
    );
    machine.set_members(at(2500), [uid]);
    assert_eq!(wait(&mut machine, 3..=30), []);
    // This node is in no cluster any more. Its answers are waited for from here on.
    machine.set_members(at(30_000), []);
    assert_eq!(
        wait(&mut machine, 31..=33),
        vec![
            Effect::Heartbeat { uid },
            Effect::Heartbeat { uid },
            Effect::Heartbeat { uid },
        ]
    );
    let [Effect::EndLink { .. }, silent] = &wait(&mut machine, 34..=34)[..] else {
        panic!("it never answered");
    };
    assert_eq!(*silent, ended(&peer, NodeEnd::Silent));
}

#[test]
fn a_node_that_is_lost_before_it_becomes_a_member_ends_as_any_other() {
    for end in [NodeEnd::Crashed, NodeEnd::Restarted, NodeEnd::Stopped] {
        let (mut machine, peer) = watcher();
        machine.set_members(at(0), [node(3, 9).uid]);
        machine.handle_node_end(peer.uid, end);
        let told = effects(&mut machine);
        assert_eq!(told.last(), Some(&ended(&peer, end)));
        // Another core heard of it as a member before it was known to be over.
        machine.set_members(at(0), [peer.uid]);
        machine.handle_node_end(peer.uid, NodeEnd::Removed);
        assert_eq!(effects(&mut machine), [], "once");
    }
}

#[test]
fn a_member_without_a_link_is_dialled_until_it_can_be_told() {
    let (mut machine, peer) = watcher_of_member();
    machine.handle_link_down(peer.uid);
    let dial = || Effect::Dial {
        address: peer.address.clone(),
    };
    assert_eq!(wait(&mut machine, 1..=3), [dial(), dial(), dial()]);
    machine.handle_link_up(&peer);
    assert_eq!(said(&mut machine, peer.uid), [declared(watch(1, 2), 1)]);
    effects(&mut machine);
    assert_eq!(wait(&mut machine, 4..=5), []);
    machine.unwatch(peer.uid, watch(1, 2));
    said(&mut machine, peer.uid);
    effects(&mut machine);
    assert_eq!(wait(&mut machine, 6..=6), []);
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn one_over_those_remembered_as_removed_forgets_the_oldest() {
    let mut machine = RemoteWatch::new(rules());
    for uid in 1..=FORMER_MAX as u64 + 1 {
        machine.handle_node_end(node(1, uid).uid, NodeEnd::Removed);
        machine.handle_node_end(node(1, uid).uid, NodeEnd::Removed);
    }
    let is_over = |machine: &mut RemoteWatch, uid| {
        let watched = machine.watch(at(0), &node(1, uid), watch(1, 2), watching(1));
        watched.unwrap();
        matches!(effects(machine)[..], [Effect::NodeEnded { .. }])
    };
    assert!(is_over(&mut machine, 2) && is_over(&mut machine, FORMER_MAX as u64 + 1));
    assert!(!is_over(&mut machine, 1));
}
