mod acceptor;
mod beside;
mod clients;
mod doubt;
mod forming;
mod network;
mod pair;
mod quarantined;
mod quarantines;
mod resting;
mod rests;
mod resuming;
mod verifier;
mod walk;

use std::time::Duration;

use super::*;
use crate::address::{CoreId, NodeId};
use crate::effect::{LinkUp, Outbox, Standing};
use crate::frame::body::{Accept, Bye, Offer, Ping, Pong, Refuse};
use crate::frame::{Parse, parse};
use crate::handshake::{Acceptor, LocalNode};
use crate::kind::Kind;
use crate::lane::Lane;
use crate::limits::{
    BACK_OFF_MAX, BACK_OFF_MIN, DIAL_TIMEOUT, FORMER_UIDS_MAX, FORMING_PAUSE_MAX,
    FRAME_BYTES_BEFORE_ACCEPT, HANDSHAKE_TIMEOUT, PREFACE_BYTES, PROBE_TIMEOUT, RESUME_TIMEOUT,
    STEADY_LINK, STOP_TIMEOUT, WINDOW_BYTES,
};
use crate::link::{Inbound, Outbound};
use crate::matrix::LinkMatrix;
use crate::preface::{Preface, Role};
use crate::quarantine::By;

const CAP: u32 = 256 << 10;

/// The number of the link that every introduction proposes.
const LINK_NUMBER: u64 = 0xA11CE;

/// What time a machine can tell apart.
const TICK: Duration = Duration::from_nanos(1);

