//! Parents and children: names, and who ends before whom.

use ringmesh::{ActorPath, Ref, ResolveError, SpawnError, StartError};
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{Diary, Entry, Fuse, Line, Member, MemberApi, act, done, is_ended, member_on};

/// A node, how many actors it has of its own, and the diary of those to come.
fn household() -> (LiveNode, u64, Diary) {
    let node = LiveNode::start();
    let before = node.counters().actors;
    (node, before, Diary::default())
}

fn is_stopped(entry: &Entry) -> bool {
    matches!(entry, Entry::Stopped(_))
}

/// Spawns a chain of members below `parent`, each the child of the one before, with such numbers.
async fn chain(mut parent: Ref<MemberApi>, diary: &Diary, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let diary = diary.clone();
        parent = done(parent, move |_, cx| {
            let child = Member::numbered(&diary, number);
            cx.spawn(child).expect("room for a child")
        })
        .await;
    }
}

#[test]
fn a_tree_of_a_thousand_ends_from_its_leaves_to_its_root() {
    const BRANCHES: u64 = 100;
    const DEPTH: u64 = 10;

    let (node, before, diary) = household();
    let noted = diary.clone();
    let root = node.run(move |node| async move {
        let root = member_on(&node, 0, &noted).await;
        for branch in 0..BRANCHES {
            let first = branch * DEPTH + 1;
            chain(root, &noted, first..first + DEPTH).await;
        }
        root
    });
    assert_eq!(node.counters().actors, before + BRANCHES * DEPTH + 1);
    let named = diary.clone();
    node.run(move |node| async move {
        let watcher = member_on(&node, 0, &named).await;
        done(watcher, move |_, cx| cx.watch(&root).expect("room")).await;
        assert!(node.stop(&root));
        assert!(!node.stop(&root), "it is gone");
    });
    let entries = diary.until(&node, 1, is_ended);
    let stopped: Vec<u64> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Stopped(number) => Some(*number),
            _ => None,
        })
        .collect();
    assert_eq!(stopped.len() as u64, BRANCHES * DEPTH + 1);
    // The youngest first, so all numbers fall.
    assert!(stopped.is_sorted_by(|one, next| one > next), "{stopped:?}");
    assert_eq!(node.counters().actors, before + 1);
    settled(&[&node]);
}

#[test]
fn names_are_unique_among_siblings_and_make_a_path() {
    let (node, other) = (LiveNode::start(), LiveNode::start());
    let diary = Diary::default();
    let noted = diary.clone();
    let (path, nameless) = node.run(move |node| async move {
        let parent = node
            .spawn_named("parent", Member::new(&noted))
            .expect("a free name");
        let refused = node
            .spawn_named("$1", Member::new(&noted))
            .expect_err("it is given");
        assert!(
            matches!(refused, SpawnError::InvalidName { .. }),
            "{refused}"
        );
        done(parent, move |_, cx| {
            let member = |number| Member::numbered(&noted, number);
            let child = cx.spawn_named("child", member(1)).expect("a free name");
            let refused = cx.spawn_named("child", member(2)).expect_err("it is taken");
            let name = "parent/child".to_owned();
            assert_eq!(refused, SpawnError::NameTaken { name });
            let refused = cx.spawn_named("a/b", member(2)).expect_err("no name");
            assert!(
                matches!(refused, SpawnError::InvalidName { .. }),
                "{refused}"
            );
            let top = cx
                .node()
                .spawn_named("child", member(3))
                .expect("another parent");
            assert_ne!(child, top);
            let nameless = cx.spawn(member(4)).expect("room");
            (cx.path(), nameless)
        })
        .await
    });
    let own = node.run(move |_| async move { done(nameless, |_, cx| cx.path()).await });
    assert_eq!(path.to_string().parse::<ActorPath>().as_ref(), Ok(&path));
    assert_eq!(own.to_string().parse::<ActorPath>().as_ref(), Ok(&own));
    let given = own
        .name
        .strip_prefix("parent/$")
        .expect("a name that is given");
    assert!(u64::from_str_radix(given, 16).is_ok(), "{given}");
    assert_eq!(path.name, "parent");
    let whole = path.to_string();
    other.run(move |other| async move {
        let parent: Ref<MemberApi> = other.resolve(&whole).await.expect("it is there");
        let child = format!("{}/child", whole.split('#').next().expect("a path"));
        let child: Ref<MemberApi> = other.resolve(&child).await.expect("it is there");
        assert_ne!(parent, child);
        child.tell(Line { number: 7 }).await.expect("room");
        let stale = format!("{}#{}", path.address.to_string() + "/user/parent", u64::MAX);
        let stale = other
            .resolve::<MemberApi>(&stale)
            .await
            .expect_err("another one");
        assert!(matches!(stale, ResolveError::NotFound { .. }), "{stale}");
    });
    diary.until(&node, 1, |entry| *entry == Entry::Line(7));
}

#[test]
fn one_over_the_depth_of_a_family_is_refused() {
    let node = LiveNode::start();
    let refused = node.run(|node| async move {
        let diary = Diary::default();
        let mut parent = member_on(&node, 0, &diary).await;
        loop {
            let diary = diary.clone();
            let spawned = done(parent, move |_, cx| cx.spawn(Member::new(&diary))).await;
            match spawned {
                Ok(child) => parent = child,
                Err(error) => return error,
            }
        }
    });
    assert_eq!(refused, SpawnError::TooDeep { limit: 32 });
    // The directory aside.
    assert_eq!(node.counters().actors, 33);
}

