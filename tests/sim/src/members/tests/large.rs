//! Many nodes, of one core each.

use super::*;

/// All are members soon after the last has started, and one that falls silent is removed.
fn grow(nodes: usize) {
    let mut world = members(1, nodes);
    let starts = |node: usize| Duration::from_millis(20 * node as u64);
    let last = starts(nodes);
    let mut script = Script::new();
    for node in 0..nodes {
        script = script.at(starts(node)).start([node]);
    }
    world.follow(script);
    let is_whole = |world: &World<Participant>, count: usize| {
        world.running().all(|node| {
            let topology = world.machine(node).unwrap().control().topology();
            let is_up = |it: &Member| it.status() == Status::Up;
            topology.members().len() == count && topology.members().iter().all(is_up)
        })
    };
    world.run(last).unwrap();
    let within = |world: &mut World<Participant>, count| {
        (0..60).find(|_| {
            world.run(secs(1)).unwrap();
            is_whole(world, count)
        })
    };
    let up = within(&mut world, nodes).expect("all are up within 60 s");
    let silent = nodes / 2;
    let loses_power = true;
    let node = silent;
    world.befall(Fault::Crash { node, loses_power }, None);
    let gone = within(&mut world, nodes - 1).expect("it is removed within 60 s");
    println!("{nodes} nodes: up {up} s after the last start, one removed after {gone} s");
}

#[test]
fn sixty_four_nodes_become_one_cluster_and_lose_one() {
    grow(64);
}

#[test]
#[ignore = "takes about a minute: cargo test -p ringmesh-sim --lib -- --ignored two_hundred"]
fn two_hundred_and_fifty_six_nodes_become_one_cluster_and_lose_one() {
    grow(256);
}
