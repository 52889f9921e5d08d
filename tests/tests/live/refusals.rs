//! What a node does not let in, what it says to it, and what it does when it is not let in itself.

use std::time::Duration;

use ringmesh::{Address, Engine, EngineError, IdleMode, ResolveError, Uid};
use ringmesh_proto::address::{ClusterHash, CoreId};
use ringmesh_proto::frame::body::{Hello, Offer, Refuse, RefuseReason};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{CORES_MAX, PREFACE_BYTES, REFUSALS_BURST, REFUSALS_PER_SECOND};
use ringmesh_proto::preface::{PROTOCOL_VERSION, Preface, Role};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::seed;
use ringmesh_tests::live::watched::Watched;
use ringmesh_tests::live::{SYSTEM, WAIT};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// The longest that a connection may stay open which could be judged at once. Far below the first
/// deadline that would end it anyway.
const AT_ONCE: Duration = Duration::from_millis(1500);

#[test]
fn random_bytes_are_closed_without_a_word() {
    let mut random = seed::generator();
    let watched = Watched::start();
    for _ in 0..16 {
        let mut noise = vec![0; random.usize(PREFACE_BYTES..1024)];
        random.fill(&mut noise);
        // A first byte that no preface begins with: the chance of a real magic is nobody's concern.
        noise[0] |= 0x80;
        assert_closed_without_a_word(&watched, "preface_magic", &noise);
    }
    watched.saw_nothing();
}

