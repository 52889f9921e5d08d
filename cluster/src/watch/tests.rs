mod hostile;
mod members;
mod model;

use super::*;
use crate::detector::Patience;

const SECOND: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

fn node(port: u16, uid: u64) -> NodeId {
    NodeId {
        address: Address::new("demo", "127.0.0.1", port).unwrap(),
        uid: Uid::new(uid).unwrap(),
    }
}

fn watch(watcher: u64, watched: u64) -> Watch {
    Watch { watched, watcher }
}

fn watching(slot: u32) -> Watching {
    Watching {
        watcher_core: CoreId(1),
        watcher_slot: slot,
        core: CoreId(2),
        slot: 10 + slot,
    }
}

fn rules() -> Rules {
    Rules {
        watches_of_node_max: 4,
        watches_max: 6,
        judge: Judge::Deadline {
            silence: SECOND * 3,
        },
        ..Rules::default()
    }
}

fn effects(machine: &mut RemoteWatch) -> Vec<Effect> {
    std::iter::from_fn(|| machine.poll_effect()).collect()
}

fn said(machine: &mut RemoteWatch, uid: Uid) -> Vec<System> {
    let mut said = Vec::new();
    machine.say(uid, |system| {
        said.push(*system);
        true
    });
    said
}

fn declared(watch: Watch, slot: u32) -> System {
    System::Watch {
        watch,
        watcher_core: CoreId(1),
        core: CoreId(2),
        slot: 10 + slot,
    }
}

/// A machine that watches one actor of a node it has a link with, and has said so.
fn watcher() -> (RemoteWatch, NodeId) {
    let (mut machine, peer) = (RemoteWatch::new(rules()), node(1, 7));
    machine.handle_link_up(&peer);
    machine
        .watch(at(0), &peer, watch(1, 2), watching(1))
        .unwrap();
    assert_eq!(said(&mut machine, peer.uid), [declared(watch(1, 2), 1)]);
    effects(&mut machine);
    (machine, peer)
}

#[test]
fn a_watch_without_a_link_dials_and_is_declared_when_there_is_one() {
    let (mut machine, peer) = (RemoteWatch::new(rules()), node(1, 7));
    machine
        .watch(at(0), &peer, watch(1, 2), watching(1))
        .unwrap();
    let address = peer.address.clone();
    assert_eq!(effects(&mut machine), [Effect::Dial { address }]);
    assert_eq!(said(&mut machine, peer.uid), []);
    machine.handle_link_up(&peer);
    let uid = peer.uid;
    assert_eq!(effects(&mut machine), [Effect::Say { uid }]);
    assert_eq!(said(&mut machine, uid), [declared(watch(1, 2), 1)]);
    assert_eq!(said(&mut machine, uid), [], "once");
}

#[test]
fn unwatch_is_sent_and_removes_the_entry_on_the_peer() {
    let ((mut here, there_id), here_id) = (watcher(), node(2, 9));
    let mut there = RemoteWatch::new(rules());
    there.handle_link_up(&here_id);
    there.handle_system(here_id.uid, &declared(watch(1, 2), 1));
    let follow = Effect::Follow {
        uid: here_id.uid,
        watch: watch(1, 2),
        core: CoreId(2),
        slot: 11,
        watcher_core: CoreId(1),
    };
    assert_eq!(effects(&mut there), [follow]);
    assert_eq!(there.incoming(), 1);
    assert!(here.unwatch(there_id.uid, watch(1, 2)));
    assert!(!here.unwatch(there_id.uid, watch(1, 2)));
    for system in said(&mut here, there_id.uid) {
        there.handle_system(here_id.uid, &system);
    }
    assert_eq!((here.outgoing(), there.incoming()), (0, 0));
    let unfollow = Effect::Unfollow {
        uid: here_id.uid,
        watch: watch(1, 2),
        core: CoreId(2),
    };
    assert_eq!(effects(&mut there), [unfollow]);
    // Word of the end that was on its way already finds nobody.
    there.handle_ended(here_id.uid, watch(1, 2), WatchEnd::Stopped);
    assert_eq!(said(&mut there, here_id.uid), []);
    let reason = WatchEnd::Stopped;
    let late = System::Terminated {
        watch: watch(1, 2),
        reason,
    };
    here.handle_system(there_id.uid, &late);
    assert!(
        effects(&mut here)
            .iter()
            .all(|effect| matches!(effect, Effect::Say { .. }))
    );
}

#[test]
fn what_was_never_said_is_not_taken_back() {
    let (mut machine, peer) = watcher();
    machine
        .watch(at(0), &peer, watch(1, 3), watching(1))
        .unwrap();
    assert!(machine.unwatch(peer.uid, watch(1, 3)));
    assert_eq!(said(&mut machine, peer.uid), []);
}