fn local(host: &str, uid: u64) -> LocalNode {
    LocalNode {
        lane: Lane::Ordinary,
        role: Role::Node,
        id: NodeId {
            address: Address::new("demo", host, 2552).unwrap(),
            uid: Uid::new(uid).unwrap(),
        },
        core: CoreId(0),
        cores: 1,
        format_fingerprint: 77,
        body_cap: CAP,
        window_bytes: WINDOW_BYTES,
        links_max: 64,
        features: 0b110,
        stop_timeout: STOP_TIMEOUT,
        dial_timeout: DIAL_TIMEOUT,
        resume_timeout: RESUME_TIMEOUT,
    }
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

/// One node, the machines of which are called one at a time.
struct Bench {
    local: LocalNode,
    acceptor: Acceptor,
    now: Instant,
    random: u64,
    out: Outbox,
    /// Of the link, where a test looks at them.
    halves: Option<(Outbound, Inbound)>,
    /// Somebody waits for the peer of that link.
    awaits: bool,
}

impl Bench {
    fn new() -> Self {
        Self {
            local: local("here", 100),
            acceptor: Acceptor::new(4),
            now: at(0),
            random: 1,
            out: Outbox::default(),
            halves: None,
            awaits: false,
        }
    }

    /// Calls a machine and returns the effects.
    fn call(&mut self, call: impl FnOnce(&mut Acceptor, &mut Context<'_>)) -> Vec<Effect> {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut cx = Context {
            now: self.now,
            random: self.random,
            local: &self.local,
            link: self.halves.as_ref().map(|(outbound, inbound)| Standing {
                outbound,
                inbound,
                awaits: self.awaits,
            }),
            out: &mut self.out,
        };
        call(&mut self.acceptor, &mut cx);
        std::iter::from_fn(|| self.out.pop()).collect()
    }

    /// An association with the node `there` whose dial has got to the handshake on connection 1,
    /// and the nonce it sent.
    fn handshaking(&mut self) -> (Association, Preface) {
        let mut association = Association::new(local("there", 200).id.address);
        self.call(|_, cx| association.handle_dial_wanted(cx));
        self.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
        let effects = self.call(|_, cx| association.handle_connected(cx, ConnKey(1)));
        let [Effect::Write { bytes, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        let preface = Preface::parse(bytes[..PREFACE_BYTES].try_into().unwrap()).unwrap();
        (association, preface)
    }

    /// An association with the node `there` of uid 200, which accepted on connection 1.
    fn associated(&mut self) -> Association {
        let (mut association, preface) = self.handshaking();
        let bytes = self.answer(200, preface.nonce);
        self.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
        assert_eq!(
            association.status(),
            Status::Associated(Uid::new(200).unwrap())
        );
        association
    }

    /// The accept of the node `there`.
    fn answer(&self, uid: u64, nonce: u64) -> Vec<u8> {
        let there = local("there", uid);
        let introduction = Introduction {
            nonce,
            ..introduction(100, 0)
        };
        there.accept(&introduction, there.offer(nonce))
    }
}

/// As the node `there` would be shown by an acceptor, except that `accept` only reads the address.
fn introduction(uid: u64, conn: u64) -> Introduction {
    let node = local(if uid == 100 { "here" } else { "there" }, uid);
    Introduction {
        conn: ConnKey(conn),
        lane: Lane::Ordinary,
        peer: node.id,
        sending_core: CoreId(0),
        wanted_core: None,
        offer: Offer {
            body_cap: CAP / 2,
            limit: 500_000,
            features: 0b011,
            link: LINK_NUMBER,
            received_to: None,
            cores: 4,
            links_max: 10,
        },
        nonce: 5,
        role: Role::Node,
    }
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    match parse(bytes, FRAME_BYTES_BEFORE_ACCEPT) {
        Ok(Parse::Complete(frame)) => frame,
        other => panic!("not a frame: {other:?}"),
    }
}

fn refusal(reason: RefuseReason) -> Vec<u8> {
    crate::handshake::refusal(reason)
}

/// The last word to whom a node has quarantined.
fn quarantine_bye() -> Vec<u8> {
    let reason = ByeReason::Quarantined;
    network::service(|into| Bye { reason }.encode(into))
}

fn retry_after(effects: &[Effect]) -> Duration {
    match effects {
        [.., Effect::Unreachable { retry_after, .. }] => *retry_after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_accepted_dial_is_a_link() {
    let mut bench = Bench::new();
    let (mut association, preface) = bench.handshaking();
    assert_eq!(
        (preface.uid, preface.expected_uid),
        (bench.local.id.uid, None)
    );
    let bytes = bench.answer(200, preface.nonce);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    let up = LinkUp {
        conn: ConnKey(1),
        peer: local("there", 200).id,
        dialled: true,
        body_cap: CAP,
        limit: u64::from(WINDOW_BYTES),
        features: 0b110,
        matrix: LinkMatrix::new(1, 1, 64),
    };
    assert_eq!(effects, [Effect::LinkUp(up)]);
    assert_eq!(association.poll_timeout(), None);
}

#[test]
fn an_introduction_is_accepted_with_what_both_sides_can() {
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    let mut verdict = Ok(());
    let effects = bench.call(|_, cx| {
        verdict = association.handle_incoming(cx, &introduction(200, 3));
    });
    assert_eq!(verdict, Ok(()));
    let [Effect::Write { conn, bytes }, Effect::LinkUp(up)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (*conn, up.conn, up.dialled),
        (ConnKey(3), ConnKey(3), false)
    );
    assert_eq!(
        (up.body_cap, up.limit, up.features),
        (CAP / 2, 500_000, 0b010)
    );
    assert_eq!(up.matrix, LinkMatrix::new(1, 4, 10));
    assert_eq!(Accept::parse(&frame(bytes)).unwrap().nonce, 5);
}

#[test]
fn an_answer_to_somebody_else_is_not_believed() {
    type Change = fn(&mut Accept);
    let changes: [Change; 5] = [
        |accept| accept.nonce ^= 1,
        |accept| accept.uid = Uid::new(100).unwrap(),
        |accept| accept.from = local("elsewhere", 1).id.address,
        |accept| accept.to = local("elsewhere", 1).id.address,
        |accept| accept.offer.limit = 1000,
    ];
    for change in changes {
        let mut bench = Bench::new();
        let (mut association, preface) = bench.handshaking();
        let mut accept = Accept::parse(&frame(&bench.answer(200, preface.nonce))).unwrap();
        change(&mut accept);
        let mut bytes = Vec::new();
        accept.encode(&mut bytes);
        let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
        let reason = CloseReason::Answer;
        assert_eq!(
            effects[0],
            Effect::Close {
                conn: ConnKey(1),
                reason
            }
        );
        assert_eq!(association.status(), Status::BackOff);
    }
}

#[test]
fn anything_but_an_answer_ends_the_handshake() {
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let mut bytes = vec![0; 64];
    let length = Ping { nonce: 1 }.encode(&mut bytes);
    let effects =
        bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes[..length])));
    let reason = CloseReason::UnexpectedFrame(Kind::Ping);
    assert!(effects.contains(&Effect::Close {
        conn: ConnKey(1),
        reason
    }));
    assert_eq!(association.status(), Status::BackOff);
}

#[test]
fn a_refusal_is_reported_and_tried_again_later() {
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let bytes = refusal(RefuseReason::Cluster);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    let reason = CloseReason::Refused(RefuseReason::Cluster);
    let retry_after = retry_after(&effects);
    assert_eq!(
        effects,
        [
            Effect::Close {
                conn: ConnKey(1),
                reason
            },
            Effect::Unreachable {
                attempt: 1,
                reason,
                retry_after
            }
        ]
    );
    assert_eq!(association.poll_timeout(), Some(at(0) + retry_after));
    assert_eq!(reason.label(), "refuse_cluster");
}

#[test]
fn the_back_off_doubles_with_jitter_and_is_never_one_over_its_bound() {
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    bench.call(|_, cx| association.handle_dial_wanted(cx));
    let mut whole = BACK_OFF_MIN;
    let mut spans = Vec::new();
    for attempt in 1..=20 {
        let effects = bench.call(|_, cx| association.handle_dial_failed(cx));
        let span = retry_after(&effects);
        assert!(
            span >= whole / 2 && span <= whole,
            "attempt {attempt}: {span:?}"
        );
        spans.push(span);
        whole = (whole * 2).min(BACK_OFF_MAX);
        // A wish does not shorten it.
        assert_eq!(bench.call(|_, cx| association.handle_dial_wanted(cx)), []);
        bench.now = association.poll_timeout().unwrap();
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert!(matches!(effects[..], [Effect::Dial { .. }]));
    }
    let last = &spans[10..];
    assert!(
        last.iter().any(|span| span != &last[0]),
        "the jitter varies"
    );
    association.attempt = u32::MAX;
    let effects = bench.call(|_, cx| association.handle_dial_failed(cx));
    assert!(retry_after(&effects) <= BACK_OFF_MAX, "nothing wraps");
}

#[test]
fn a_dial_that_is_one_over_the_handshake_timeout_is_given_up() {
    for connected in [false, true] {
        let mut bench = Bench::new();
        let mut association = Association::new(local("there", 200).id.address);
        bench.call(|_, cx| association.handle_dial_wanted(cx));
        bench.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
        if connected {
            bench.now = at(3000);
            bench.call(|_, cx| association.handle_connected(cx, ConnKey(1)));
        }
        assert_eq!(association.poll_timeout(), Some(at(0) + HANDSHAKE_TIMEOUT));
        bench.now = at(0) + (HANDSHAKE_TIMEOUT - TICK);
        assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
        bench.now = at(0) + HANDSHAKE_TIMEOUT;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        let reason = CloseReason::HandshakeTimeout;
        assert_eq!(
            effects[0],
            Effect::Close {
                conn: ConnKey(1),
                reason
            }
        );
        assert_eq!(association.status(), Status::BackOff);
        // What the dial brings late does not count.
        assert_eq!(
            bench.call(|_, cx| association.handle_connected(cx, ConnKey(1))),
            []
        );
    }
}

#[test]
fn a_lost_link_is_dialled_again_only_if_somebody_wants_it() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.now = at(60_000);
    let reason = CloseReason::Archive;
    let effects = bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), reason));
    let peer = local("there", 200).id;
    assert_eq!(
        effects,
        [Effect::LinkDown {
            conn: ConnKey(1),
            peer,
            reason
        }]
    );
    assert!(association.poll_timeout().unwrap() - bench.now <= BACK_OFF_MIN);

    let mut association = Association::new(local("there", 200).id.address);
    bench.call(|_, cx| {
        association
            .handle_incoming(cx, &introduction(200, 2))
            .unwrap()
    });
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(2), reason));
    assert_eq!(association.status(), Status::Idle);
}

