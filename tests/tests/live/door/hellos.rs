//! Hellos that nobody can believe unasked: whoever they claim to be of is asked first.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{Address, CoreId, LookUp, Node, Ref, Uid};
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{INQUIRIES_BURST, VERIFY_TIMEOUT};
use ringmesh_proto::preface::{Preface, Role};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::Watched;

use super::{ask, careful, claims, closed_for, deny, vouch, watched};

/// What a busy machine may add to a bound.
const LATENESS: Duration = Duration::from_millis(900);

#[test]
fn a_node_that_dials_is_asked_whether_it_did() {
    let (one, other) = (careful(1), careful(1));
    ask(&one, other.path(ECHO));
    assert_eq!(closed_for(&one, "vouched"), 1, "it was asked");
    assert_eq!(closed_for(&other, "vouched"), 1, "it asked");
    // The way back is the same link.
    ask(&other, one.path(ECHO));
    for node in [&one, &other] {
        let counters = node.until("quiet", |now| now.in_flight == 0);
        assert_closed(&counters);
        assert_eq!((counters.links, counters.closed_for_fault), (1, 0));
        assert_eq!(node.log().warnings(), Vec::<String>::new());
    }
}

#[test]
fn nodes_that_dial_each_other_at_once_and_from_many_cores_meet() {
    let (one, other) = (careful(3), careful(2));
    let (done, answers) = sync_channel(8);
    let dial = |node: &LiveNode, path: String, cores: u16| {
        let done = done.clone();
        node.begin(move |node| async move {
            for core in 0..cores {
                let (path, done) = (path.clone(), done.clone());
                let asking = move |node: Node| async move {
                    let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
                    let (number, body) = (7, Bytes::new());
                    let answer = echo.ask(Echo { number, body }).await;
                    done.send(answer.is_ok()).expect("the test waits");
                };
                let spawned = node.spawn_task_on(CoreId(core), asking).await;
                spawned.expect("the core runs");
            }
        })
    };
    let both = [
        dial(&one, other.path(ECHO), 3),
        dial(&other, one.path(ECHO), 2),
    ];
    both.into_iter().for_each(Pending::finish);
    for _ in 0..5 {
        assert_eq!(answers.recv_timeout(WAIT), Ok(true));
    }
    for node in [&one, &other] {
        assert_closed(&node.until("quiet", |now| now.in_flight == 0));
    }
}

#[test]
fn two_nodes_that_dial_each_other_at_once_meet_each_time() {
    const ROUNDS: usize = 10;
    let mut slowest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let (one, other) = (careful(1), careful(1));
        let begin = Instant::now();
        let both = [(&one, other.path(ECHO)), (&other, one.path(ECHO))].map(|(node, path)| {
            node.begin(move |node| async move {
                let found: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
                found.map(drop)
            })
        });
        for found in both {
            found.finish().expect("they meet");
        }
        slowest = slowest.max(begin.elapsed());
        for node in [&one, &other] {
            assert_eq!(node.counters().links, 1);
            assert_eq!(node.log().with("restarted"), Vec::<String>::new());
        }
    }
    println!("the slowest of {ROUNDS} meetings took {slowest:?}");
}

#[test]
fn a_node_with_a_name_is_asked_at_each_place_of_the_name() {
    const NAME: &str = "dialler.test";
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let at = free.local_addr().expect("it is bound");
    drop(free);
    let named = LiveNode::start_with(|builder| {
        builder.bind(at).settings(|settings| {
            settings.verify_peers = true;
            settings.advertise = Some((NAME.to_owned(), at.port()));
        })
    });
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let refuses = nobody.local_addr().expect("it is bound");
    drop(nobody);
    // Somebody else, who does not go by that name.
    let other = careful(1);
    let wrong = (other.address().host(), other.address().port());
    let wrong = SocketAddr::new(wrong.0.parse().expect("an address"), wrong.1);
    let node = LiveNode::start_serving_with(|builder| {
        builder.settings(|settings| {
            settings.verify_peers = true;
            settings.look_up = LookUp::with(move |host, port| {
                assert_eq!((host, port), (NAME, at.port()));
                Ok(vec![refuses, wrong, at])
            });
        })
    });
    ask(&named, node.path(ECHO));
    assert_eq!(closed_for(&named, "vouched"), 1);
    assert_eq!(node.counters().dialled, 3);
}

