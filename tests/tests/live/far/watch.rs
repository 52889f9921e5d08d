//! The ends of actors.

use ringmesh::{Ended, Ref};
use ringmesh_proto::frame::body::{System, Watch};
use ringmesh_proto::lane::Lane;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::watched::Watched;

use super::{
    Diary, Entry, FellowApi, done, entries, fellow, find, record, until_followed, until_none,
};

const LAST_WORDS: u64 = 1000;

/// Some of them take the large lane.
fn say_farewell(to: Ref<FellowApi>) -> u64 {
    let said = (0..LAST_WORDS).filter(|number| {
        let bytes = if number % 250 == 0 { 300 << 10 } else { 48 };
        to.try_tell(record(*number, bytes)).is_ok()
    });
    said.count() as u64
}

#[test]
fn word_of_an_end_comes_once_and_behind_all_that_the_dead_sent_on_both_lanes() {
    let (here, there) = (LiveNode::of_cores(2), LiveNode::of_cores(2));
    for (round, (watcher_core, core)) in [(0, 0), (1, 1), (0, 1), (1, 0)].into_iter().enumerate() {
        let (diary, name) = (Diary::default(), format!("fellow{round}"));
        let watcher = fellow(&here, watcher_core, &name, &diary);
        let victim = fellow(&there, core, &name, &Diary::default());
        let far_victim = find(&here, there.path(&name));
        let far_watcher = find(&there, here.path(&name));
        done(&here, watcher, move |_, cx| cx.watch(&far_victim)).expect("room");
        until_followed(&there, 1);
        // The links of both lanes are there before the many: nothing of those is refused.
        for (number, bytes) in [(0, 48), (1, 300 << 10)] {
            there.run(move |_| async move {
                let told = far_watcher.tell(record(number, bytes)).await;
                told.expect("a link");
            });
        }
        let said = done(&there, victim, move |_, cx| {
            cx.stop();
            say_farewell(far_watcher)
        });
        assert!(said > LAST_WORDS / 2, "most of it was taken: {said}");
        let ended = diary.until_ended(&here, 1);
        assert_eq!(ended, [(far_victim.id(), Ended::Stopped)]);
        let entries = diary.entries();
        assert_eq!(entries.len() as u64, said + 3, "{watcher_core} and {core}");
        assert!(matches!(entries.last(), Some(Entry::Ended(..))));
    }
    assert_eq!(entries(&[&here, &there]), 0);
}

#[test]
fn unwatch_under_load_leaves_nothing_on_either_side_and_no_word_comes() {
    const EACH: usize = 300;
    let (here, there) = (LiveNode::of_cores(2), LiveNode::of_cores(2));
    let (diary, silent) = (Diary::default(), Diary::default());
    let watcher = fellow(&here, 1, "watcher", &diary);
    let victims: Vec<_> = (0..20_u16)
        .map(|number| fellow(&there, number % 2, &format!("victim{number}"), &silent))
        .collect();
    let far: Vec<_> = (0..20)
        .map(|number| find(&here, there.path(&format!("victim{number}"))))
        .collect();
    for _ in 0..EACH / 20 {
        let far = far.clone();
        done(&here, watcher, move |_, cx| {
            for victim in &far {
                cx.watch(victim).expect("room");
                assert!(victim.try_tell(record(1, 48)).is_ok());
            }
            for victim in &far {
                assert!(cx.unwatch(victim));
            }
        });
    }
    let kept = far[7];
    done(&here, watcher, move |_, cx| cx.watch(&kept).expect("room"));
    until_followed(&there, 1);
    assert_eq!(entries(&[&here, &there]), 4, "two for each side");
    for victim in victims {
        done(&there, victim, |_, cx| cx.stop());
    }
    assert_eq!(diary.until_ended(&here, 1), [(kept.id(), Ended::Stopped)]);
    until_none(&[&here, &there]);
    assert_eq!(diary.ended().len(), 1);
}

