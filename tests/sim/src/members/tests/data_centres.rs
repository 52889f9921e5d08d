//! Data centres that are cut off from each other, and those that speak for them.

use std::cell::RefCell;
use std::rc::Rc;

use ringmesh_cluster::membership::data_centres::SPEAKERS;
use ringmesh_cluster::membership::event::Numbered;

use super::*;
use crate::members::data_centres::NAMES;
use crate::script::Step;

/// What each node heard of whole data centres.
type Heard = Rc<RefCell<BTreeMap<usize, Vec<String>>>>;

/// Writes that down.
struct Listener(Heard);

impl Invariant<Participant> for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn observe_event(
        &mut self,
        _: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        if let Event::DataCentreUnreachable { name } | Event::DataCentreReachable { name } =
            &event.event
        {
            let said = format!("{} {name}", event.event.label());
            self.0.borrow_mut().entry(node).or_default().push(said);
        }
        Ok(1)
    }
}

/// Nodes of which each second one is in another data centre, held to what members are held to.
fn two(seed: u64, nodes: usize) -> (World<Participant>, Heard) {
    let (subject, disks) = (Members::default(), Disks::default());
    let maker = move |birth: &Birth<'_>| {
        let (name, settings) = (NAMES[birth.node % 2], subject.settings.clone());
        Participant::within(name, birth, settings, (4, disks.clone()))
    };
    let mut world = World::new(WorldSettings::new(seed, nodes), Trace::hashed(), maker);
    for invariant in Members::held_to(Downing::KeepMajority) {
        world.hold_to(invariant);
    }
    let heard = Heard::default();
    world.hold_to(Box::new(Listener(Rc::clone(&heard))));
    (world, heard)
}

/// Nothing passes between those with an even number and the others.
fn border(nodes: usize) -> Fault {
    let (one, other): (Vec<usize>, Vec<usize>) = (0..nodes).partition(|node| node % 2 == 0);
    Fault::partition(&one, &other)
}

/// The nodes that a node sees as members in full of its own data centre.
fn home(world: &World<Participant>, node: usize) -> Vec<usize> {
    let Some(machine) = world.machine(node) else {
        return Vec::new();
    };
    let topology = machine.control().topology();
    let is_home = |it: &&Member| it.roles().data_centre() == topology.data_centre();
    let up = topology.members().iter().filter(is_home);
    let up = up.filter(|it| it.status() == Status::Up);
    let place = |it: &Member| (0..world.nodes()).find(|at| world.uid(*at) == Some(it.uid()));
    let mut nodes: Vec<usize> = up.filter_map(place).collect();
    nodes.sort_unstable();
    nodes
}

/// Two data centres of three, cut off from each other for 30 s: in each a node joins and another
/// leaves, before it is known that the other one is gone, or after. Each node hears once that it
/// is, those that come in as well, and once that it is back; and all have one view again.
#[test]
fn data_centres_that_are_cut_off_go_on_and_meet_again() {
    let leave = || Command::Leave { address: None };
    for (seed, joins_after) in [(0, 3), (1, 16), (2, 9), (3, 20)] {
        let (mut world, heard) = two(seed, 8);
        let script = Script::new().start(0..6).at(secs(20));
        let script = script.befall_for(secs(30), border(8));
        let script = script.at(secs(20 + joins_after)).start([6, 7]);
        let script = script
            .after(secs(3))
            .command(4, leave())
            .command(5, leave());
        world.follow(script);
        world.run(secs(20)).unwrap();
        world.run(secs(29)).unwrap();
        for (node, members) in [(0, [0, 2, 6]), (1, [1, 3, 7])] {
            for other in members {
                assert_eq!(home(&world, other), members, "seed {seed}, node {node}");
            }
        }
        assert!(world.uid(4).is_none() && world.uid(5).is_none());
        for node in [0, 2, 6, 1, 3, 7] {
            let there = NAMES[1 - node % 2];
            let expected = [format!("dc_unreachable {there}")];
            assert_eq!(heard.borrow()[&node], expected, "seed {seed}, node {node}");
            let topology = world.machine(node).unwrap().control().topology();
            assert!(topology.unreachable_data_centres().eq([there]));
        }
        // The cut is over, and those that left come back.
        world.run(secs(20)).unwrap();
        for node in [0, 2, 6, 1, 3, 7] {
            let topology = world.machine(node).unwrap().control().topology();
            assert_eq!(topology.members().len(), 6, "seed {seed}, node {node}");
        }
        world.start(4);
        world.start(5);
        world.run(secs(40)).unwrap();
        world.finish().unwrap();
        for node in [0, 2, 6, 1, 3, 7] {
            let there = NAMES[1 - node % 2];
            let expected = ["dc_unreachable", "dc_reachable"].map(|it| format!("{it} {there}"));
            assert_eq!(heard.borrow()[&node], expected, "seed {seed}, node {node}");
        }
    }
}