#[test]
fn a_peer_that_accepts_and_hangs_up_is_dialled_ever_more_slowly() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), CloseReason::PeerClosed));
        pauses.push(association.poll_timeout().unwrap() - bench.now);
        bench.now = association.poll_timeout().unwrap();
        bench.call(|_, cx| association.handle_timeout(cx));
        bench.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
        let effects = bench.call(|_, cx| association.handle_connected(cx, ConnKey(1)));
        let [Effect::Write { bytes, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        let preface = Preface::parse(bytes[..PREFACE_BYTES].try_into().unwrap()).unwrap();
        assert_eq!(preface.expected_uid, Uid::new(200));
        let bytes = bench.answer(200, preface.nonce);
        bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    }
    assert!(pauses[9] >= BACK_OFF_MAX / 2, "{pauses:?}");
    bench.now = bench.now + STEADY_LINK;
    let effects =
        bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), CloseReason::PeerClosed));
    assert!(matches!(
        effects[..],
        [Effect::LinkLost { .. }, Effect::Dial { .. }]
    ));
}

#[test]
fn a_restarted_peer_takes_the_place_of_the_old_link_and_never_comes_back() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let [old, new] = [200, 201].map(|uid| Uid::new(uid).unwrap());
    let effects = bench.call(|_, cx| {
        association
            .handle_incoming(cx, &introduction(201, 2))
            .unwrap()
    });
    assert!(matches!(effects[..], [Effect::Ping { .. }]), "{effects:?}");
    assert!(!association.is_over(old), "nothing is proved yet");
    // Its system ends the connections of a process that is gone.
    let reason = CloseReason::Broken;
    let conn = ConnKey(1);
    let effects = bench.call(|_, cx| association.handle_closed(cx, conn, reason));
    let peer = local("there", 200).id;
    assert_eq!(effects[0], Effect::LinkDown { conn, peer, reason });
    assert!(matches!(
        effects[1],
        Effect::Write {
            conn: ConnKey(2),
            ..
        }
    ));
    assert_eq!(effects[2], Effect::PeerRestarted { old, new });
    assert!(matches!(
        effects[3],
        Effect::LinkUp(LinkUp {
            conn: ConnKey(2),
            ..
        })
    ));
    assert_eq!(association.uid(), Some(new));
    assert_eq!(association.poll_timeout(), None);
    // What is left of the old process, still in some socket.
    let mut verdict = Ok(());
    bench.call(|_, cx| verdict = association.handle_incoming(cx, &introduction(200, 3)));
    assert_eq!(verdict, Err(RefuseReason::Former));
    assert_eq!(association.status(), Status::Associated(new));
    // The end of the old connection is old news.
    let late = bench.call(|_, cx| association.handle_closed(cx, conn, CloseReason::Broken));
    assert_eq!(late, []);
}