#[test]
fn the_dead_and_the_failed_are_told_apart_and_a_new_actor_of_the_name_is_another() {
    let (here, there) = (LiveNode::start(), LiveNode::of_cores(2));
    let (diary, silent) = (Diary::default(), Diary::default());
    let watcher = fellow(&here, 0, "watcher", &diary);
    for core in [0, 1] {
        let former = fellow(&there, core, "victim", &silent);
        let far = find(&here, there.path("victim"));
        done(&here, watcher, move |_, cx| cx.watch(&far)).expect("room");
        until_followed(&there, 1);
        there.run(move |_| async move {
            let deed: Box<super::Deed> = Box::new(|_, _| panic!("somebody watches this"));
            assert!(former.tell_local(super::Act(deed)).await.is_ok());
        });
        let ended = diary.until_ended(&here, 1 + 2 * usize::from(core));
        assert_eq!(ended.last(), Some(&(far.id(), Ended::Failed)));
        let heir_diary = Diary::default();
        let heir = fellow(&there, core, "victim", &heir_diary);
        done(&here, watcher, move |_, cx| cx.watch(&far)).expect("room");
        let ended = diary.until_ended(&here, 2 + 2 * usize::from(core));
        assert_eq!(ended.last(), Some(&(far.id(), Ended::Gone)));
        here.run(move |_| async move { drop(far.tell(record(1, 48)).await) });
        done(&there, heir, |_, cx| cx.stop());
        assert_eq!(heir_diary.entries(), [], "it is for the former one");
    }
    until_none(&[&here, &there]);
    assert_eq!(diary.ended().len(), 4);
}

/// A node that can only be dialled through a cutter.
fn behind(cutter: &Cutter) -> LiveNode {
    LiveNode::start_with(|builder| {
        builder
            .bind(cutter.behind())
            .advertise("127.0.0.1", cutter.address().port())
    })
}

#[test]
fn cuts_neither_lose_nor_repeat_word_of_an_end() {
    const VICTIMS: usize = 30;
    let cutters = [0, 1].map(|_| Cutter::start(&Cuts::none()));
    let [here, there] = [&cutters[0], &cutters[1]].map(behind);
    let (diary, silent) = (Diary::default(), Diary::default());
    let watcher = fellow(&here, 0, "watcher", &diary);
    let mut expected = Vec::new();
    for number in 0..VICTIMS {
        let name = format!("victim{number}");
        let victim = fellow(&there, 0, &name, &silent);
        let far = find(&here, there.path(&name));
        done(&here, watcher, move |_, cx| cx.watch(&far)).expect("room");
        expected.push(far.id());
        if number % 3 == 0 {
            cutters.iter().for_each(|cutter| cutter.cut_all(false));
        }
        done(&there, victim, |_, cx| cx.stop());
    }
    let mut ended = diary.until_ended(&here, VICTIMS);
    until_none(&[&here, &there]);
    assert_eq!(diary.ended().len(), VICTIMS);
    ended.sort_unstable_by_key(|(who, _)| *who);
    expected.sort_unstable();
    assert!(ended.iter().map(|(who, _)| who).eq(&expected));
    assert!(
        ended
            .iter()
            .all(|(_, why)| matches!(why, Ended::Stopped | Ended::Gone))
    );
}

#[test]
fn what_nodes_tell_each_other_is_taken_on_the_control_lane_alone_and_answered() {
    let watched = Watched::start();
    let watch = Watch {
        watched: 12345,
        watcher: 7,
    };
    let framed = |system: &System| {
        let mut bytes = vec![0; System::FRAME_BYTES_MAX];
        let length = system.encode(&mut bytes);
        bytes.truncate(length);
        bytes
    };
    let mut ordinary = RawPeer::link(watched.id());
    ordinary.send(&framed(&System::Unwatch { watch }));
    assert!(ordinary.ending().is_silent());
    let mut control = RawPeer::link_on(watched.id(), Lane::Control);
    // Actors that are not there, on cores that are, and that are not.
    for core in [0, 1, 200, u16::MAX] {
        let word = System::Watch {
            watch,
            watcher_core: ringmesh_proto::address::CoreId(3),
            core: ringmesh_proto::address::CoreId(core),
            slot: 9,
        };
        control.send(&framed(&word));
        let answer = control.frame_of(ringmesh_proto::kind::Kind::System);
        let reason = ringmesh_proto::frame::body::WatchEnd::NotRunning;
        assert_eq!(
            answer.body(System::parse),
            System::Terminated { watch, reason }
        );
    }
    let mut bad = framed(&System::Unwatch { watch });
    bad[16] = 99;
    ringmesh_tests::live::raw::frames::reseal(&mut bad);
    control.send(&bad);
    assert!(control.ending().is_silent());
    watched.saw_nothing();
}