/// One over the five that speak for a data centre has no link across, and none has more than five.
#[test]
fn one_over_the_speakers_is_linked_with_nobody_of_another_data_centre() {
    let (mut world, heard) = two(5, 14);
    world.follow(Script::new().start(0..14));
    world.run(secs(60)).unwrap();
    let mut most = 0;
    for _ in 0..20 {
        world.run(secs(1)).unwrap();
        let mut linked = 0;
        for node in 0..14 {
            let across = (0..14).filter(|other| other % 2 != node % 2);
            let links = across.filter(|other| world.is_linked(node, *other)).count();
            assert!(links <= SPEAKERS, "node {node} has {links}");
            linked += usize::from(links > 0);
        }
        assert!(linked <= 2 * SPEAKERS, "{linked} nodes are linked");
        most = most.max(linked);
    }
    assert_eq!(most, 2 * SPEAKERS);
    assert!(heard.borrow().is_empty());
    world.finish().unwrap();
}

/// Of seven members each, five speak. While the two are cut off from each other some of those go,
/// and others follow them who have not watched so far; and a user gives one up over there. Whoever
/// followed was taken to reach the other data centre, until it said otherwise.
#[test]
fn who_speaks_for_a_data_centre_from_now_on_says_nothing_of_others_before_it_can_know() {
    let leave = || Command::Leave { address: None };
    for seed in 0..3 {
        let (mut world, heard) = two(seed, 14);
        let cut = Step::Befall(border(14), Some(secs(120)));
        let script = Script::new().start(0..14).at(secs(40)).step(cut);
        let script = script.at(secs(70)).command(2, leave()).command(1, leave());
        let script = script.at(secs(100)).command(3, leave());
        let oldest = Command::Down {
            address: world.addresses()[5].clone(),
        };
        world.follow(script.at(secs(130)).command(0, oldest));
        world.run(secs(158)).unwrap();
        let told = |node: usize| heard.borrow().get(&node).cloned().unwrap_or_default();
        for node in [0, 4, 6, 8, 10, 12, 5, 7, 9, 11, 13] {
            let expected = [format!("dc_unreachable {}", NAMES[1 - node % 2])];
            assert_eq!(told(node), expected, "seed {seed}, node {node}");
        }
        world.run(secs(60)).unwrap();
        for node in [0, 4, 6, 8, 10, 12, 7, 9, 11, 13] {
            assert_eq!(told(node).len(), 2, "seed {seed}, node {node}");
        }
        for node in [1, 2, 3, 5] {
            world.start(node);
        }
        world.run(secs(40)).unwrap();
        world.finish().unwrap();
    }
}

/// A data centre loses its power, all of it, and comes back with other processes.
#[test]
fn a_data_centre_that_comes_back_is_one_of_the_cluster_again() {
    let (mut world, heard) = two(6, 6);
    let script = (0..6).filter(|it| it % 2 == 1).fold(
        Script::new().start(0..6).at(secs(20)),
        |script, node| {
            let loses_power = true;
            script.befall_for(secs(40), Fault::Crash { node, loses_power })
        },
    );
    world.follow(script);
    world.run(secs(55)).unwrap();
    for node in [0, 2, 4] {
        assert_eq!(home(&world, node), [0, 2, 4]);
        assert_eq!(heard.borrow()[&node], ["dc_unreachable east"]);
    }
    world.run(secs(65)).unwrap();
    world.finish().unwrap();
    for node in [0, 2, 4] {
        let expected = ["dc_unreachable east", "dc_reachable east"];
        assert_eq!(heard.borrow()[&node], expected);
    }
}