#[test]
fn an_http_request_is_closed_without_a_word() {
    let watched = Watched::start();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUser-Agent: curl/8.5.0\r\n\
        Accept: */*\r\n\r\n";
    assert!(request.len() > PREFACE_BYTES);
    assert_closed_without_a_word(&watched, "preface_magic", request);
    watched.saw_nothing();
}

#[test]
fn a_tls_hello_is_closed_without_a_word() {
    let watched = Watched::start();
    assert_closed_without_a_word(&watched, "preface_magic", &tls_client_hello());
    watched.saw_nothing();
}

#[test]
fn a_wrong_magic_is_closed_without_a_word() {
    let watched = Watched::start();
    let mut bytes = RawPeer::connect(watched.id()).preface().encode();
    bytes[6] ^= 0x20;
    reseal(&mut bytes);
    assert_closed_without_a_word(&watched, "preface_magic", &bytes);
    watched.saw_nothing();
}

#[test]
fn a_damaged_preface_is_closed_without_a_word() {
    let watched = Watched::start();
    let good = RawPeer::connect(watched.id()).preface().encode();
    // Behind the magic every bit is covered by the checksum, which is at the end itself.
    for byte in [8, 15, 33, 56, 60, 63] {
        let mut bytes = good;
        bytes[byte] ^= 1;
        assert_closed_without_a_word(&watched, "preface_checksum", &bytes);
    }
    watched.saw_nothing();
}

#[test]
fn another_version_is_refused() {
    let watched = Watched::start();
    for (version_min, version_max) in [
        (PROTOCOL_VERSION + 1, u8::MAX),
        (0, PROTOCOL_VERSION - 1),
        // A range that is empty has nothing in common with anybody's.
        (PROTOCOL_VERSION + 1, PROTOCOL_VERSION - 1),
    ] {
        assert_refused(
            &watched,
            "preface_version",
            RefuseReason::Version,
            |preface, _| Preface {
                version_min,
                version_max,
                ..preface
            },
        );
    }
    watched.saw_nothing();
}

#[test]
fn a_wider_range_of_versions_is_accepted() {
    let watched = Watched::start();
    let mut peer = RawPeer::connect(watched.id());
    let preface = Preface {
        version_min: 0,
        version_max: u8::MAX,
        ..peer.preface()
    };
    peer.send(&preface.encode());
    let mut hello = Vec::new();
    peer.hello().encode(&mut hello);
    peer.send(&hello);
    assert_eq!(peer.accepted().uid, watched.id().uid);
    watched.saw_nothing();
}

#[test]
fn another_cluster_is_refused() {
    let watched = Watched::start();
    assert_refused(
        &watched,
        "refuse_cluster",
        RefuseReason::Cluster,
        |preface, _| Preface {
            cluster: ClusterHash::of("tests2"),
            ..preface
        },
    );
    // The same when only the address gives it away.
    assert_refused_for_hello(&watched, "refuse_cluster", RefuseReason::Cluster, |hello| {
        let from = Address::new("tests2", "127.0.0.1", hello.from.port()).expect("an address");
        Hello { from, ..hello }
    });
    watched.saw_nothing();
}

#[test]
fn another_format_is_refused() {
    let watched = Watched::start();
    assert_refused(
        &watched,
        "refuse_format",
        RefuseReason::Format,
        |preface, _| Preface {
            format_fingerprint: preface.format_fingerprint ^ 1,
            ..preface
        },
    );
    watched.saw_nothing();
}

#[test]
fn a_core_that_does_not_exist_is_refused() {
    let watched = Watched::start();
    for core in [1, 7, u16::MAX - 1] {
        assert_refused(&watched, "refuse_core", RefuseReason::Core, |preface, _| {
            Preface {
                wanted_core: Some(CoreId(core)),
                ..preface
            }
        });
    }
    watched.saw_nothing();
}

#[test]
fn reserved_bits_and_unknown_numbers_are_refused() {
    let watched = Watched::start();
    type Change = fn(&mut [u8; PREFACE_BYTES]);
    let cases: [(&str, Change); 7] = [
        ("preface_flags", |bytes| bytes[56] = 1),
        ("preface_flags", |bytes| bytes[59] = 0x80),
        ("preface_role", |bytes| bytes[10] = 0),
        ("preface_role", |bytes| bytes[10] = 4),
        ("preface_lane", |bytes| bytes[11] = 0),
        ("preface_lane", |bytes| bytes[11] = 4),
        ("preface_uid", |bytes| bytes[32..40].fill(0)),
    ];
    for (label, change) in cases {
        let refused = watched.closes_one(label, || {
            let mut peer = RawPeer::connect(watched.id());
            let mut bytes = peer.preface().encode();
            change(&mut bytes);
            reseal(&mut bytes);
            peer.send(&bytes);
            peer.ending().refusal()
        });
        assert_eq!(refused, RefuseReason::Preface, "{label}");
    }
    watched.saw_nothing();
}

#[test]
fn a_client_on_the_control_lane_and_a_lane_that_is_not_served_are_refused() {
    let watched = Watched::start();
    assert_refused(&watched, "refuse_lane", RefuseReason::Lane, |preface, _| {
        Preface {
            role: Role::Client,
            lane: Lane::Control,
            ..preface
        }
    });
    // Control is between control cores.
    for (sending_core, wanted_core) in [(1, 0), (0, 1)] {
        assert_refused(&watched, "refuse_lane", RefuseReason::Lane, |preface, _| {
            Preface {
                lane: Lane::Control,
                sending_core: CoreId(sending_core),
                wanted_core: Some(CoreId(wanted_core)),
                ..preface
            }
        });
    }
    watched.saw_nothing();
}

#[test]
fn another_process_start_is_told_so() {
    let watched = Watched::start();
    // How a peer learns of a restart, and so no fault.
    let refused = watched.closes_one_quietly("refuse_incarnation", || {
        let mut peer = RawPeer::connect(watched.id());
        let preface = Preface {
            expected_uid: Uid::new(watched.id().uid.as_u64() ^ 1),
            ..peer.preface()
        };
        peer.send(&preface.encode());
        peer.ending().refusal()
    });
    assert_eq!(refused, RefuseReason::Incarnation);
    watched.saw_nothing();
}

#[test]
fn another_destination_is_refused() {
    let watched = Watched::start();
    assert_refused_for_hello(
        &watched,
        "refuse_destination",
        RefuseReason::Destination,
        |hello| {
            let port = hello.to.port() ^ 1;
            let to = Address::new(SYSTEM, "127.0.0.1", port).expect("an address");
            Hello { to, ..hello }
        },
    );
    watched.saw_nothing();
}

#[test]
fn a_node_does_not_link_with_itself() {
    let watched = Watched::start();
    let uid = watched.id().uid;
    assert_refused(
        &watched,
        "refuse_itself",
        RefuseReason::Itself,
        |preface, _| Preface { uid, ..preface },
    );
    assert_refused_for_hello(&watched, "refuse_itself", RefuseReason::Itself, |hello| {
        Hello {
            from: hello.to.clone(),
            ..hello
        }
    });
    watched.saw_nothing();
}

#[test]
fn a_hello_that_offers_nothing_usable_is_refused() {
    let watched = Watched::start();
    let offers: [fn(Offer) -> Offer; 6] = [
        |offer| Offer {
            body_cap: 0,
            ..offer
        },
        |offer| Offer { limit: 0, ..offer },
        |offer| Offer {
            body_cap: u32::MAX,
            ..offer
        },
        |offer| Offer { cores: 0, ..offer },
        |offer| Offer {
            cores: CORES_MAX + 1,
            ..offer
        },
        |offer| Offer {
            links_max: 0,
            ..offer
        },
    ];
    for change in offers {
        assert_refused_for_hello(&watched, "refuse_hello", RefuseReason::Hello, |hello| {
            Hello {
                offer: change(hello.offer),
                ..hello
            }
        });
    }
    watched.saw_nothing();
}

#[test]
fn a_hello_of_a_former_process_start_is_refused() {
    let watched = Watched::start();
    let old = RawPeer::link(watched.id());
    let mut new = RawPeer::connect(watched.id());
    new.me.address = old.me.address.clone();
    new.send(&new.opening());
    new.accepted();
    watched.node.until("one link of two", |now| now.links == 2);
    let refused = watched.closes_one("refuse_former", || {
        let mut late = RawPeer::connect(watched.id());
        late.me = old.me.clone();
        late.send(&late.opening());
        late.ending().refusal()
    });
    assert_eq!(refused, RefuseReason::Former);
    // The later start keeps its link.
    new.is_answered();
    watched.saw_nothing();
}

#[test]
fn a_flood_of_refusals_is_only_closed() {
    let watched = Watched::start();
    let mut told = 0_u32;
    let begin = std::time::Instant::now();
    const PEERS: u32 = 4 * REFUSALS_BURST;
    for _ in 0..PEERS {
        let mut peer = RawPeer::connect(watched.id());
        let preface = Preface {
            cluster: ClusterHash::of("tests2"),
            ..peer.preface()
        };
        peer.send(&preface.encode());
        let ending = peer.ending();
        if !ending.is_silent() {
            assert_eq!(ending.refusal(), RefuseReason::Cluster);
            told += 1;
        }
    }
    let seconds = u32::try_from(begin.elapsed().as_secs()).expect("a short test") + 1;
    assert!(told >= REFUSALS_BURST, "only {told} were told");
    assert!(
        told <= REFUSALS_BURST + seconds * REFUSALS_PER_SECOND,
        "{told} were told"
    );
    assert_eq!(watched.close_reasons()["refuse_cluster"], u64::from(PEERS));
    // The log does not grow with the flood either.
    let lines = watched.node.log().with("refuse_cluster").len();
    assert!(
        lines < PEERS as usize,
        "{lines} lines about {PEERS} strangers"
    );
    watched.saw_nothing();
}

#[test]
fn a_refused_look_up_fails_at_once_with_the_reason() {
    for reason in [
        RefuseReason::Cluster,
        RefuseReason::Format,
        RefuseReason::Version,
    ] {
        let client = LiveNode::start();
        let listener = RawListener::bind();
        let looking = listener.sought_by(&client);
        let (mut peer, _) = listener.accept();
        let mut bytes = Vec::new();
        let text = "not here\nnor now".to_owned();
        Refuse { reason, text }.encode(&mut bytes);
        peer.send(&bytes);
        match looking.finish() {
            Err(ResolveError::Refused { reason: text, .. }) => {
                assert!(text.contains(&format!("{reason:?}")), "{text}");
            }
            other => panic!("expected a refusal: {other:?}"),
        }
    }
}

#[test]
fn a_dialled_stranger_is_given_up_and_the_look_up_says_why() {
    const PATIENCE: Duration = Duration::from_millis(600);
    type Answer = fn(&RawPeer, &Preface) -> Vec<u8>;
    let answers: [(&str, Answer); 4] = [
        ("cap is", |_, _| {
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()
        }),
        ("checksum", |_, _| vec![0; 16]),
        ("somebody else's", |peer, preface| {
            let mut accept = peer.accept_of(preface);
            accept.nonce ^= 1;
            let mut bytes = Vec::new();
            accept.encode(&mut bytes);
            bytes
        }),
        ("no frame is of kind", |_, _| {
            ringmesh_tests::live::raw::frames::header(0, 99, 0)
        }),
    ];
    for (why, answer) in answers {
        let client = LiveNode::start_with(|builder| builder.ask_timeout(PATIENCE));
        let listener = RawListener::bind();
        let looking = listener.sought_by(&client);
        let (mut peer, preface) = listener.accept();
        peer.send(&answer(&peer, &preface));
        // Later dials reach the listener and nobody behind it, so the first reason stays the last.
        let error = looking.finish().expect_err("nobody is there");
        let ResolveError::Timeout { last, .. } = &error else {
            panic!("{why}: {error:?}")
        };
        assert!(last.contains(why), "expected `{why}`: {error}");
        assert!(peer.ending().is_silent(), "{why}");
    }
}

#[test]
fn a_taken_port_is_an_error_with_the_address() {
    let listener = RawListener::bind();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], listener.address.port()));
    let ran = Engine::node(SYSTEM)
        .bind(at)
        .idle(IdleMode::Park)
        .run(|_| async {});
    match ran {
        Err(EngineError::Bind { at: named, .. }) => assert_eq!(named, at),
        other => panic!("expected a bind error: {other:?}"),
    }
}

#[test]
fn without_io_uring_there_is_one_clear_line_and_exit_code_1() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let errno = errno.to_string();
        let mut refused = Process::start(LIVE_NODE, &["--refuse-io-uring", &errno, "serve"]);
        let status = refused.wait(WAIT);
        let lines = refused.log().lines();
        assert_eq!(status.code(), Some(1), "{status}: {lines:#?}");
        let [line] = &lines[..] else {
            panic!("expected one line: {lines:#?}")
        };
        assert!(
            line.contains("io_uring is refused by a security policy"),
            "{line}"
        );
        assert!(
            line.contains("seccomp"),
            "it does not name the remedy: {line}"
        );
    }
}

/// Sends `bytes` first thing on a connection, and checks that it is closed at once, without an
/// answer, for the reason of this name.
fn assert_closed_without_a_word(watched: &Watched, label: &'static str, bytes: &[u8]) {
    let ending = watched.closes_one(label, || {
        let mut peer = RawPeer::connect(watched.id());
        peer.send(bytes);
        peer.ending()
    });
    assert!(ending.is_silent(), "{label}: {ending:?}");
    assert!(ending.after < AT_ONCE, "{label}: {ending:?}");
}

/// Opens a connection with a changed preface and checks the answer.
fn assert_refused(
    watched: &Watched,
    label: &'static str,
    reason: RefuseReason,
    change: impl FnOnce(Preface, &RawPeer) -> Preface,
) {
    let ending = watched.closes_one(label, || {
        let mut peer = RawPeer::connect(watched.id());
        let preface = change(peer.preface(), &peer);
        let mut bytes = preface.encode().to_vec();
        peer.hello().encode(&mut bytes);
        peer.send(&bytes);
        peer.ending()
    });
    assert_eq!(ending.refusal(), reason, "{label}");
    assert!(ending.after < AT_ONCE, "{label}: {ending:?}");
}

/// Opens a connection with a changed hello and checks the answer.
fn assert_refused_for_hello(
    watched: &Watched,
    label: &'static str,
    reason: RefuseReason,
    change: impl FnOnce(Hello) -> Hello,
) {
    let ending = watched.closes_one(label, || {
        let mut peer = RawPeer::connect(watched.id());
        let mut bytes = peer.preface().encode().to_vec();
        change(peer.hello()).encode(&mut bytes);
        peer.send(&bytes);
        peer.ending()
    });
    assert_eq!(ending.refusal(), reason, "{label}");
    assert!(ending.after < AT_ONCE, "{label}: {ending:?}");
}

/// Makes the checksum of a changed preface right again.
fn reseal(preface: &mut [u8; PREFACE_BYTES]) {
    let (covered, crc) = preface.split_at_mut(PREFACE_BYTES - 4);
    crc.copy_from_slice(&crc32fast::hash(covered).to_le_bytes());
}

/// The start of a TLS 1.3 handshake: record header, client hello, random, one cipher suite.
fn tls_client_hello() -> Vec<u8> {
    let mut body = vec![0x03, 0x03];
    body.extend([0x42; 32]);
    body.push(32);
    body.extend([0x17; 32]);
    body.extend([0x00, 0x02, 0x13, 0x01, 0x01, 0x00]);
    let mut bytes = vec![0x16, 0x03, 0x01, 0x00, (body.len() + 4) as u8];
    bytes.extend([0x01, 0x00, 0x00, body.len() as u8]);
    bytes.extend(body);
    bytes
}
