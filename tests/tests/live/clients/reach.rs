//! What a real client reaches: what is registered for it, as long as that is so.

use std::time::Duration;

use ringmesh::testkit::TestProbe;
use ringmesh::{
    AskError, ClientAccessError, CoreId, Node, PingError, Placement, Props, Ref, ResolveError,
    SelectError, SpawnAtError, Supervision, WatchError,
};
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::cores::{books_of, on_core, run_on, settled, total};
use ringmesh_tests::live::messages::{Echo, EchoApi, Echoer, Ignite, SinkApi};
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::pupil::{Pupil, pupil};

use crate::shared_links::block;

use super::{as_client, asks, client, echo, found, own, record, serving};

fn is_not_found(client: &LiveNode, path: String) -> bool {
    let found = client.run(move |node| async move {
        let found: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
        found.map(drop)
    });
    matches!(found, Err(ResolveError::NotFound { .. }))
}

#[test]
fn a_client_reaches_what_is_registered_and_is_refused_the_rest_by_name() {
    let server = serving(1, |builder| {
        let builder = builder.spawnable::<Pupil>();
        builder.settings(|settings| settings.verify_peers = true)
    });
    let client = client();
    let echo0 = found::<EchoApi>(&client, &server, "echo0");
    assert_eq!(asks(&client, echo0), Ok(7));
    for name in ["sink0", "nobody"] {
        assert!(is_not_found(&client, server.path(name)), "{name}");
    }
    let server_at = server.address().clone();
    let all = server.path("*");
    client.run(move |node| async move {
        let probe: TestProbe<SinkApi> = TestProbe::spawn(&node).expect("room");
        assert_eq!(probe.watch(&echo0), Err(WatchError::Client));
        let refused = node.register_for_clients(&echo0);
        assert_eq!(refused, Err(ClientAccessError::NotHere));
        let selected = node.select::<EchoApi>(&all).expect("a pattern");
        let selected = selected.resolve().await;
        assert!(matches!(selected, Err(SelectError::Refused { .. })));
        let at = Placement::node(server_at.clone());
        let spawned = node.spawn_at(pupil("").at(at)).await;
        let (refused, key) = (server_at.clone(), "tests.pupil");
        let not_allowed = SpawnAtError::NotAllowed { node: refused, key };
        assert_eq!(spawned.expect_err("it is not"), not_allowed);
        let pinged = node.ping(&server_at).await;
        assert!(matches!(pinged, Err(PingError::Refused { .. })));
        // At home all is as ever.
        let own = node.spawn_named("own", Echoer::default()).expect("room");
        assert_eq!(probe.watch(&own), Ok(()));
        let own = node.select::<EchoApi>("/user/*").expect("a pattern");
        assert_eq!(own.resolve().await.expect("here").len(), 1);
    });
    assert_eq!(asks(&client, echo0), Ok(7), "refusals did no harm");
    let link = server.run(|node| async move { node.links().await });
    assert!(link.len() == 1 && link[0].client, "{link:?}");
    let books = settled(&[&server, &client]);
    let seen = &books[0];
    assert_eq!(
        (
            seen.names_withheld,
            seen.selections_refused,
            seen.selections
        ),
        (2, 1, 0)
    );
    assert_eq!((seen.spawns_refused, seen.spawned_for_others), (1, 0));
    assert_eq!((seen.dead_received, seen.watches_far), (0, 0));
}

/// Has each core of a client go on asking until it is told that nobody is there: how often it was
/// answered before.
fn ask_until_gone(client: &LiveNode, actor: Ref<EchoApi>) -> Vec<Pending<u64>> {
    let ask = move |_: Node| async move {
        let mut answered = 0;
        loop {
            match actor.ask(echo(answered)).await {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert_eq!(error, AskError::NotRunning, "as if there were nobody");
                    return answered;
                }
            }
        }
    };
    let begin = |core| client.begin(move |node| async move { on_core(&node, core, ask).await });
    (0..3).map(CoreId).map(begin).collect()
}

#[test]
fn what_is_taken_back_in_the_midst_of_traffic_is_reached_no_more_by_any_way() {
    // Of three cores each some have no link to some, and messages make a hop.
    let few = |settings: &mut ringmesh::Settings| settings.links_per_association_max = 1;
    let server = serving(3, |builder| builder.settings(few));
    let client = LiveNode::start_with(|builder| as_client(builder.cores(3)).settings(few));
    let echoes = [0, 1, 2].map(|core| found::<EchoApi>(&client, &server, &format!("echo{core}")));
    for echo in echoes {
        for core in 0..3 {
            let asked = move |_: Node| async move { echo.ask(super::echo(1)).await.map(drop) };
            assert_eq!(run_on(&client, core, asked), Ok(()));
        }
    }
    let hopped = total(&books_of(&server), |book| book.hopped);
    assert!(hopped > 0, "some ways have a hop");
    for (core, echo) in echoes.into_iter().enumerate() {
        let name = format!("echo{core}");
        let theirs = own::<EchoApi>(&server, &name);
        let seen = books_of(&server)[core].delivered;
        let asking = ask_until_gone(&client, echo);
        server.run(move |node| async move {
            let core = CoreId(core as u16);
            let delivered = |there: Node| async move { there.counters().delivered };
            while on_core(&node, core, delivered).await < seen + 20 {}
            assert_eq!(node.unregister_for_clients(&theirs), Ok(true));
            assert_eq!(node.unregister_for_clients(&theirs), Ok(false));
        });
        let answered = asking.into_iter().map(Pending::finish).sum::<u64>();
        assert!(answered > 0, "they were under way");
        assert!(is_not_found(&client, server.path(&name)));
    }
    let books = settled(&[&server, &client]);
    let dead = total(&books[..3], |book| book.dead_not_for_clients);
    assert_eq!(dead, 9, "one question of each core to each actor");
    assert_eq!(total(&books, |book| book.dead_received), dead);
    // Again, and it is there.
    let theirs = own::<EchoApi>(&server, "echo2");
    let again = run_on(&server, 1, move |node| async move {
        node.register_for_clients(&theirs)
    });
    assert_eq!(again, Ok(true));
    assert_eq!(asks(&client, echoes[2]), Ok(7));
}