/// While two data centres were cut off from each other each process of both was started anew, one
/// after the other. Then none of one knew anybody who lives in the other, and they stayed two for
/// ever. Now those that speak for them ask who is at the addresses that they know.
#[test]
fn data_centres_of_which_each_process_was_replaced_while_they_were_cut_off_are_one_again() {
    for seed in 0..3 {
        let (mut world, _) = two(seed, 4);
        let cut = Step::Befall(border(4), Some(secs(90)));
        let mut script = Script::new().start(0..4).at(secs(15)).step(cut);
        for (node, at) in [(0, 20), (1, 23), (2, 45), (3, 48)] {
            let loses_power = false;
            let crash = Fault::Crash { node, loses_power };
            script = script.at(secs(at)).befall_for(secs(1), crash);
        }
        world.follow(script);
        world.run(secs(100)).unwrap();
        let known = |world: &World<Participant>, at: usize, of: usize| {
            let topology = world.machine(at).unwrap().control().topology();
            topology.member(world.uid(of).unwrap()).is_some()
        };
        let across = [(0, 1), (0, 3), (1, 0), (1, 2), (2, 1), (3, 0)];
        assert!(!across.iter().any(|it| known(&world, it.0, it.1)), "{seed}");
        assert!(known(&world, 0, 2) && known(&world, 1, 3), "{seed}");
        world.run(secs(60)).unwrap();
        world.finish().unwrap();
    }
}

#[test]
fn a_data_centre_that_is_there_and_said_not_to_be_is_found() {
    let (mut world, _) = two(7, 6);
    world.follow(Script::new().start(0..6));
    world.run(secs(10)).unwrap();
    let mut judge = DataCentres::default();
    let members = world.machine(0).unwrap().control().topology().members();
    let number = 1;
    for member in members.iter().cloned() {
        let event = Event::Member(member);
        judge
            .observe_event(&world, 0, &Numbered { number, event })
            .unwrap();
    }
    world.run(secs(40)).unwrap();
    let name = "east".into();
    let event = Event::DataCentreUnreachable { name };
    let event = Numbered { number, event };
    let why = judge.observe_event(&world, 0, &event).unwrap_err();
    assert!(why.ends_with("are well"), "{why}");
    world.befall(border(6), None);
    let why = judge.observe_event(&world, 0, &event).unwrap_err();
    assert!(why.contains("twice"), "{why}");
    let mut judge = DataCentres::default();
    assert_eq!(judge.observe_event(&world, 0, &event), Ok(1));
}

#[test]
fn a_data_centre_that_is_said_to_be_back_while_nothing_passes_is_found() {
    let (mut world, _) = two(7, 6);
    let cut = Step::Befall(border(6), Some(secs(60)));
    world.follow(Script::new().start(0..6).at(secs(70)).step(cut));
    let judge = |world: &World<Participant>| {
        let mut judge = DataCentres::default();
        let name = || "east".into();
        let events = [
            Event::DataCentreUnreachable { name: name() },
            Event::DataCentreReachable { name: name() },
        ];
        let events = events.map(|event| Numbered { number: 1, event });
        let judged = events.map(|event| judge.observe_event(world, 0, &event));
        assert_eq!(judged[0], Ok(1));
        judged[1].clone()
    };
    world.run(secs(85)).unwrap();
    assert_eq!(judge(&world), Ok(1), "of before");
    world.run(secs(10)).unwrap();
    let why = judge(&world).unwrap_err();
    assert!(why.ends_with("nothing passes"), "{why}");
    world.run(secs(40)).unwrap();
    assert_eq!(judge(&world), Ok(1));
}

#[test]
fn a_data_centre_that_is_cut_off_and_not_said_to_be_is_found() {
    let (subject, disks) = (Members::default(), Disks::default());
    let world = |pause| {
        let (mut settings, disks) = (subject.settings.clone(), disks.clone());
        settings.monitor.far.pause = pause;
        let maker = move |birth: &Birth<'_>| {
            let name = NAMES[birth.node % 2];
            Participant::within(name, birth, settings.clone(), (4, disks.clone()))
        };
        let mut world = World::new(WorldSettings::new(8, 4), Trace::hashed(), maker);
        world.hold_to(Box::new(DataCentres::default()));
        world.follow(Script::new().start(0..4).at(secs(80)).befall(border(4)));
        world.run(secs(120)).err().map(|it| it.message)
    };
    assert_eq!(world(secs(10)), None);
    let why = world(secs(30)).expect("it is found");
    assert!(why.contains("has not noticed"), "{why}");
}
