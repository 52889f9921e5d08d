//! On the node that spawns, and where settings say.

use std::io::Write as _;

use ringmesh::{CoreId, Engine, EngineError, Placement, SpawnAtError, SpawnError, Supervision};
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::{Pupil, pupil};
use tempfile::NamedTempFile;

use super::{boss, done, hire, holdings, lesson, school, spawn, tell, until_holds};

#[test]
fn a_child_that_is_placed_here_is_one_as_any() {
    let node = LiveNode::start();
    let before = holdings(&node);
    let (teacher, _) = boss(&node, Supervision::Stop);
    let deploy = pupil("abc").named("one").supervised(Supervision::restart());
    let here = Placement::node(node.address().clone());
    let child = hire(&node, teacher, deploy.at(here)).expect("room");
    let path = lesson(&node, child, "path").0;
    assert!(path.starts_with(&node.path("boss/one#")), "{path}");
    assert_eq!(lesson(&node, child, "word"), ("abc".to_owned(), 2));
    // Its arguments are kept to make it anew.
    tell(&node, child, "fail");
    node.until("a restart", |books| books.restarts == 1);
    assert_eq!(lesson(&node, child, "word"), ("abc".to_owned(), 1));
    let taken = hire(&node, teacher, pupil("abc").named("one"));
    let taken = taken.expect_err("the name is taken");
    assert!(matches!(
        taken,
        SpawnAtError::Spawn(SpawnError::NameTaken { .. })
    ));
    for word in ["refuse: no", "panic", "panic at the start"] {
        let refused = hire(&node, teacher, pupil(word)).expect_err("it does not start");
        assert!(matches!(refused, SpawnAtError::Start(_)), "{refused}");
    }
    done(&node, teacher, |_, cx| cx.stop());
    until_holds(&node, before);
}

#[test]
fn a_child_on_another_core_ends_with_its_parent_and_its_name_is_taken_here() {
    let node = LiveNode::of_cores(2);
    let before = holdings(&node);
    let (teacher, _) = boss(&node, Supervision::Stop);
    let there = || Placement::core(CoreId(1));
    let child = hire(&node, teacher, pupil("abc").named("one").at(there())).expect("room");
    assert_eq!(lesson(&node, child, "core").0, "1");
    let path = lesson(&node, child, "path").0;
    assert!(path.starts_with(&node.path("remote/")), "{path}");
    let taken = hire(&node, teacher, pupil("abc").named("one")).expect_err("taken");
    assert!(matches!(
        taken,
        SpawnAtError::Spawn(SpawnError::NameTaken { .. })
    ));
    let nowhere = Placement::core(CoreId(2));
    let refused = hire(&node, teacher, pupil("abc").at(nowhere)).expect_err("no such core");
    assert!(matches!(
        refused,
        SpawnAtError::Spawn(SpawnError::NoSuchCore { .. })
    ));
    let refused = hire(&node, teacher, pupil("refuse").at(there())).expect_err("its word");
    assert_eq!(refused, SpawnAtError::Start("refuse".to_owned()));
    done(&node, teacher, |_, cx| cx.stop());
    until_holds(&node, before);
}

#[test]
fn settings_place_by_path_and_win_over_the_program() {
    let far = [school(1), school(1)];
    let mut file = NamedTempFile::with_suffix(".toml").expect("a file can be made");
    let [one, other] = [0, 1].map(|number: usize| far[number].address().clone());
    let text = format!(
        "[placement]\n\"/user/boss/*\" = [\"{one}\", \"{other}\"]\n\"/user/boss/home\" = \"here\"\n"
    );
    file.write_all(text.as_bytes()).expect("it can be written");
    let node = LiveNode::start_with(|builder| builder.config_file(file.path()));
    let (teacher, _) = boss(&node, Supervision::Stop);
    let elsewhere = || Placement::node(one.clone());
    let home = hire(&node, teacher, pupil("").named("home").at(elsewhere())).expect("room");
    assert_eq!(home.id().uid, node.id().uid);
    let homes = ["a", "b", "c"].map(|name| {
        let child = hire(&node, teacher, pupil("").named(name)).expect("room");
        child.id().uid
    });
    let [first, second] = [far[0].id().uid, far[1].id().uid];
    assert_eq!(homes, [first, second, first], "they take turns");
    let unnamed = hire(&node, teacher, pupil("")).expect("room");
    assert_eq!(unnamed.id().uid, second);
    let orphan = spawn(&node, pupil("").named("home")).expect("no rule is for it");
    assert_eq!(orphan.id().uid, node.id().uid);
}

#[test]
fn two_types_of_one_key_are_an_error_of_the_start() {
    let builder = Engine::node(SYSTEM)
        .spawnable::<Pupil>()
        .spawnable::<Pupil>();
    let refused = builder
        .run(|_| async {})
        .expect_err("they cannot be told apart");
    let key = "tests.pupil";
    assert!(matches!(refused, EngineError::FactoryTwice { key: twice } if twice == key));
}