#[test]
fn terminated_is_told_once() {
    let (mut machine, peer) = watcher();
    let system = System::Terminated {
        watch: watch(1, 2),
        reason: WatchEnd::Failed,
    };
    machine.handle_system(peer.uid, &system);
    let ended = Effect::Ended {
        uid: peer.uid,
        watch: watch(1, 2),
        watching: watching(1),
        reason: WatchEnd::Failed,
    };
    assert_eq!(effects(&mut machine), [ended]);
    machine.handle_system(peer.uid, &system);
    machine.handle_node_end(peer.uid, NodeEnd::Stopped);
    assert_eq!(effects(&mut machine), []);
}

#[test]
fn a_fresh_link_has_both_sides_declare_anew() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    let from_there = System::Watch {
        watch: watch(5, 6),
        watcher_core: CoreId(0),
        core: CoreId(3),
        slot: 4,
    };
    machine.handle_system(uid, &from_there);
    assert_eq!(machine.incoming(), 1);
    effects(&mut machine);
    machine.handle_link_down(uid);
    assert_eq!(effects(&mut machine), [Effect::UnfollowNode { uid }]);
    assert_eq!((machine.incoming(), machine.outgoing()), (0, 1));
    assert!(machine.is_watched(uid));
    machine.handle_link_up(&peer);
    assert_eq!(said(&mut machine, uid), [declared(watch(1, 2), 1)]);
    machine.handle_system(uid, &from_there);
    assert_eq!(machine.incoming(), 1);
}

#[test]
fn another_process_start_at_the_address_ends_all_watches_of_the_former() {
    let (mut machine, peer) = watcher();
    machine
        .watch(at(0), &peer, watch(3, 4), watching(2))
        .unwrap();
    machine.handle_link_down(peer.uid);
    effects(&mut machine);
    machine.handle_link_up(&node(1, 8));
    let watches = [(watch(1, 2), watching(1)), (watch(3, 4), watching(2))];
    let ended = Effect::NodeEnded {
        uid: peer.uid,
        address: peer.address.clone(),
        end: NodeEnd::Restarted,
        watches: watches.into(),
    };
    assert_eq!(effects(&mut machine), [ended]);
    assert_eq!(said(&mut machine, node(1, 8).uid), []);
    machine
        .watch(at(1), &peer, watch(1, 2), watching(1))
        .unwrap();
    let at_once = Effect::Ended {
        uid: peer.uid,
        watch: watch(1, 2),
        watching: watching(1),
        reason: WatchEnd::NotRunning,
    };
    assert_eq!(effects(&mut machine), [at_once]);
    assert_eq!(machine.outgoing(), 0);
}

#[test]
fn one_over_the_former_starts_forgets_the_oldest() {
    let mut machine = RemoteWatch::new(rules());
    for uid in 1..=FORMER_MAX as u64 + 1 {
        machine.handle_node_end(node(1, uid).uid, NodeEnd::Stopped);
        machine.handle_node_end(node(1, uid).uid, NodeEnd::Crashed);
    }
    let is_over = |machine: &mut RemoteWatch, uid| {
        let watched = machine.watch(at(0), &node(1, uid), watch(1, 2), watching(1));
        watched.unwrap();
        matches!(effects(machine)[..], [Effect::Ended { .. }])
    };
    assert!(is_over(&mut machine, 2) && is_over(&mut machine, FORMER_MAX as u64 + 1));
    assert!(!is_over(&mut machine, 1));
    // Whoever has a link again is not over, whatever was thought.
    machine.handle_link_up(&node(2, 5));
    effects(&mut machine);
    let watched = machine.watch(at(0), &node(2, 5), watch(1, 2), watching(1));
    watched.unwrap();
    assert!(machine.is_watched(node(2, 5).uid));
}

#[test]
fn one_over_the_watches_is_refused_and_room_comes_back() {
    let (mut machine, peer) = (RemoteWatch::new(rules()), node(1, 7));
    for watched in 0..4 {
        let taken = machine.watch(at(0), &peer, watch(1, watched), watching(1));
        assert_eq!(taken, Ok(()));
    }
    let refused = machine.watch(at(0), &peer, watch(1, 4), watching(1));
    assert_eq!(refused, Err(TooManyWatches { limit: 4 }));
    let other = node(2, 8);
    for watched in 0..2 {
        let taken = machine.watch(at(0), &other, watch(1, watched), watching(1));
        assert_eq!(taken, Ok(()));
    }
    let refused = machine.watch(at(0), &other, watch(1, 2), watching(1));
    assert_eq!(refused, Err(TooManyWatches { limit: 6 }));
    assert!(machine.unwatch(peer.uid, watch(1, 0)));
    let taken = machine.watch(at(0), &other, watch(1, 2), watching(1));
    assert_eq!(taken, Ok(()));
}

#[test]
fn one_over_the_watches_of_a_peer_is_answered_that_there_is_no_room() {
    let (mut machine, peer) = (RemoteWatch::new(rules()), node(1, 7));
    machine.handle_link_up(&peer);
    for watched in 0..6 {
        machine.handle_system(peer.uid, &declared(watch(1, watched), 1));
    }
    assert_eq!(machine.incoming(), 4);
    let no_room = |watched| System::Terminated {
        watch: watch(1, watched),
        reason: WatchEnd::NoRoom,
    };
    assert_eq!(said(&mut machine, peer.uid), [no_room(4), no_room(5)]);
    // One that it has already is not one more.
    machine.handle_system(peer.uid, &declared(watch(1, 0), 1));
    assert_eq!(machine.incoming(), 4);
    assert_eq!(said(&mut machine, peer.uid), []);
}