#[test]
fn a_forged_hello_is_nothing_while_there_is_no_link() {
    let watched = watched();
    let victim = careful(1);
    for uid in [Some(victim.id().uid), None] {
        let mut forged = RawPeer::connect(watched.id());
        forged.me.address = victim.address().clone();
        forged.me.uid = uid.unwrap_or(forged.me.uid);
        forged.send(&forged.opening());
        let ending = forged.ending();
        // It dials nobody; and whoever else says that it is there is told that it is not.
        let reason = match uid {
            Some(_) => RefuseReason::Unproven,
            None => RefuseReason::AddressInUse,
        };
        assert_eq!(ending.refusal(), reason);
        assert!(ending.after < VERIFY_TIMEOUT, "it took {:?}", ending.after);
    }
    // Nobody was replaced and nobody is banned, in either direction.
    ask(&victim, watched.node.path(ECHO));
    ask(&watched.node, victim.path(ECHO));
    assert_eq!(watched.node.log().with("restarted"), Vec::<String>::new());
    assert_eq!(victim.counters().links, 1);
    watched.saw_nothing();
}

#[test]
fn a_forged_hello_of_a_known_process_start_does_not_take_its_place_from_elsewhere() {
    let node = careful(1);
    // It is known from 127.0.0.2, where its dials come from.
    let victim = LiveNode::start_serving_with(|builder| {
        builder
            .bind(([127, 0, 0, 2], 0))
            .settings(|settings| settings.verify_peers = true)
    });
    ask(&victim, node.path(ECHO));
    let id = victim.id().clone();
    victim.stop();
    node.until("the end of the link", |now| now.links == 0);
    let mut forged = RawPeer::connect(node.id());
    forged.me = id;
    forged.send(&forged.opening());
    // It said goodbye, and whoever is not even at its place is not told that.
    assert_eq!(forged.ending().refusal(), RefuseReason::Unproven);
    assert_eq!(node.counters().links, 0);
}

#[test]
fn a_process_start_that_is_known_is_not_asked_about_again() {
    let watched = watched();
    let listener = RawListener::bind();
    let mut first = claims(&watched.node, &listener.address);
    vouch(&listener, &first);
    first.accepted();
    let dialled = watched.node.counters().dialled;
    let (me, link) = (first.me.clone(), first.link);
    drop(first);
    watched
        .node
        .until("the end of the link", |now| now.links == 1);
    let mut again = RawPeer::connect(watched.id());
    again.me = me;
    // It has ended its link too, and begins the next.
    again.link = link.wrapping_add(1);
    again.send(&again.opening());
    again.accepted();
    assert_eq!(watched.node.counters().dialled, dialled);
    watched.saw_nothing();
}

#[test]
fn forgers_of_its_hello_do_not_keep_the_peer_out() {
    let watched = watched();
    let listener = RawListener::bind();
    let uid = Uid::new(fastrand::u64(1..));
    let claim = || {
        let mut dialler = RawPeer::connect(watched.id());
        dialler.me.address = listener.address.clone();
        dialler.me.uid = uid.expect("not zero");
        dialler.send(&dialler.opening());
        dialler
    };
    let begin = Instant::now();
    let mut forged = claim();
    // Behind that about the bystander.
    watched.node.until("the inquiry", |now| now.dialled == 2);
    // The real one, behind it.
    let mut real = claim();
    assert!(real.is_open_for(Duration::from_millis(20)), "it waits");
    deny(&listener);
    assert_eq!(forged.ending().refusal(), RefuseReason::Unproven);
    vouch(&listener, &real);
    real.accepted();
    assert!(begin.elapsed() < VERIFY_TIMEOUT, "{:?}", begin.elapsed());
    watched.saw_nothing();
}