#[test]
fn a_dial_of_a_process_that_is_gone_finds_the_new_one_at_once() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), CloseReason::Broken));
    bench.now = association.poll_timeout().unwrap();
    bench.call(|_, cx| association.handle_timeout(cx));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(2)));
    bench.call(|_, cx| association.handle_connected(cx, ConnKey(2)));
    let bytes = refusal(RefuseReason::Incarnation);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(2), &frame(&bytes)));
    let down = |effect: &Effect| {
        let restarted = CloseReason::Restarted;
        matches!(effect, Effect::LinkDown { reason, .. } if *reason == restarted)
    };
    assert!(
        matches!(&effects[..], [Effect::Close { .. }, ended, Effect::Dial { .. }] if down(ended)),
        "{effects:?}"
    );
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(3)));
    let effects = bench.call(|_, cx| association.handle_connected(cx, ConnKey(3)));
    let [Effect::Write { bytes, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let preface = Preface::parse(bytes[..PREFACE_BYTES].try_into().unwrap()).unwrap();
    assert_eq!(preface.expected_uid, None);
    // The same refusal again is a failure like any other: no dial without pause.
    let mut again = Bench::new();
    let (mut stubborn, _) = again.handshaking();
    let bytes = refusal(RefuseReason::Incarnation);
    again.call(|_, cx| stubborn.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    assert_eq!(stubborn.status(), Status::BackOff);
    let bytes = bench.answer(201, preface.nonce);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(3), &frame(&bytes)));
    assert!(
        matches!(effects[0], Effect::PeerRestarted { .. }),
        "{effects:?}"
    );
}