#[test]
fn a_name_is_free_when_its_actor_is_wholly_gone_and_reaches_the_next_one_alone() {
    let node = LiveNode::start();
    let (diary, later) = (Diary::default(), Diary::default());
    let (noted, second) = (diary.clone(), later.clone());
    node.run(move |node| async move {
        let first = node
            .spawn_named("name", Member::new(&noted))
            .expect("a free name");
        let next = second.clone();
        done(first, move |_, cx| {
            assert!(cx.node().stop(&cx.me()));
            let taken = cx.node().spawn_named("name", Member::new(&next));
            assert!(
                matches!(taken, Err(SpawnError::NameTaken { .. })),
                "{taken:?}"
            );
            let orphan = cx.spawn(Member::new(&next));
            assert_eq!(orphan, Err(SpawnError::ParentEnding));
        })
        .await;
        let again = node
            .spawn_named("name", Member::new(&second))
            .expect("it is free");
        assert_ne!(first, again);
        first.tell(Line { number: 1 }).await.expect("room");
        again.tell(Line { number: 2 }).await.expect("room");
    });
    let heard = |entry: &Entry| matches!(entry, Entry::Line(_));
    let entries = later.until(&node, 1, heard);
    assert!(entries.contains(&Entry::Line(2)) && !entries.contains(&Entry::Line(1)));
    assert_eq!(diary.entries(), [Entry::Stopped(0), Entry::Dropped(0)]);
    let books = &settled(&[&node])[0];
    assert_eq!(books.dead_no_recipient, 1);
}

#[test]
fn a_parent_that_fails_takes_its_children_with_it_and_a_child_not_its_parent() {
    let (node, before, diary) = household();
    let noted = diary.clone();
    node.run(move |node| async move {
        let parent = node.spawn(Member::numbered(&noted, 1)).expect("room");
        let children = done(parent, {
            let noted = noted.clone();
            move |_, cx| {
                [2, 3].map(|number| cx.spawn(Member::numbered(&noted, number)).expect("room"))
            }
        })
        .await;
        let watcher = member_on(&node, 0, &noted).await;
        done(watcher, move |_, cx| cx.watch(&parent).expect("room")).await;
        act(children[0], |_, _| panic!("a child")).await;
        done(parent, |_, _| ()).await;
        act(parent, |_, _| panic!("a parent")).await;
    });
    let entries = diary.until(&node, 1, is_ended);
    let wanted = [
        Entry::Dropped(2),
        Entry::Stopped(3),
        Entry::Dropped(3),
        Entry::Dropped(1),
    ];
    assert_eq!(entries[..4], wanted);
    let books = &settled(&[&node])[0];
    assert_eq!(
        (books.panics, books.failures, books.actors),
        (2, 2, before + 1)
    );
}

#[test]
fn panics_on_the_way_down_hold_up_nobody() {
    let (node, before, diary) = household();
    let noted = diary.clone();
    node.run(move |node| async move {
        let parent = node.spawn(Member::numbered(&noted, 1)).expect("room");
        let fuses = [(2, Fuse::Drop), (3, Fuse::Stop)];
        done(parent, move |_, cx| {
            for (number, fuse) in fuses {
                let mut child = Member::numbered(&noted, number);
                child.fuse = fuse;
                cx.spawn(child).expect("room");
            }
        })
        .await;
        assert!(node.stop(&parent));
    });
    let ends = |number| [Entry::Stopped(number), Entry::Dropped(number)];
    assert_eq!(diary.entries(), [3, 2, 1].map(ends).concat());
    let books = &settled(&[&node])[0];
    assert_eq!((books.panics, books.actors), (2, before));
}

#[test]
fn whoever_does_not_start_leaves_nothing_behind() {
    let (node, before, diary) = household();
    let noted = diary.clone();
    node.run(move |node| async move {
        let mut broken = Member::numbered(&noted, 1);
        broken.fuse = Fuse::Start;
        let refused = node.spawn_named("broken", broken).expect_err("it panics");
        assert!(matches!(refused, SpawnError::Panicked { .. }), "{refused}");
        let free = node.spawn_named("broken", Member::numbered(&noted, 3));
        assert!(node.stop(&free.expect("the name is free")));
        let error = node
            .try_spawn(|| Err::<Member, _>("no"))
            .expect_err("it says so");
        assert_eq!(error, StartError::Factory("no"));
        let error = node.try_spawn(|| -> Result<Member, ()> { panic!("a factory") });
        assert!(matches!(
            error,
            Err(StartError::Spawn(SpawnError::Panicked { .. }))
        ));
        let parent = member_on(&node, 0, &noted).await;
        done(parent, |_, cx| {
            let error = cx
                .try_spawn(|| Err::<Member, _>(7))
                .expect_err("it says so");
            assert_eq!(error, StartError::Factory(7));
        })
        .await;
        assert!(node.stop(&parent));
    });
    let child_first = [Entry::Stopped(2), Entry::Dropped(2), Entry::Dropped(1)];
    assert_eq!(diary.entries()[..3], child_first);
    assert_eq!(diary.count(is_stopped), 3);
    assert_eq!(node.counters().actors, before);
}