#[test]
fn whoever_is_asked_and_says_nothing_holds_up_nobody_for_long() {
    let watched = watched();
    // It accepts, and is silent.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let system = ringmesh_tests::live::SYSTEM;
    let address = Address::new(system, "127.0.0.1", port).expect("an address");
    let begin = Instant::now();
    let mut dialler = claims(&watched.node, &address);
    assert_eq!(dialler.ending().refusal(), RefuseReason::Unproven);
    let after = begin.elapsed();
    assert!(after >= VERIFY_TIMEOUT, "after {after:?}");
    assert!(after < VERIFY_TIMEOUT + LATENESS, "after {after:?}");
    watched.saw_nothing();
}

#[test]
fn a_dialler_that_listens_nowhere_is_let_in_where_that_is_allowed() {
    let strict = watched();
    let mut dialler = RawPeer::connect(strict.id());
    dialler.send(&dialler.opening());
    assert_eq!(dialler.ending().refusal(), RefuseReason::Unproven);
    strict.saw_nothing();
    let lenient = Watched::start();
    RawPeer::link(lenient.id());
    assert_eq!(lenient.node.counters().dialled, 0);
    lenient.saw_nothing();
}

#[test]
fn a_dialler_that_speaks_before_it_is_vouched_for_is_closed() {
    let watched = watched();
    let listener = RawListener::bind();
    let mut hasty = claims(&watched.node, &listener.address);
    let (mut asking, _) = listener.accept();
    let mut again = Vec::new();
    hasty.hello().encode(&mut again);
    hasty.send(&again);
    assert!(hasty.ending().is_silent());
    let reasons = watched.close_reasons();
    assert_eq!(reasons["unexpected_frame"], 1, "{reasons:?}");
    assert_eq!(reasons["superseded"], 1, "{reasons:?}");
    assert!(asking.ending().is_silent(), "nobody wants to know any more");
    watched.saw_nothing();
}

#[test]
fn an_inquiry_about_a_dial_that_nobody_made_is_denied_and_is_no_link() {
    let watched = watched();
    let before = watched.node.counters();
    for nonce in [0, 7, u64::MAX] {
        let mut asking = RawPeer::connect(watched.id());
        let preface = Preface {
            role: Role::Inquirer,
            expected_uid: Some(watched.id().uid),
            nonce,
            ..asking.preface()
        };
        let mut opening = preface.encode().to_vec();
        asking.hello().encode(&mut opening);
        asking.send(&opening);
        assert_eq!(asking.ending().refusal(), RefuseReason::Unproven);
    }
    let counters = watched.node.counters();
    assert_eq!(
        (counters.links, counters.dialled),
        (before.links, before.dialled)
    );
    watched.saw_nothing();
}

#[test]
fn an_inquiry_about_a_dial_is_answered_while_it_is_under_way() {
    let node = careful(1);
    let listener = RawListener::bind();
    let looking = listener.sought_by(&node);
    let (mut dialled, preface) = listener.accept();
    assert_eq!(preface.role, Role::Node);
    let ask_about = |nonce| {
        let mut asking = RawPeer::connect(node.id());
        asking.me.address = listener.address.clone();
        let inquiry = Preface {
            role: Role::Inquirer,
            expected_uid: Some(node.id().uid),
            nonce,
            ..asking.preface()
        };
        let mut opening = inquiry.encode().to_vec();
        asking.hello().encode(&mut opening);
        asking.send(&opening);
        asking.ending().frames
    };
    let vouched = |nonce| {
        ask_about(nonce)
            .iter()
            .any(|it| it.header.kind == Kind::Accept)
    };
    assert!(vouched(preface.nonce));
    assert!(!vouched(preface.nonce ^ 1));
    let mut accept = Vec::new();
    dialled.accept_of(&preface).encode(&mut accept);
    dialled.send(&accept);
    node.until("the link", |now| now.links == 1);
    assert!(!vouched(preface.nonce), "that dial is over");
    drop(looking);
}