#[test]
fn of_two_simultaneous_dials_the_lower_uid_survives() {
    // The peer's is lower: its dial is taken, and this side's is given up.
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let lower = introduction(99, 2);
    let effects = bench.call(|_, cx| association.handle_incoming(cx, &lower).unwrap());
    let reason = CloseReason::Superseded;
    assert_eq!(
        effects[0],
        Effect::Close {
            conn: ConnKey(1),
            reason
        }
    );
    assert_eq!(association.status(), Status::Associated(lower.peer.uid));
    // This side's is lower: the peer's is refused, and this side's goes on.
    let (mut association, _) = bench.handshaking();
    let mut verdict = Ok(());
    let higher = introduction(101, 2);
    let effects = bench.call(|_, cx| verdict = association.handle_incoming(cx, &higher));
    assert_eq!((verdict, effects), (Err(RefuseReason::Superseded), vec![]));
    assert_eq!(association.status(), Status::Dialling);
}

#[test]
fn being_superseded_is_no_failure() {
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let bytes = refusal(RefuseReason::Superseded);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    assert!(matches!(effects[..], [Effect::Close { .. }]), "{effects:?}");
    assert_eq!(association.status(), Status::BackOff);
    bench.call(|_, cx| {
        association
            .handle_incoming(cx, &introduction(99, 2))
            .unwrap()
    });
    assert_eq!(
        association.status(),
        Status::Associated(Uid::new(99).unwrap())
    );
}

#[test]
fn a_link_in_doubt_that_is_one_over_the_probe_timeout_ends() {
    for answered in [true, false] {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let mut verdict = Ok(());
        let again = introduction(200, 2);
        let effects = bench.call(|_, cx| verdict = association.handle_incoming(cx, &again));
        assert_eq!(verdict, Err(RefuseReason::Superseded));
        let [Effect::Ping { conn, nonce }] = effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(conn, ConnKey(1));
        // A third dial does not extend the wait.
        bench.now = at(500);
        let effects = bench.call(|_, cx| verdict = association.handle_incoming(cx, &again));
        assert_eq!(effects, []);
        assert_eq!(association.poll_timeout(), Some(at(0) + PROBE_TIMEOUT));
        let mut bytes = vec![0; 64];
        for nonce in [nonce ^ 1, if answered { nonce } else { nonce ^ 1 }] {
            let length = Pong { nonce }.encode(&mut bytes);
            let pong = frame(&bytes[..length]);
            bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &pong));
        }
        bench.now = at(0) + (PROBE_TIMEOUT - TICK);
        assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
        bench.now = at(0) + PROBE_TIMEOUT;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        if answered {
            assert_eq!(effects, []);
            assert_eq!(association.status(), Status::Associated(again.peer.uid));
        } else {
            assert!(matches!(
                effects[..],
                [
                    Effect::Close { .. },
                    Effect::LinkLost { .. },
                    Effect::Dial { .. }
                ]
            ));
            assert_eq!(association.status(), Status::Dialling);
        }
    }
}

#[test]
fn a_goodbye_is_the_end_until_somebody_asks_again() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let mut bytes = vec![0; 64];
    let reason = ByeReason::Stopping;
    let length = Bye { reason }.encode(&mut bytes);
    let bye = frame(&bytes[..length]);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &bye));
    assert!(matches!(
        effects[..],
        [
            Effect::Close { .. },
            Effect::LinkDown {
                reason: CloseReason::Bye,
                ..
            }
        ]
    ));
    assert_eq!(
        (association.status(), association.poll_timeout()),
        (Status::Idle, None)
    );
    let over = association.uid().unwrap();
    assert!(association.is_over(over));
    let effects = bench.call(|_, cx| association.handle_dial_wanted(cx));
    assert!(matches!(effects[..], [Effect::Dial { .. }]));
}

#[test]
fn a_ping_is_answered_and_a_stray_frame_ends_the_link() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let mut bytes = vec![0; 64];
    let length = Ping { nonce: 8 }.encode(&mut bytes);
    let ping = frame(&bytes[..length]);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &ping));
    let conn = ConnKey(1);
    assert_eq!(effects, [Effect::Pong { conn, nonce: 8 }]);
    let bytes = refusal(RefuseReason::Other);
    let effects = bench.call(|_, cx| association.handle_frame(cx, conn, &frame(&bytes)));
    let reason = CloseReason::UnexpectedFrame(Kind::Refuse);
    assert_eq!(effects[0], Effect::Close { conn, reason });
    assert!(matches!(effects[1], Effect::LinkDown { .. }));
}

