//! What cannot be of a cluster is refused wherever it was set, and named.

use std::time::Duration;

use crate::cluster::Downing;

use super::super::Settings;
use super::Inputs;

/// Settings from code that cannot be, and how the line goes on behind "code: ".
type Wrong = (fn(&mut Settings), &'static str);

fn addresses(count: usize) -> String {
    let address = |port: usize| format!("ringmesh://demo@127.0.0.1:{}", port + 1);
    let all: Vec<String> = (0..count).map(address).collect();
    all.join(",")
}

#[test]
fn one_over_the_seeds_is_refused_from_a_file_and_from_code() {
    let file = |count| Inputs::file(format!("[cluster]\nseeds = \"{}\"\n", addresses(count)));
    file(64).resolve().expect("as many as may be");
    let refusal = file(65).refusal();
    assert!(refusal.contains("cluster.seeds"), "{refusal}");
    assert!(refusal.contains("seeds is 65"), "{refusal}");
    let code = Inputs::code(|settings| {
        let seeds = addresses(65);
        let seeds = seeds.split(',').map(|it| it.parse().unwrap());
        settings.cluster.seeds = Some(seeds.collect());
    });
    let refusal = code.refusal();
    assert!(refusal.contains("seeds is 65"), "{refusal}");
}

#[test]
fn roles_and_quorums_that_cannot_be_are_refused_from_a_file() {
    let wrong = [
        ("downing", "keep-majority role=", "\"\" is no role"),
        ("downing", "keep-majority role=a:b", "\"a:b\" is no role"),
        (
            "downing",
            "static-quorum size=0",
            "a quorum of 0 is out of range",
        ),
        ("downing", "static-quorum size=1025", "from 1 to 1024"),
        ("members_min_of_role", "a:b=2", "\"a:b\" is no role"),
        ("members_min_of_role", "front=0", "roles with numbers"),
    ];
    for (name, value, part) in wrong {
        let refusal = Inputs::file(format!("[cluster]\n{name} = \"{value}\"\n")).refusal();
        assert!(refusal.contains(&format!("cluster.{name}")), "{refusal}");
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn what_code_alone_can_set_is_checked_as_well() {
    let wrong: [Wrong; 9] = [
        (
            |it| {
                it.cluster.downing = Downing::StaticQuorum {
                    size: 0,
                    role: None,
                }
            },
            "a quorum of 0",
        ),
        (
            |it| {
                let role = Some("two words".to_owned());
                it.cluster.downing = Downing::KeepMajority { role };
            },
            "cluster.downing",
        ),
        (
            |it| {
                let least = &mut it.cluster.membership.members_min_of_role;
                least.insert("dé".into(), 2);
            },
            "\"dé\" is no role",
        ),
        (
            |it| it.cluster.monitor.doubt = f64::NAN,
            "cluster.monitor.doubt is NaN",
        ),
        (
            |it| it.cluster.monitor.testimony_wait = Duration::MAX,
            "cluster.monitor.testimony_wait is",
        ),
        (
            |it| it.cluster.resolver.rounds_max = 0,
            "cluster.resolver.rounds_max is 0",
        ),
        (
            |it| it.cluster.resolver.round = Duration::ZERO,
            "cluster.resolver.round is 0ns",
        ),
        (
            |it| it.cluster.membership.push_fanout = 17,
            "cluster.push_fanout is 17",
        ),
        (
            |it| it.cluster.data_centre = String::new(),
            "cluster.data_centre",
        ),
    ];
    for (change, part) in wrong {
        let refusal = Inputs::code(change).refusal();
        assert!(refusal.contains("code: "), "{refusal}");
        assert!(refusal.contains(part), "{refusal}");
    }
}
