use ringmesh_proto::address::NodeId;
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::matrix::LinkMatrix;

use super::*;
use crate::core::SharedDoor;
use crate::core::link::End;

const CONTROL: (CoreId, Lane) = (CONTROL_CORE, Lane::Ordinary);

fn address(port: u16) -> Address {
    Address::new("demo", "127.0.0.1", port).unwrap()
}

fn table(peers_max: usize) -> PeerTable {
    let outbound = Outbound::new(64 << 10, 1 << 20, 1 << 20);
    let node = NodeId {
        address: address(1),
        uid: Uid::new(7).unwrap(),
    };
    let end = End::new(CoreId(0), node, outbound, Inbound::new(1 << 20));
    PeerTable::new(
        &address(1),
        (&shared(), CoreId(0)),
        [end.link].into_iter(),
        peers_max,
    )
}

fn shared() -> Shared {
    let door = SharedDoor::new(&crate::config::Settings::new("demo"));
    let shared = Shared::new(1, 8, 1, door);
    let uid = shared.uid;
    shared.announce(NodeId {
        address: address(1),
        uid,
    });
    shared
}

#[test]
fn one_over_the_limit_takes_the_place_of_a_peer_that_nobody_needs() {
    let (mut table, shared) = (table(2), shared());
    let meet = |table: &mut PeerTable, port| table.find_or_add(&address(port), CONTROL, &shared);
    let first = meet(&mut table, 2).unwrap();
    let second = meet(&mut table, 3).unwrap();
    assert_eq!(meet(&mut table, 2).unwrap(), first);
    let third = meet(&mut table, 4).unwrap();
    assert_eq!(third, first);
    assert_eq!(table.address(third), Some(&address(4)));
    assert_ne!(meet(&mut table, 3).unwrap(), third);
    table.watch(second, Waker::noop().clone());
    table.watch(third, Waker::noop().clone());
    let refused = meet(&mut table, 5);
    assert!(matches!(
        refused,
        Err(ResolveError::TooManyPeers { limit: 2 })
    ));
}

#[test]
fn peers_one_over_those_of_a_turn_are_left_for_the_next() {
    let (mut table, shared) = (table(8), shared());
    for port in 2..=4 {
        table.find_or_add(&address(port), CONTROL, &shared).unwrap();
    }
    let rest_of = |first, count| table.links_from(first, count).1;
    assert_eq!((rest_of(0, 2), rest_of(2, 2)), (Some(2), None));
    assert_eq!((rest_of(0, 3), rest_of(0, usize::MAX)), (None, None));
    // A table only grows, but whoever asks may be ahead of it.
    assert_eq!(rest_of(9, 2), None);
}

#[test]
fn a_core_without_a_link_is_reached_by_way_of_another() {
    let (mut table, shared) = (table(8), shared());
    table.me = CoreId(1);
    let uid = Uid::new(5).unwrap();
    let matrix = LinkMatrix::new(3, 3, 1);
    let mut meet = |core| {
        let at = (CoreId(core), Lane::Ordinary);
        let met = table.find_or_add(&address(2), at, &shared);
        let number = table.number(&address(2)).unwrap();
        table.learn(
            number,
            Met {
                uid,
                matrix,
                is_client: false,
            },
        );
        let ways = [0, 1, 2].map(|to| table.towards(&address(2), uid, (CoreId(to), false)));
        (met.unwrap(), ways)
    };
    let (control, ways) = meet(0);
    assert_eq!(ways, [Some(control), None, None]);
    let (other, ways) = meet(2);
    assert_eq!(ways, [Some(control), Some(other), Some(other)]);
    // Of another process start nobody knows.
    let restarted = Uid::new(6).unwrap();
    let ordinary = (CoreId(1), false);
    assert_eq!(table.towards(&address(2), restarted, ordinary), None);
    let to = |uid, core| Recipient {
        uid,
        generation: 0,
        slot: 0,
        node: table.number(&address(2)).unwrap(),
        core: CoreId(core),
        table: table.table,
        large: false,
    };
    assert_eq!(table.awaited(to(uid, 1)), Some(other));
    assert_eq!(table.awaited(to(restarted, 1)), Some(control));
    let refused = |to| table.link_to(&to, None).map(drop).unwrap_err();
    assert!(matches!(refused(to(uid, 1)), Refusal::Unreachable));
    assert!(
        matches!(refused(to(uid, 3)), Refusal::NotRunning),
        "no such core"
    );
}

#[test]
fn the_cores_of_a_node_share_its_number_until_the_last_is_forgotten() {
    let (mut table, shared) = (table(2), shared());
    let cores = [CoreId(0), CoreId(3)];
    let meet =
        |table: &mut PeerTable, core, lane| table.find_or_add(&address(2), (core, lane), &shared);
    let [first, second] = cores.map(|core| meet(&mut table, core, Lane::Ordinary).unwrap());
    let number = table.number(&address(2)).unwrap();
    let find = |table: &PeerTable, core| table.find(number, core, Lane::Ordinary);
    assert_eq!(
        cores.map(|core| find(&table, core)),
        [Some(first), Some(second)]
    );
    table.forget(first, &shared);
    assert_eq!(find(&table, CoreId(0)), None);
    assert_eq!(shared.address_of(number), Some(address(2)));
    table.forget(second, &shared);
    assert_eq!(shared.address_of(number), None);
    assert_eq!(table.number(&address(2)), None);
}

#[test]
fn one_over_the_cores_a_node_may_have_is_no_peer() {
    let (mut table, shared) = (table(2), shared());
    assert!(
        table
            .find_or_add(&address(2), (CoreId(CORES_MAX), Lane::Ordinary), &shared)
            .is_err()
    );
    let at = (CoreId(1), Lane::Ordinary);
    assert!(table.find_or_add(&address(1), at, &shared).is_err());
}

#[test]
fn each_lane_has_peers_of_its_own_and_a_bound_for_itself() {
    let (mut table, shared) = (table(1), shared());
    let mut meet = |port, lane| table.find_or_add(&address(port), (CONTROL_CORE, lane), &shared);
    let met = Lane::ALL.map(|lane| meet(2, lane).unwrap());
    assert_eq!(Lane::ALL.map(|lane| meet(2, lane).unwrap()), met);
    assert_ne!(met[0], met[1]);
    // One over the bound takes a place of its own lane.
    let other = meet(3, Lane::Large).unwrap();
    assert_eq!(other, met[Lane::Large.index()]);
    let number = table.number(&address(2)).unwrap();
    assert_eq!(table.of_node(number).len(), 2);
    assert_eq!(table.find(number, CONTROL_CORE, Lane::Large), None);
    let both = [met[0], met[1]];
    both.into_iter()
        .for_each(|peer| table.forget(peer, &shared));
    assert_eq!(shared.address_of(number), None);
    // Within the node there are no lanes.
    let own = |large| table.find_again((NodeIndex::SELF, CONTROL_CORE, large));
    assert_eq!(own(true), own(false));
}