#[test]
fn stop_says_goodbye_and_ends_with_the_connection_or_one_over_the_timeout() {
    for closed in [true, false] {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let conn = ConnKey(1);
        let reason = ByeReason::Stopping;
        let effects = bench.call(|_, cx| association.handle_stop(cx));
        assert_eq!(effects, [Effect::Bye { conn, reason }]);
        assert_eq!(bench.call(|_, cx| association.handle_dial_wanted(cx)), []);
        let mut verdict = Ok(());
        bench.call(|_, cx| verdict = association.handle_incoming(cx, &introduction(200, 2)));
        assert_eq!(verdict, Err(RefuseReason::Stopping));
        let effects = if closed {
            bench.call(|_, cx| association.handle_closed(cx, conn, CloseReason::PeerClosed))
        } else {
            bench.now = at(0) + (STOP_TIMEOUT - TICK);
            assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
            bench.now = at(0) + STOP_TIMEOUT;
            bench.call(|_, cx| association.handle_timeout(cx))
        };
        assert!(matches!(
            effects[..],
            [.., Effect::LinkDown { .. }, Effect::Stopped]
        ));
        assert_eq!(association.status(), Status::Stopped);
        assert_eq!(bench.call(|_, cx| association.handle_stop(cx)), []);
    }
}

#[test]
fn a_dial_that_goes_on_elsewhere_keeps_its_deadline() {
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    bench.call(|_, cx| association.handle_dial_wanted(cx));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
    bench.now = at(1000);
    assert!(!association.handle_redial(ConnKey(9)), "not its dial");
    assert!(association.handle_redial(ConnKey(1)));
    assert!(!association.handle_redial(ConnKey(1)), "it is gone");
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(2)));
    assert_eq!(association.poll_timeout(), Some(at(0) + HANDSHAKE_TIMEOUT));
    let late = bench.call(|_, cx| association.handle_connected(cx, ConnKey(1)));
    assert_eq!(late, []);
    let effects = bench.call(|_, cx| association.handle_connected(cx, ConnKey(2)));
    assert!(matches!(effects[..], [Effect::Write { .. }]), "{effects:?}");
    // What answered, and what gave up, is not dialled elsewhere.
    assert!(!association.handle_redial(ConnKey(2)));
    assert_eq!(association.status(), Status::Dialling);
}

#[test]
fn stop_gives_up_a_dial() {
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    bench.call(|_, cx| association.handle_dial_wanted(cx));
    assert_eq!(
        bench.call(|_, cx| association.handle_stop(cx)),
        [Effect::Stopped]
    );
    // The driver had just started it.
    let effects = bench.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
    assert!(matches!(effects[..], [Effect::Close { .. }]));
    let (mut association, _) = bench.handshaking();
    let effects = bench.call(|_, cx| association.handle_stop(cx));
    assert!(matches!(
        effects[..],
        [Effect::Close { .. }, Effect::Stopped]
    ));
}

#[test]
fn one_over_the_former_process_starts_forgets_the_oldest() {
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    for uid in 200..=(200 + FORMER_UIDS_MAX as u64 + 1) {
        let shown = introduction(uid, uid);
        bench.call(|_, cx| association.handle_incoming(cx, &shown).unwrap());
        let before = ConnKey(uid - 1);
        bench.call(|_, cx| association.handle_closed(cx, before, CloseReason::Broken));
    }
    assert_eq!(association.former.len(), FORMER_UIDS_MAX);
    let last = ConnKey(200 + FORMER_UIDS_MAX as u64 + 1);
    bench.call(|_, cx| association.handle_closed(cx, last, CloseReason::Broken));
    for (uid, expected) in [(201, Err(RefuseReason::Former)), (200, Ok(()))] {
        let mut verdict = Ok(());
        bench.call(|_, cx| verdict = association.handle_incoming(cx, &introduction(uid, 1)));
        assert_eq!(verdict, expected, "{uid}");
    }
}