#[test]
fn the_next_actor_of_a_name_is_registered_anew_or_not_at_all() {
    let server = serving(2, |builder| builder);
    let client = client();
    for core in [0, 1] {
        let name = format!("echo{core}");
        let first = found::<EchoApi>(&client, &server, &name);
        assert_eq!(asks(&client, first), Ok(7));
        let theirs = own::<EchoApi>(&server, &name);
        let next = {
            let name = name.clone();
            server.run(move |node| async move {
                assert!(node.stop(&theirs));
                loop {
                    let next = node.spawn_named_on(CoreId(core), &name, Echoer::default);
                    // Its name is free when it is wholly gone, there.
                    match next.await {
                        Ok(next) => return next,
                        Err(_) => node.sleep(Duration::from_millis(1)).await,
                    }
                }
            })
        };
        assert_eq!(asks(&client, first), Err(AskError::NotRunning));
        assert!(is_not_found(&client, server.path(&name)), "the next one");
        let registered = server.run(move |node| async move {
            // On its own core that is known at once, on another when that hears of it.
            let gone = node.register_for_clients(&theirs);
            if node.core() == theirs.id().core {
                assert_eq!(gone, Err(ClientAccessError::NotRunning));
            }
            node.register_for_clients(&next)
        });
        assert_eq!(registered, Ok(true));
        let again = found::<EchoApi>(&client, &server, &name);
        assert_eq!(asks(&client, again), Ok(7));
        assert_eq!(asks(&client, first), Err(AskError::NotRunning));
    }
    server.run(|node| async move {
        let left = node.register_for_clients(&node.spawn(Echoer::default()).expect("room"));
        assert_eq!(left, Ok(true));
    });
    let books = settled(&[&server, &client]);
    assert_eq!(total(&books, |book| book.dead_not_for_clients), 4);
}

#[test]
fn an_actor_that_begins_anew_stays_registered() {
    let server = LiveNode::start();
    server.run(|node| async move {
        let props = Props::new(Echoer::default).named("echo");
        let soon = Supervision::restart().pauses(Duration::ZERO, Duration::ZERO);
        let echo = node.spawn_props(props.supervised(soon)).expect("room");
        assert_eq!(node.register_for_clients(&echo), Ok(true));
    });
    let client = client();
    let echo = found::<EchoApi>(&client, &server, "echo");
    let failed = client.run(move |_| async move { echo.ask(Ignite).await.map(drop) });
    assert_eq!(failed, Err(AskError::Failed));
    assert_eq!(asks(&client, echo), Ok(7));
    assert_eq!(server.counters().restarts, 1);
    settled(&[&server, &client]);
}

#[test]
fn nodes_and_clients_of_one_server_do_not_feel_each_other() {
    let server = serving(1, |builder| builder);
    let bystander = Bystander::of(&server.path("echo0"));
    let client = client();
    let echo = found::<EchoApi>(&client, &server, "echo0");
    let theirs = own::<EchoApi>(&server, "echo0");
    for _ in 0..20 {
        server
            .run(move |node| async move { node.unregister_for_clients(&theirs) })
            .expect("it is there");
        let refused = client.run(move |_| async move {
            let asked: Result<_, AskError> = echo.ask::<Echo>(super::echo(1)).await;
            asked.map(drop)
        });
        assert_eq!(refused, Err(AskError::NotRunning));
        server
            .run(move |node| async move { node.register_for_clients(&theirs) })
            .expect("there is room");
        assert_eq!(asks(&client, echo), Ok(7));
    }
    assert!(bystander.saw_nothing() > 0);
    let sink = own::<SinkApi>(&server, "sink0");
    server.run(move |_| async move { sink.tell(record(1)).await.expect("it runs") });
    settled(&[&server, &client]);
}

#[test]
fn a_registration_that_the_core_of_the_actor_has_no_room_to_check_is_none() {
    let server = LiveNode::of_cores(2);
    let echo = server.run(|node| async move {
        let echo = node.spawn_on(CoreId(1), Echoer::default).await;
        echo.expect("room")
    });
    let held = block(&server, CoreId(1));
    server.run(move |node| async move {
        let full = loop {
            match node.register_for_clients(&echo) {
                Ok(is_new) => assert!(is_new),
                Err(error) => break error,
            }
            assert_eq!(node.unregister_for_clients(&echo), Ok(true));
        };
        assert_eq!(full, ClientAccessError::CoreOverloaded { core: 1 });
        assert_eq!(node.unregister_for_clients(&echo), Ok(false), "it is not");
    });
    held.wait();
    let found = server.run(move |node| async move {
        loop {
            match node.register_for_clients(&echo) {
                Ok(is_new) => return is_new,
                Err(_) => node.sleep(Duration::from_millis(1)).await,
            }
        }
    });
    assert!(found);
}