#[test]
fn one_over_the_words_that_may_wait_ends_the_link_and_no_watch() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    // Nothing can be sent: what is taken back at once leaves no trace.
    for _ in 0..100 {
        machine
            .watch(at(0), &peer, watch(1, 3), watching(1))
            .unwrap();
        assert!(machine.unwatch(uid, watch(1, 3)));
    }
    assert!(!effects(&mut machine).contains(&Effect::EndLink { uid }));
    // Whoever goes on to ask for the dead and does not listen is cut off.
    for watched in 0..9 {
        machine.handle_system(uid, &declared(watch(1, watched), 1));
        machine.handle_ended(uid, watch(1, watched), WatchEnd::NotRunning);
    }
    assert!(effects(&mut machine).contains(&Effect::EndLink { uid }));
    assert_eq!(said(&mut machine, uid), []);
    assert_eq!(machine.outgoing(), 1);
    machine.handle_link_up(&peer);
    assert_eq!(said(&mut machine, uid), [declared(watch(1, 2), 1)]);
}

#[test]
fn heartbeats_are_one_stream_for_each_watched_node_and_end_with_the_last_watch() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    machine
        .watch(at(0), &peer, watch(1, 3), watching(1))
        .unwrap();
    effects(&mut machine);
    for second in 1..20 {
        assert_eq!(machine.poll_timeout(), Some(at(second * 1000)));
        machine.handle_timeout(at(second * 1000));
        assert_eq!(effects(&mut machine), [Effect::Heartbeat { uid }]);
        machine.handle_heard(at(second * 1000 + 5), uid);
    }
    machine.unwatch(uid, watch(1, 2));
    machine.unwatch(uid, watch(1, 3));
    said(&mut machine, uid);
    effects(&mut machine);
    machine.handle_timeout(at(20_000));
    assert_eq!(effects(&mut machine), []);
    assert_eq!(machine.poll_timeout(), None);
    assert_eq!(machine.suspicion(at(20_000), uid), None);
}

#[test]
fn a_node_that_does_not_answer_is_gone_and_may_be_watched_again() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    for second in 1..=3 {
        machine.handle_timeout(at(second * 1000));
        assert_eq!(effects(&mut machine), [Effect::Heartbeat { uid }]);
    }
    machine.handle_timeout(at(4000));
    let ended = Effect::NodeEnded {
        uid,
        address: peer.address.clone(),
        end: NodeEnd::Silent,
        watches: [(watch(1, 2), watching(1))].into(),
    };
    assert_eq!(effects(&mut machine), [Effect::EndLink { uid }, ended]);
    machine
        .watch(at(4100), &peer, watch(1, 2), watching(1))
        .unwrap();
    assert!(machine.is_watched(uid));
}

#[test]
fn a_node_that_was_away_itself_accuses_nobody_for_what_it_missed() {
    let (mut machine, peer) = watcher();
    let uid = peer.uid;
    machine.handle_timeout(at(1000));
    machine.handle_heard(at(1001), uid);
    effects(&mut machine);
    // Ten seconds away: longer than the peer may be silent.
    machine.handle_timeout(at(12_000));
    assert_eq!(effects(&mut machine), [Effect::Heartbeat { uid }]);
    // Its answer comes; had it not, it would count as gone as late as ever.
    let mut silent = RemoteWatch::new(rules());
    silent.handle_link_up(&peer);
    silent
        .watch(at(0), &peer, watch(1, 2), watching(1))
        .unwrap();
    silent.handle_timeout(at(12_000));
    let gone_at = (12_000..)
        .step_by(500)
        .find(|ms| {
            silent.handle_timeout(at(*ms));
            !silent.is_watched(uid)
        })
        .unwrap();
    assert!((14_000..=16_000).contains(&gone_at), "{gone_at}");
}

#[test]
fn with_the_defaults_a_silent_node_is_gone_within_the_bound_of_the_reference() {
    let (mut machine, peer) = (RemoteWatch::new(Rules::default()), node(1, 7));
    let Judge::Phi(patience) = Rules::default().judge else {
        panic!("phi is the default");
    };
    assert_eq!(patience, Patience::every(SECOND));
    machine.handle_link_up(&peer);
    machine
        .watch(at(0), &peer, watch(1, 2), watching(1))
        .unwrap();
    let mut last = 0;
    for second in 1..300_u64 {
        machine.handle_timeout(at(second * 1000));
        if second <= 200 {
            last = second * 1000 + 1;
            machine.handle_heard(at(last), peer.uid);
        }
        if !machine.is_watched(peer.uid) {
            let after = second * 1000 - last;
            assert!((11_600..=12_600).contains(&after), "{after}");
            return;
        }
    }
    panic!("it was never noticed");
}