#[test]
fn hellos_do_not_make_a_node_dial_without_end() {
    const HELLOS: u64 = 2 * INQUIRIES_BURST as u64;
    let watched = watched();
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = nobody.local_addr().expect("it is bound").port();
    drop(nobody);
    let system = ringmesh_tests::live::SYSTEM;
    let address = Address::new(system, "127.0.0.1", port).expect("an address");
    let before = watched.node.counters().dialled;
    let begin = Instant::now();
    let mut overloaded = 0;
    for _ in 0..HELLOS {
        let mut forged = claims(&watched.node, &address);
        // A flood of refusals is closed without a word.
        if let [frame] = &forged.ending().frames[..] {
            overloaded += u64::from(frame.refusal() == RefuseReason::Overloaded);
        }
    }
    let seconds = begin.elapsed().as_secs() + 1;
    let dialled = watched.node.counters().dialled - before;
    let most = u64::from(INQUIRIES_BURST) + 16 * seconds;
    assert!(dialled <= most, "{dialled} dials within {seconds} s");
    let reasons = watched.close_reasons();
    println!("{dialled} dials, {overloaded} told of the limit, {reasons:?}");
    assert_eq!(
        reasons["refuse_overloaded"] + dialled,
        HELLOS,
        "each was asked about or refused for the limit: {reasons:?}"
    );
    watched.saw_nothing();
}

#[test]
fn a_node_stops_in_time_while_it_asks_about_diallers() {
    let node = careful(1);
    let listener = RawListener::bind();
    let mut waiting: Vec<RawPeer> = (0..20).map(|_| claims(&node, &listener.address)).collect();
    node.until("inquiries", |now| now.dialled == 20);
    let mut silent: Vec<RawPeer> = (0..20).map(|_| RawPeer::connect(node.id())).collect();
    let port = node.address().port();
    let begin = Instant::now();
    node.stop();
    assert!(begin.elapsed() < WAIT / 10, "it took {:?}", begin.elapsed());
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for stranger in waiting.iter_mut().chain(&mut silent) {
        stranger.ending();
    }
}

#[test]
fn host_names_that_strangers_claim_hold_up_the_dials_of_a_node_once_at_most() {
    const STRANGERS: u64 = 5;
    let (release, released) = sync_channel::<()>(1);
    let released = Mutex::new(released);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let listener = RawListener::bind();
    let place = SocketAddr::from(([127, 0, 0, 1], listener.address.port()));
    let node = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.verify_peers = true;
            settings.look_up = LookUp::with(move |host, _| {
                if host == "friend.test" {
                    return Ok(vec![place]);
                }
                count.fetch_add(1, Ordering::Relaxed);
                let released = released.lock().unwrap_or_else(PoisonError::into_inner);
                // Ends when the test says so, or is over.
                let _ = released.recv_timeout(WAIT);
                Ok(vec![place])
            });
        })
    });
    let system = ringmesh_tests::live::SYSTEM;
    let mut strangers: Vec<RawPeer> = (0..STRANGERS)
        .map(|number| {
            let name = format!("stranger{number}.test");
            claims(&node, &Address::new(system, &name, 1).expect("an address"))
        })
        .collect();
    for stranger in &mut strangers {
        assert_eq!(stranger.ending().refusal(), RefuseReason::Unproven);
    }
    let mut friend = listener;
    let port = friend.address.port();
    friend.address = Address::new(system, "friend.test", port).expect("an address");
    let looking = friend.sought_by(&node);
    release.send(()).expect("the look-up waits");
    // The next one that is looked up is the friend; nobody waits for the others any more.
    let (peer, _) = friend.accept();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    drop((peer, looking));
}
