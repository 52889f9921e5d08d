//! Nodes whose programs know different versions of what an actor is made of.

use std::time::Duration;

use ringmesh::{
    Actor, Cx, Deploy, Handler, Msg, Placement, SpawnAtError, Spawnable, Supervision, Upgrade,
    message,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::{Learnt, Lesson, Pupil, PupilApi, PupilArgs, pupil};

use super::{boss, hire, holdings, lesson, school, tell, until_holds};

/// A later version of [`PupilArgs`], which reads that.
#[message(id = "tests.PupilArgs", v = 2, upgrades(PupilArgs))]
struct ScholarArgs {
    words: Vec<String>,
}

impl Upgrade<PupilArgs> for ScholarArgs {
    fn upgrade(old: PupilArgs) -> Self {
        assert!(old.word != "panic in the upgrade", "as it was told");
        let words = match &*old.word {
            "much" => vec!["w".repeat(1 << 20)],
            _ => vec![old.word, "and more".to_owned()],
        };
        Self { words }
    }
}

/// A still later one, which reads no other.
#[message(id = "tests.PupilArgs", v = 3)]
struct DoctorArgs {
    words: Vec<String>,
    title: String,
}

/// That of a [`Scholar`] whose program was never released: `v = 1` with other fields.
#[message(id = "tests.PupilArgs", v = 1)]
struct ForgedArgs {
    words: Vec<String>,
}

/// A pupil of a later program. One of each sort of arguments.
struct Later<const V: u32>(String);

impl<const V: u32> Actor for Later<V> {
    type Api = PupilApi;
}

impl<const V: u32> Handler<Lesson> for Later<V> {
    fn handle(&mut self, lesson: Msg<Lesson>, _: &mut Cx<'_, Self>) -> Learnt {
        assert!(&*lesson.what != "fail", "as it was told");
        let text = self.0.clone();
        Learnt { text, lessons: 0 }
    }
}

macro_rules! later {
    ($version:literal, $args:ty, $words:expr) => {
        impl Spawnable for Later<$version> {
            const KEY: &'static str = Pupil::KEY;
            type Args = $args;

            fn make(args: Msg<$args>) -> Result<Self, String> {
                let words: fn($args) -> Vec<String> = $words;
                Ok(Self(words(args.deserialize()).join(" ")))
            }
        }
    };
}

later!(1, ForgedArgs, |args| args.words);
later!(2, ScholarArgs, |args| args.words);
later!(3, DoctorArgs, |args| [vec![args.title], args.words]
    .concat());

fn at(node: &LiveNode) -> Placement {
    Placement::node(node.address().clone())
}

/// A node whose program makes actors of arguments in a later version.
fn later<const V: u32>() -> LiveNode
where
    Later<V>: Spawnable,
{
    LiveNode::start_with(|builder| {
        let builder = builder.cores(2).spawnable::<Later<V>>();
        builder.settings(|settings| settings.frame_bytes_max = 64 << 10)
    })
}

#[test]
fn a_newer_node_makes_an_actor_of_older_arguments_and_makes_it_anew_of_them() {
    let (here, there) = (LiveNode::start(), later::<2>());
    let (teacher, _) = boss(&here, Supervision::Stop);
    let anew = Supervision::restart().pauses(Duration::ZERO, Duration::ZERO);
    let older = pupil("one").supervised(anew).at(at(&there));
    let child = hire(&here, teacher, older).expect("it reads the older version");
    assert_eq!(lesson(&here, child, "word").0, "one and more");
    tell(&here, child, "fail");
    there.until("a restart", |books| books.restarts == 1);
    assert_eq!(lesson(&here, child, "word").0, "one and more");
    assert_eq!(there.counters().upgraded, 1, "once for all its lives");
    assert_closed(&there.counters());
}

#[test]
fn arguments_that_cannot_be_upgraded_make_nothing_and_leave_nothing() {
    let (here, there) = (LiveNode::start(), later::<2>());
    let (teacher, _) = boss(&here, Supervision::Stop);
    let before = [&here, &there].map(holdings);
    for word in ["panic in the upgrade", "much"] {
        let refused = hire(&here, teacher, pupil(word).at(at(&there)));
        let error = refused.expect_err("there is no upgrade");
        let SpawnAtError::Start(text) = error else {
            panic!("{error}")
        };
        assert!(text.contains("could not be upgraded"), "{text}");
    }
    until_holds(&here, before[0]);
    until_holds(&there, before[1]);
    assert_eq!(there.counters().spawns_refused, 2);
    let (panics, upgraded) = ringmesh_tests::live::cores::books_of(&there)
        .iter()
        .fold((0, 0), |sum, it| (sum.0 + it.panics, sum.1 + it.upgraded));
    assert_eq!((panics, upgraded), (1, 0));
}

#[test]
fn arguments_of_a_version_that_is_not_read_are_refused_as_too_old_or_too_new() {
    let (here, doctors, forgers) = (school(1), later::<3>(), later::<1>());
    let (teacher, _) = boss(&here, Supervision::Stop);
    let key = Pupil::KEY;
    let older = hire(&here, teacher, pupil("").at(at(&doctors)));
    let node = doctors.address().clone();
    let too_old = SpawnAtError::ArgumentsTooOld { node, key };
    assert_eq!(older.expect_err("it reads its own alone"), too_old);
    let forged = hire(&here, teacher, pupil("").at(at(&forgers)));
    let other = SpawnAtError::OtherArguments { key };
    assert_eq!(forged.expect_err("another layout"), other);
    let node = here.address().clone();
    let newer = Deploy::<Later<2>>::new(ScholarArgs { words: vec![] }).at(at(&here));
    let newer = doctors.run(move |node| async move { node.spawn_at(newer).await });
    let too_new = SpawnAtError::ArgumentsTooNew { node, key };
    assert_eq!(newer.expect_err("it is not known yet"), too_new);
}
