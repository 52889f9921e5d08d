//! Who goes on by which strategy, for whoever has to choose one: the table of `STRATEGIES.md`.

use super::*;

/// What the page says.
const PAGE: &str = include_str!("../../../../../STRATEGIES.md");

/// The strategies, in the order of the columns.
const STRATEGIES: [Downing; 5] = [
    Downing::KeepMajority,
    Downing::StaticQuorum(3),
    Downing::KeepOldest,
    Downing::LeaseMajority,
    Downing::DownAll,
];

/// Something that happens to so many nodes, of which the first is the oldest, and the first by
/// address.
struct Row {
    what: &'static str,
    nodes: usize,
    befall: fn(&mut World<Participant>),
}

const AGES: Duration = Duration::from_secs(10_000);

fn lose_power(world: &mut World<Participant>, nodes: &[usize]) {
    for node in nodes {
        let (node, loses_power) = (*node, true);
        world.befall(Fault::Crash { node, loses_power }, None);
    }
}

fn split(world: &mut World<Participant>) {
    world.befall(Fault::partition(&[0, 1], &[2, 3, 4]), None);
}

const ROWS: [Row; 10] = [
    Row {
        what: "A B \u{2502} C D E are cut off from each other",
        nodes: 5,
        befall: split,
    },
    Row {
        what: "A B \u{2502} C D are",
        nodes: 4,
        befall: |world| world.befall(Fault::partition(&[0, 1], &[2, 3]), None),
    },
    Row {
        what: "A \u{2502} B C D E are",
        nodes: 5,
        befall: |world| world.befall(Fault::partition(&[0], &[1, 2, 3, 4]), None),
    },
    Row {
        what: "A B \u{2502} C D \u{2502} E are",
        nodes: 5,
        befall: |world| {
            world.befall(Fault::partition(&[0, 1], &[2, 3, 4]), None);
            world.befall(Fault::partition(&[2, 3], &[4]), None);
        },
    },
    Row {
        what: "A and E do not hear each other, all others do",
        nodes: 5,
        befall: |world| world.befall(Fault::partition(&[0], &[4]), None),
    },
    Row {
        what: "C D E hear A B, and are not heard by them",
        nodes: 5,
        befall: |world| world.befall(Fault::one_way(&[2, 3, 4], &[0, 1]), None),
    },
    Row {
        what: "A B lose power",
        nodes: 5,
        befall: |world| lose_power(world, &[0, 1]),
    },
    Row {
        what: "C D E lose power",
        nodes: 5,
        befall: |world| lose_power(world, &[2, 3, 4]),
    },
    Row {
        what: "A B \u{2502} C D E, and C D E do not reach the store",
        nodes: 5,
        befall: |world| {
            split(world);
            world.cut_store(&[2, 3, 4], AGES);
        },
    },
    Row {
        what: "A B \u{2502} C D E, and nobody reaches the store",
        nodes: 5,
        befall: |world| {
            split(world);
            world.cut_store(&[0, 1, 2, 3, 4], AGES);
        },
    },
];

/// Those that run, in groups that take each other for the cluster.
fn going_on(world: &World<Participant>) -> String {
    let name = |node: usize| char::from(b'A' + node as u8).to_string();
    let members = |node| {
        let topology = world.machine(node)?.control().topology();
        let of = |other: &usize| world.uid(*other).and_then(|uid| topology.member(uid));
        let members = world.running().filter(|it| of(it).is_some());
        Some(members.map(name).collect::<Vec<String>>().join(" "))
    };
    let groups: BTreeMap<String, ()> = world
        .running()
        .filter_map(members)
        .map(|it| (it, ()))
        .collect();
    match groups.is_empty() {
        true => "none".to_owned(),
        false => groups
            .into_keys()
            .collect::<Vec<String>>()
            .join(" \u{2502} "),
    }
}

/// Who goes on in a minute.
fn outcome(row: &Row, downing: Downing, seed: u64) -> String {
    let (subject, disks) = (Members::default(), Disks::default());
    let settings = WorldSettings::new(seed, row.nodes);
    let maker = move |birth: &Birth<'_>| {
        let made = Participant::new(birth, subject.settings.clone(), SEEDS, disks.clone());
        made.with_strategy(downing.strategy(DATA_CENTRE_DEFAULT))
    };
    let mut world = World::new(settings, Trace::hashed(), maker);
    world.hold_to(Box::new(Downed::by(downing)));
    // One after the other, so that each is older than those behind it.
    let script = (0..row.nodes).fold(Script::new(), |script, node| {
        script.start([node]).after(secs(2))
    });
    world.follow(script);
    world.run(secs(25)).unwrap();
    (row.befall)(&mut world);
    world.run(secs(60)).unwrap();
    going_on(&world)
}

#[test]
fn the_page_says_who_goes_on_by_which_strategy() {
    let head = STRATEGIES.map(|it| it.name()).join(" | ");
    let mut table = vec![format!("| | {head} |")];
    table.push(format!("|---{}|", "|---".repeat(STRATEGIES.len())));
    for row in &ROWS {
        let cells = STRATEGIES.map(|downing| {
            let [one, other] = [1, 2].map(|seed| outcome(row, downing, seed));
            // Of several sides without a majority each waits, in case that those it does not hear
            // are one, and whoever asks first then has the lease.
            match one == other {
                true => one,
                false => format!("{one} or {other}"),
            }
        });
        table.push(format!("| {} | {} |", row.what, cells.join(" | ")));
    }
    let table = table.join("\n");
    assert!(PAGE.contains(&table), "the page is to say:\n{table}");
}
